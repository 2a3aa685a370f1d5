"""Refuse a picture as the reference of a map of volumes, and a volume as that of a map of slices.

A pixel counts as 1 mm from an origin that no scanner knows, so a picture has no place in a volume.
"""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.maps import Inverse, steps_of
from diffeode.geometry.plane import is_slice, thin_axis
from diffeode.geometry.space import RAS_TO_LPS, Grid
from diffeode.geometry.transform import DisplacementField, Transform


def require_reference_of_kind(
    transform: Transform, flat: bool, map_name: str, reference: Grid, reference_name: str
) -> None:
    """Raise :class:`InputError` where results of a map cannot lie on ``reference``.

    A slice of a scan, such as a NIfTI of one layer, may be the reference of a map of volumes. An
    affine that is not flat tells no kind.

    Args:
        flat: whether the map is a transform of ITK in 2-D.
    """
    of_slices = True if flat else _maps_slices(transform)
    if of_slices is False and _is_of_picture(reference):
        raise InputError(
            f"{map_name} is a map of volumes, and the reference {reference_name} is a picture, "
            "whose pixels have no place in a volume; give the fixed scan or another volume."
        )
    if of_slices and thin_axis(reference.shape) is None:
        raise InputError(
            f"{map_name} is a map of slices, and the reference {reference_name} is a volume; give "
            "the fixed slice, or leave the reference out."
        )


def _maps_slices(transform: Transform) -> bool | None:
    """Return whether the first field of a map lies on a slice; None where the map has no field."""
    for step in steps_of(transform):
        field = step.forward if isinstance(step, Inverse) else step
        if isinstance(field, DisplacementField):
            return thin_axis(field.grid.shape) is not None
    return None


def _is_of_picture(grid: Grid) -> bool:
    """Return whether ``grid`` is that of a picture (:class:`diffeode.files.pictures.Picture`)."""
    return is_slice(grid) and np.array_equal(grid.affine, RAS_TO_LPS)
