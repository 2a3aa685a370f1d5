"""Resample the files of scans, label maps, pictures and series through maps that were found
before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from diffeode.desk.partner import file_on_moving_grid
from diffeode.desk.resampling import Destination, How, Resampled, resampled
from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.files.series import read_grid_of_series, read_series
from diffeode.files.transforms import read_grid_of_field
from diffeode.geometry.maps import inside
from diffeode.geometry.plane import lies_as_pictures, thin_axis
from diffeode.geometry.space import Grid

_ALIKE = 0.5
"""Least share of the joint volume of two boxes that both hold, where a scan counts as that of a
map.
"""
_CORNERS = 24
"""Number of points along each axis by which the common volume of two boxes is estimated."""


def apply_at_desk(
    transform: Transform,
    images: Sequence[Path],
    write: Callable[[Path, Resampled], None],
    reference: Path | None = None,
    how: How | None = None,
    orientation: str | None = None,
) -> list[str]:
    """Resample each of ``images`` once through ``transform``.

    Args:
        write: called with each image's path and its result.
        reference: the image on whose grid the results lie; by default it is the grid of the map.
            The values of the reference are not read.
        orientation: the orientation of the images' axes, where their headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Returns:
        Sentences that warn of what the user may not have intended.

    Raises:
        InputError: a file is unusable, or the map leads to no point of an image.
    """
    grid = read_grid_of_series(reference, orientation) if reference else None
    to = Destination.of(transform.mapping, transform.name, grid, str(reference), transform.flat)
    notes: list[str] = []
    for path in images:
        result = resampled(to, read_series(path, orientation), str(path), how or How())
        write(path, result)
        notes += result.notes
    return notes


def require_scan_of_map(
    field: Path, inverted: bool, scan: Path, orientation: str | None = None
) -> None:
    """Raise :class:`InputError` where ``scan`` lies elsewhere than the scan of a map.

    A registration writes the map back beside the map, and the grid of the one is that of the scan
    to which the other leads. Where no such file lies beside ``field``, nothing is known.

    Args:
        inverted: whether the inverse of ``field`` is meant, which leads to the grid of the field.
    """
    partner = file_on_moving_grid(field, inverted)
    if partner is None:
        return
    made_for, given = read_grid_of_field(partner), read_grid_of_series(scan, orientation)
    shared = _shared_volume(made_for, given)
    if shared < _ALIKE:
        raise InputError(
            f"{field} was made for a scan in another place: that scan fills the box of {partner} "
            f"({_box(made_for)}), and {scan} ({_box(given)}) has {100 * shared:.0f} % of the joint "
            "volume in common with it; give the scan that the map was made for, or say "
            f"--other-scan where {scan.name} lies in the same space."
        )


def _shared_volume(one: Grid, other: Grid) -> float:
    """Return the volume that two boxes share as a fraction of the volume that either holds."""
    volumes = [grid.voxel_volume * np.prod(grid.shape) for grid in (one, other)]
    common = volumes[0] * float(inside(other, _lattice(one)).mean())
    return float(common / (sum(volumes) - common))


def _lattice(grid: Grid) -> np.ndarray:
    """Return points that lie evenly in the box of ``grid``, ``(N, 3)``, RAS mm."""
    steps = [(np.arange(_CORNERS) + 0.5) / _CORNERS * n - 0.5 for n in grid.shape]
    return grid.to_world(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3))


def _box(grid: Grid) -> str:
    axis = thin_axis(grid.shape)
    sides = [side for n, side in enumerate(grid.spacing * grid.shape) if n != axis]
    unit = "pixels" if lies_as_pictures(grid) and (grid.spacing == 1).all() else "mm"
    return " x ".join(f"{side:.0f}" for side in sides) + f" {unit}"
