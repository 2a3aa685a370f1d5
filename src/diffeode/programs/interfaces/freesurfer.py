"""FreeSurfer's command lines: options that nipype's interfaces leave out, and the programs
SynthStrip, SynthSeg and SynthMorph.
"""

from __future__ import annotations

import os

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, traits
from nipype.interfaces.freesurfer.preprocess import (
    MNIBiasCorrection,
    MNIBiasCorrectionInputSpec,
    Normalize,
    NormalizeInputSpec,
)


class _WritesWhatIsNamed(CommandLine):
    """An interface in which an input and the output file that it names have one name."""

    def _list_outputs(self) -> dict[str, str]:
        named = self.inputs.get_traitsfree()
        return {
            name: os.path.abspath(named[name]) for name in self.output_spec().get() if name in named
        }


# -------------------------------------------------------------------------------------- intensities


class NuCorrectInputSpec(MNIBiasCorrectionInputSpec):
    """Inputs of :class:`NuCorrect`."""

    native = traits.Bool(
        argstr="--cm",
        desc="keep the volume's own grid; without it the result is conformed to 256^3 at 1 mm",
    )


class NuCorrect(MNIBiasCorrection):
    """nipype's interface to ``mri_nu_correct.mni`` (N3), with the option ``--cm``."""

    input_spec = NuCorrectInputSpec


class NormaliseInputSpec(NormalizeInputSpec):
    """Inputs of :class:`Normalise`."""

    seed = traits.Int(argstr="-seed %d", desc="seed of the random numbers")
    mprage = traits.Bool(argstr="-mprage", desc="assume the contrast of an MPRAGE: T1w only")
    native = traits.Bool(argstr="-noconform", desc="keep the volume's own grid")


class Normalise(Normalize):
    """nipype's interface to ``mri_normalize``, with ``-seed``, ``-mprage`` and ``-noconform``."""

    input_spec = NormaliseInputSpec


# --------------------------------------------------------------------------------- brain and labels


class SynthStripInputSpec(CommandLineInputSpec):
    """Those inputs of :class:`SynthStrip` that are used here."""

    in_file = File(exists=True, mandatory=True, argstr="-i %s", desc="whole head, any contrast")
    mask_file = File(argstr="-m %s", desc="the brain's mask")


class SynthStripOutputSpec(TraitedSpec):
    """Outputs of :class:`SynthStrip`."""

    mask_file = File(desc="the brain's mask, 0 and 1, on the grid of the input")


class SynthStrip(_WritesWhatIsNamed):
    """``mri_synthstrip``: skull stripping of any contrast (Hoopes et al., NeuroImage 260, 2022)."""

    _cmd = "mri_synthstrip"
    input_spec = SynthStripInputSpec
    output_spec = SynthStripOutputSpec


class SynthSegInputSpec(CommandLineInputSpec):
    """Those inputs of :class:`SynthSeg` that are used here."""

    in_file = File(
        exists=True,
        mandatory=True,
        argstr="--i %s",
        desc="scan, any contrast, with or without skull",
    )
    out_file = File(mandatory=True, argstr="--o %s", desc="label map")
    threads = traits.Range(low=1, argstr="--threads %d", desc="number of cores to use (1)")
    cpu = traits.Bool(argstr="--cpu", desc="do not use a GPU")
    keep_geometry = traits.Bool(
        argstr="--keepgeom", desc="labels on the grid of the input; otherwise at 1 mm"
    )


class SynthSegOutputSpec(TraitedSpec):
    """Outputs of :class:`SynthSeg`."""

    out_file = File(desc="label map")


class SynthSeg(_WritesWhatIsNamed):
    """``mri_synthseg``: segmentation of any contrast (Billot et al., Medical Image Analysis 86,
    2023).
    """

    _cmd = "mri_synthseg"
    input_spec = SynthSegInputSpec
    output_spec = SynthSegOutputSpec


# ------------------------------------------------------------------------------------- registration


class SynthMorphInputSpec(CommandLineInputSpec):
    """Those inputs of :class:`SynthMorph` that are used here. "Newer form" marks options that older
    versions of the command line lack.
    """

    moving_file = File(exists=True, mandatory=True, argstr="%s", position=-2, desc="moving scan")
    fixed_file = File(exists=True, mandatory=True, argstr="%s", position=-1, desc="fixed scan")
    model = traits.Enum(
        "joint",
        "deform",
        "affine",
        "rigid",
        argstr="-m %s",
        desc="kind of map; the older form has no joint",
    )
    trans_file = File(
        argstr="-t %s", desc="displacements of fixed points to moving ones, RAS mm, three frames"
    )
    inverse_file = File(
        argstr="-T %s", desc="displacements of moving points to fixed ones; newer form"
    )
    weight = traits.Range(
        low=0.0,
        high=1.0,
        exclude_low=True,
        exclude_high=True,
        argstr="-r %g",
        desc="weight of the regularisation, above 0 and below 1 (0.5); newer form",
    )
    extent = traits.Enum(
        256, 192, argstr="-e %d", desc="extent of the space in which scans are registered, mm"
    )
    threads = traits.Range(low=1, argstr="-j %d", desc="number of TensorFlow's threads")
    gpu = traits.Bool(argstr="-g", desc="compute on the GPU")


class SynthMorphOutputSpec(TraitedSpec):
    """Outputs of :class:`SynthMorph`."""

    trans_file = File(desc="displacements of fixed points to moving ones")
    inverse_file = File(desc="displacements of moving points to fixed ones")


class SynthMorph(_WritesWhatIsNamed):
    """``mri_synthmorph``: registration of any contrast (Hoffmann et al., IEEE TMI 41(3), 2022)."""

    _cmd = "mri_synthmorph"
    input_spec = SynthMorphInputSpec
    output_spec = SynthMorphOutputSpec
