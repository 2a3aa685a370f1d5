"""deedsBCV: dense displacement sampling on a tree of control points, a baseline of the paper."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError, RegistrationError, ToolError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.programs.tools import DEEDSBCV, Limits, run
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration
from diffeode.registration.displacements import field_of_voxels
from diffeode.registration.knobs import between, knob, several

_INTENSITY_SCALE = 1000.0
"""The factor of the intensities that the tool receives.

It adds 1024 to them, since it was made for CT. Intensities in [0, 1] would then keep only 13 of the
24 bits of single precision.
"""

_PER_LEVEL = several(5, 10, 1, 32, "5 to 10 whole numbers from 1 to 32, one per level")
"""The number of levels that the tool can handle. It prints the values of five levels, whether they
are there or not, and its parser has room for ten.
"""

_LEAST_CONTROL_POINTS = 2
"""The least number of control points along each axis on the coarsest level."""
_LEVEL = re.compile(r"^Level (\d+) grid=")
"""A line by which the tool tells that a level begins."""


@final
@dataclass(frozen=True)
class DeedsBCV(Method):
    """The program ``deedsBCV``, which compares images by MIND-SSC.

    It starts from the identity, because the pair is affinely aligned already; ``linearBCV`` is not
    run. The authors of the paper tuned the three lists for brains, and their numbers are lost from
    its text. Ours are a guess in that direction: the control points are closer than by the tool's
    defaults, which are 8-7-6-5-4, 8-7-6-5-4 and 5-4-3-2-1, and the search reaches less far.
    """

    title: ClassVar[str] = "deedsBCV"
    needs: ClassVar[Needs] = Needs(
        packages=("nipype",), executables=(DEEDSBCV.executable,), environment="deedsbcv"
    )
    citation: ClassVar[str] = (
        "Heinrich, Maier, Handels. Multi-modal multi-atlas segmentation using discrete "
        "optimisation and self-similarities. VISCERAL Challenge at ISBI, 2015; Heinrich, "
        "Jenkinson, Brady, Schnabel. MRF-based deformable registration and ventilation "
        "estimation of lung CT. IEEE Transactions on Medical Imaging 32(7), 2013."
    )
    licence: ClassVar[str] = "MIT (deedsBCV)"

    alpha: float = knob(1.6, between(0, 100), "Weight of the regularisation")
    grid_spacing: tuple[int, ...] = knob(
        (6, 5, 4, 3, 2),
        _PER_LEVEL,
        "Spacing of the control points on each level, coarsest first",
        "voxels",
    )
    search_radius: tuple[int, ...] = knob(
        (6, 5, 4, 3, 2), _PER_LEVEL, "Radius of the search on each level", "steps"
    )
    quantisation: tuple[int, ...] = knob(
        (5, 4, 3, 2, 1), _PER_LEVEL, "Length of a step of the search on each level", "voxels"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = len(self.grid_spacing)
        for name in ("search_radius", "quantisation"):
            count = len(getattr(self, name))
            if count != levels:
                raise InputError(
                    f"Parameter {name} has {count} levels and grid_spacing has {levels}; give one "
                    "number of each for every level."
                )

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the tool does not write the inverse.

        Raises:
            InputError: deedsBCV is not here.
            RegistrationError: the image is too small for the coarsest level, or a displacement is
                not finite.
            ToolError: the tool failed or wrote nothing usable.
        """
        grid = pair.fixed.grid
        least = _LEAST_CONTROL_POINTS * max(self.grid_spacing)
        if min(grid.shape) < least:
            raise RegistrationError(
                f"deedsBCV with a grid_spacing of {max(self.grid_spacing)} needs at least {least} "
                f"voxels along each axis; the image has {grid.shape}."
            )
        with tempfile.TemporaryDirectory(prefix="diffeode-deedsbcv-") as name:
            folder = Path(name)
            displacements = self._find_displacements(pair, folder, machine)
            points_vox = read_control_points(displacements, grid.shape, self.grid_spacing[-1])
        displacement_vox = dense(points_vox, grid.shape)
        return Registration(field_of_voxels(displacement_vox, grid, self.title))

    def _find_displacements(self, pair: Pair, folder: Path, machine: Machine) -> Path:
        """Run the tool and return the path of its raw displacements."""
        from diffeode.programs.interfaces import deedsbcv

        for role, image in (("fixed", pair.fixed), ("moving", pair.moving)):
            io.write_image(
                folder / f"{role}.nii.gz", Image(image.data * _INTENSITY_SCALE, image.grid)
            )
        search = deedsbcv.DeedsBCV(
            fixed_file=folder / "fixed.nii.gz",
            moving_file=folder / "moving.nii.gz",
            out_stem=folder / "out",
            alpha=self.alpha,
            grid_spacing=list(self.grid_spacing),
            search_radius=list(self.search_radius),
            quantisation=list(self.quantisation),
        )
        displacements = folder / "out_displacements.dat"
        listen = _level_teller(machine.progress, len(self.grid_spacing))
        run(DEEDSBCV, search, [displacements], DeedsBCV.title, Limits(machine.threads), listen)
        return displacements


def read_control_points(path: Path, shape: tuple[int, int, int], spacing: int) -> np.ndarray:
    """Read the displacements of the control points, ``(3, X // spacing, ...)``, voxels.

    The components are those along the array axes X, Y and Z. The file holds little-endian float32
    in three blocks, the displacements along Y, along X and along Z; within a block X varies
    fastest.

    Args:
        shape: the shape of the image, ``(X, Y, Z)``.
        spacing: the spacing of the control points, voxels.
    Raises:
        ToolError: the file is of another size.
    """
    points = tuple(n // spacing for n in shape)
    values = np.fromfile(path, dtype="<f4")
    if values.size != 3 * np.prod(points):
        raise ToolError(
            f"{DEEDSBCV} wrote {values.size} values to {path.name}, where three for each of "
            f"{' x '.join(map(str, points))} control points were due."
        )
    along_y, along_x, along_z = values.reshape(3, *points[::-1]).transpose(0, 3, 2, 1)
    return np.stack([along_x, along_y, along_z])


def dense(points_vox: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the displacements of control points ``(3, m, n, o)`` at every voxel, ``(X, Y, Z, 3)``.

    They are interpolated linearly; beyond the last control point its displacement holds. Along an
    axis of ``N`` voxels with ``m`` control points, the control point ``k`` lies at voxel ``k N /
    m``, so the first one lies on the first voxel.
    """
    axes = [np.arange(n) * (m / n) for n, m in zip(shape, points_vox.shape[1:], strict=True)]
    where = np.stack(np.meshgrid(*axes, indexing="ij"))
    sampled = [
        ndimage.map_coordinates(component, where, order=1, mode="nearest")
        for component in points_vox
    ]
    return np.stack(sampled, axis=-1).astype(np.float32)


def _level_teller(progress: Callable[[float, str], None], levels: int) -> Callable[[str], None]:
    """Return a function that reports the progress from lines that the tool prints."""

    def listen(line: str) -> None:
        if level := _LEVEL.match(line):
            progress(int(level[1]) / levels, f"level {int(level[1]) + 1} of {levels}")

    return listen
