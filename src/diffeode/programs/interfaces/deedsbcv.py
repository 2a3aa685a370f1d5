"""The command line of deedsBCV."""

from __future__ import annotations

import os

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, traits


class DeedsBCVInputSpec(CommandLineInputSpec):
    """Inputs of :class:`DeedsBCV`. Each of the three lists needs one value per level, the coarsest
    first.
    """

    fixed_file = File(exists=True, mandatory=True, argstr="-F %s", desc="fixed scan, .nii.gz")
    moving_file = File(
        exists=True, mandatory=True, argstr="-M %s", desc="moving scan, .nii.gz, of the same size"
    )
    out_stem = File(mandatory=True, argstr="-O %s", desc="beginning of the names of the outputs")
    alpha = traits.Float(argstr="-a %g", desc="weight of the regularisation (1.6)")
    grid_spacing = traits.List(
        traits.Int,
        sep="x",
        argstr="-G %s",
        requires=["search_radius", "quantisation"],
        desc="spacing of the control points, voxels (8x7x6x5x4)",
    )
    search_radius = traits.List(
        traits.Int,
        sep="x",
        argstr="-L %s",
        requires=["grid_spacing", "quantisation"],
        desc="search radius, in steps of the quantisation (8x7x6x5x4)",
    )
    quantisation = traits.List(
        traits.Int,
        sep="x",
        argstr="-Q %s",
        requires=["grid_spacing", "search_radius"],
        desc="step between searched displacements, voxels (5x4x3x2x1)",
    )
    labels_file = File(exists=True, argstr="-S %s", desc="moving label map to warp as well")
    affine_file = File(
        exists=True, argstr="-A %s", desc="matrix in voxels, translation in the last row"
    )


class DeedsBCVOutputSpec(TraitedSpec):
    """Outputs of :class:`DeedsBCV`."""

    displacements_file = File(desc="displacements of the control points, raw")
    deformed_file = File(desc="moving scan on the grid of the fixed one")
    deformed_labels_file = File(desc="moving label map on the grid of the fixed scan")


class DeedsBCV(CommandLine):
    """``deedsBCV``: dense displacement sampling (Heinrich et al., IEEE TMI 32(7), 2013)."""

    _cmd = "deedsBCV"
    input_spec = DeedsBCVInputSpec
    output_spec = DeedsBCVOutputSpec

    def _list_outputs(self) -> dict[str, str]:
        stem = os.path.abspath(self.inputs.out_stem)
        outputs = {
            "displacements_file": f"{stem}_displacements.dat",
            "deformed_file": f"{stem}_deformed.nii.gz",
        }
        if "labels_file" in self.inputs.get_traitsfree():
            outputs["deformed_labels_file"] = f"{stem}_deformed_seg.nii.gz"
        return outputs
