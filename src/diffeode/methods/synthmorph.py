"""SynthMorph: FreeSurfer's network, trained on synthetic images, a baseline of the paper."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, final

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.programs.tools import MRI_SYNTHMORPH, Limits, answer, find_program, output_of, run
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.knobs import between, knob, one_of

_DEFAULT_WEIGHT = 0.5
"""The weight with which the network of the older program was trained."""


@final
@dataclass(frozen=True)
class SynthMorph(Method):
    """The program ``mri_synthmorph`` with its deformable network alone (``-m deform``).

    The affine network is not needed, because the pair is affinely aligned already. FreeSurfer has
    had two command lines. The newer one has options for the weight of the regularisation (``-r``)
    and for the inverse (``-T``). The older one has a single network, that of the default weight.
    The program's help tells which one it is.
    """

    title: ClassVar[str] = "SynthMorph"
    needs: ClassVar[Needs] = Needs(
        packages=("nipype",),
        executables=(MRI_SYNTHMORPH.executable,),
        environment="freesurfer",
        gpu=True,
    )
    citation: ClassVar[str] = (
        "Hoffmann, Billot, Greve, Iglesias, Fischl, Dalca. SynthMorph: learning "
        "contrast-invariant registration without acquired images. IEEE Transactions on Medical "
        "Imaging 41(3), 2022."
    )
    licence: ClassVar[str] = "FreeSurfer Software License (code and weights)"

    weight: float = knob(
        _DEFAULT_WEIGHT,
        between(0.001, 0.999),
        "Weight of the regularisation; a higher weight makes a smoother map",
    )
    extent: int = knob(256, one_of(192, 256), "Width of the cube in which images lie", "mm")

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the newer command line returns the network's inverse as well.

        Raises:
            InputError: SynthMorph is not here or is too old for this ``weight``, or there is no
                such device.
            ToolError: the tool failed or wrote nothing usable.
        """
        require_device(machine.device)
        older = is_older(find_program(MRI_SYNTHMORPH, SynthMorph.title))
        if older and self.weight != _DEFAULT_WEIGHT:
            raise InputError(
                f"This {MRI_SYNTHMORPH} is older than the option -r, so weight can only be "
                f"{_DEFAULT_WEIGHT}; get a newer one from {MRI_SYNTHMORPH.source} or the "
                "container freesurfer/synthmorph:4."
            )
        with tempfile.TemporaryDirectory(prefix="diffeode-synthmorph-") as name:
            folder = Path(name)
            written = self._find_maps(pair, folder, machine, older)
            grids = (pair.fixed.grid, pair.moving.grid)
            return Registration(
                *(_read(path, grid) for path, grid in zip(written, grids, strict=False))
            )

    def _find_maps(self, pair: Pair, folder: Path, machine: Machine, older: bool) -> list[Path]:
        """Run the tool and return the paths of its displacements.

        The newer command line writes forward and inverse displacements, the older one forward ones
        alone.
        """
        from diffeode.programs.interfaces import freesurfer

        io.write_image(folder / "fixed.nii.gz", pair.fixed)
        io.write_image(folder / "moving.nii.gz", pair.moving)
        forward, inverse = folder / "forward.nii.gz", folder / "inverse.nii.gz"
        of_newer = {} if older else {"weight": self.weight, "inverse_file": inverse}
        search = freesurfer.SynthMorph(
            moving_file=folder / "moving.nii.gz",
            fixed_file=folder / "fixed.nii.gz",
            model="deform",
            trans_file=forward,
            extent=self.extent,
            threads=machine.threads,
            gpu=machine.device != "cpu",
            **of_newer,
        )
        written = [forward] if older else [forward, inverse]
        run(MRI_SYNTHMORPH, search, written, SynthMorph.title, Limits(machine.threads))
        return written


@cache
def is_older(program: Path) -> bool:
    """Return whether this ``mri_synthmorph`` has the older command line, without the weight.

    The help of the older one names ``--smooth``.
    """
    return "--smooth" in answer(program, ("-h",))


def _read(path: Path, grid: Grid) -> DisplacementField:
    """Read SynthMorph's displacements, which are in RAS mm and lie on ``grid``."""
    with output_of(MRI_SYNTHMORPH, path):
        return DisplacementField(io.read_ras_displacement(path).displacement_mm, grid)
