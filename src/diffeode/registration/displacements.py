"""Conversion of the displacements that a method found into a map in RAS mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffeode.errors import RegistrationError
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import DisplacementField

if TYPE_CHECKING:
    from torch import Tensor


def field_of_voxels(
    displacement_vox: np.ndarray, grid: Grid, found_by: str, remedy: str = ""
) -> DisplacementField:
    """Return the map of displacements ``(X, Y, Z, 3)`` on ``grid``, in voxels along its axes.

    Args:
        found_by: what messages call the method.
        remedy: the end of the message about displacements that are not finite, such as ``"; train
            it anew"``.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    _require_finite(displacement_vox, found_by, remedy)
    return DisplacementField(grid.vectors_to_world(displacement_vox), grid)


def field_of_tensor(
    displacement_vox: Tensor, grid: Grid, found_by: str, remedy: str = ""
) -> DisplacementField:
    """Return the map of a tensor ``(1, 3, X, Y, Z)``, as :func:`field_of_voxels` does of
    an array.

    A tensor ``(1, 2, X, Y)`` is that of a slice, whose points stay in its plane.
    """
    channels_last = np.moveaxis(displacement_vox[0].cpu().numpy(), 0, -1)
    if channels_last.ndim == 3:
        channels_last = np.pad(channels_last[:, :, None], [(0, 0)] * 3 + [(0, 1)])
    return field_of_voxels(channels_last, grid, found_by, remedy)


def field_of_itk(vectors_lps: np.ndarray, grid: Grid, found_by: str) -> DisplacementField:
    """Return the map of displacements in LPS mm on ``grid``.

    Args:
        vectors_lps: an array ``(Z, Y, X, 3)``, the order in which ITK gives images to Python.
        found_by: what messages call the method.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    _require_finite(vectors_lps, found_by)
    return DisplacementField(flip_ras_lps(vectors_lps.transpose(2, 1, 0, 3)), grid)


def _require_finite(displacements: np.ndarray, found_by: str, remedy: str = "") -> None:
    # A DisplacementField refuses them too, but as a fault of the user's input.
    if not np.isfinite(displacements).all():
        raise RegistrationError(f"{found_by} returned displacements that are not finite{remedy}.")
