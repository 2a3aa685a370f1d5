"""Whether a file can be what it is said to be, a scan of a head, asked before expensive work
begins.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid

_VOXEL_MM = (0.1, 10.0)
_FARTHEST_MM = 1000.0
# A preterm newborn's brain, cut out tightly, is about 65 mm wide; whole heads with neck and
# shoulders stay under 500.
_FIELD_MM = (60.0, 500.0)


def read_plausible(path: Path, orientation: str | None = None) -> Image:
    """The scan at ``path``, a whole head or a brain, after all checks that need no other scan.

    Args:
        orientation: how it lies, where its header leaves that open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: missing, not an image, 2-D or 4-D, NaN, constant; or its header leaves open how
            it lies, has a voxel size or field of view that no head has, sheared axes, or a place
            far from the scanner.
        DamagedFileError: empty or truncated.
    """
    image = io.read_image(path, orientation)
    _require_voxels(image.grid, path)
    _require_field_of_view(image.grid, path)
    return image


def _require_voxels(grid: Grid, path: Path) -> None:
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing)
    if grid.spacing.min() < _VOXEL_MM[0] or grid.spacing.max() > _VOXEL_MM[1]:
        raise InputError(
            f"{path} has voxels of {spacing} mm, outside {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm; "
            "repair its header."
        )
    try:
        grid.require_perpendicular("the alignment")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_field_of_view(grid: Grid, path: Path) -> None:
    sides = grid.spacing * grid.shape
    if sides.min() < _FIELD_MM[0] or sides.max() > _FIELD_MM[1]:
        shown = " x ".join(f"{s:.0f}" for s in sides)
        raise InputError(
            f"{path} covers {shown} mm, no side of a head's scan is outside {_FIELD_MM[0]:g} to "
            f"{_FIELD_MM[1]:g} mm; give a scan of the whole head, and check the voxel size in its "
            "header."
        )
    distance = float(np.linalg.norm(grid.centre_mm))
    if distance > _FARTHEST_MM:
        raise InputError(
            f"{path} lies {distance / 1000:.1f} m from the origin of its coordinates; repair the "
            "affine in its header."
        )
