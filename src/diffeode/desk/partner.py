"""The map back that a registration writes beside its map: its grid is that of the other scan."""

from __future__ import annotations

from pathlib import Path

from diffeode.files.transforms import read_grid_of_field
from diffeode.geometry.space import Grid
from diffeode.units.registration import INVERSE_WARP, WARP


def file_on_moving_grid(field: Path, inverted: bool) -> Path | None:
    """Return the file that lies on the grid of the scan to which a map of a registration leads;
    None where no such file is known.

    Args:
        field: the map, or the folder of the registration.
        inverted: whether the inverse of ``field`` is meant, which leads to the grid of the field.
    """
    if field.is_dir():
        field = field / WARP
    other = {WARP: INVERSE_WARP, INVERSE_WARP: WARP}.get(field.name)
    if other is None:
        return None
    partner = field if inverted else field.with_name(other)
    return partner if partner.is_file() else None


def moving_grid_of(field: Path, inverted: bool) -> Grid | None:
    """Return the grid of the scan to which a map of a registration leads; None where it is not
    known (:func:`file_on_moving_grid`).
    """
    file = file_on_moving_grid(field, inverted)
    return None if file is None else read_grid_of_field(file)
