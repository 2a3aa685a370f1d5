"""What a method found as an array of displacements becomes a map in RAS mm."""

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
    """The map of displacements ``(X, Y, Z, 3)`` on ``grid``, in voxels along its axes.

    Args:
        found_by: what messages call the method.
        remedy: what messages say is to be done about displacements that are not finite, such as
            ``"; train it anew"``.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    _require_finite(displacement_vox, found_by, remedy)
    return DisplacementField(grid.vectors_to_world(displacement_vox), grid)


def field_of_tensor(
    displacement_vox: Tensor, grid: Grid, found_by: str, remedy: str = ""
) -> DisplacementField:
    """The map of a tensor ``(1, 3, X, Y, Z)``; else as :func:`field_of_voxels`."""
    channels_last = np.moveaxis(displacement_vox[0].cpu().numpy(), 0, -1)
    return field_of_voxels(channels_last, grid, found_by, remedy)


def field_of_itk(vectors_lps: np.ndarray, grid: Grid, found_by: str) -> DisplacementField:
    """The map of displacements in LPS mm on ``grid``, an array ``(Z, Y, X, 3)`` as ITK hands them
    to Python.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    _require_finite(vectors_lps, found_by)
    return DisplacementField(flip_ras_lps(vectors_lps.transpose(2, 1, 0, 3)), grid)


def _require_finite(displacements: np.ndarray, found_by: str, remedy: str = "") -> None:
    # A DisplacementField refuses them too, but as an input of the user, and without this name.
    if not np.isfinite(displacements).all():
        raise RegistrationError(f"{found_by} returned displacements that are not finite{remedy}.")
