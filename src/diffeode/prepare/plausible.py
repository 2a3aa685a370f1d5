"""Check that a file can be the scan that it is meant to be, before expensive work begins on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid

_VOXEL_MM = (0.1, 10.0)
_FARTHEST_MM = 1000.0
# A preterm newborn's brain in a box that just fits it is about 65 mm wide; whole heads with neck
# and shoulders stay below 500 mm.
_FIELD_MM = (60.0, 500.0)


def read_plausible(path: Path, orientation: str | None = None, of_anything: bool = False) -> Image:
    """Return the scan at ``path``, a whole head or a brain, after all checks that need no other
    file.

    Args:
        of_anything: the scan may show anything, so its voxels, its field of view and its place may
            have any size.
        orientation: the orientation of the array's axes, where the header leaves it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: the file is missing, no image, 2-D or 4-D, constant, or holds NaN; or its header
            leaves the orientation open, or states a voxel size or field of view that no head has,
            sheared axes, or a place far from the scanner.
        DamagedFileError: the file is empty or truncated.
    """
    image = io.read_image(path, orientation)
    if not of_anything:
        _require_voxels(image.grid, path)
        _require_field_of_view(image.grid, path)
    _require_perpendicular(image.grid, path)
    return image


def _require_voxels(grid: Grid, path: Path) -> None:
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing)
    if grid.spacing.min() < _VOXEL_MM[0] or grid.spacing.max() > _VOXEL_MM[1]:
        raise InputError(
            f"{path} has voxels of {spacing} mm, outside {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm; "
            "repair its header."
        )


def _require_perpendicular(grid: Grid, path: Path) -> None:
    try:
        grid.require_perpendicular("the alignment")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_field_of_view(grid: Grid, path: Path) -> None:
    sides = grid.spacing * grid.shape
    if sides.min() < _FIELD_MM[0] or sides.max() > _FIELD_MM[1]:
        shown = " x ".join(f"{s:.0f}" for s in sides)
        raise InputError(
            f"{path} covers {shown} mm, but each side of a head's scan has {_FIELD_MM[0]:g} to "
            f"{_FIELD_MM[1]:g} mm; give a scan of the whole head, and check the voxel size in its "
            "header."
        )
    distance = float(np.linalg.norm(grid.centre_mm))
    if distance > _FARTHEST_MM:
        raise InputError(
            f"{path} lies {distance / 1000:.1f} m from the origin of its coordinates; repair the "
            "affine in its header."
        )
