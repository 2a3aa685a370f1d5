"""Resample a scan or label map at a desk, through a map that was found before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.label_ids import looks_like_labels, lost_labels, shown
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.space import Grid
from diffeode.provenance.removal import require_kept

_FEW_PERCENT = 10


def apply_at_desk(
    warp: Path,
    moving: Path,
    output: Path,
    reference: Path | None = None,
    labels: bool = False,
    orientation: str | None = None,
) -> list[str]:
    """Resample ``moving`` once through the map ``warp`` and write it to ``output``.

    Args:
        reference: the image on whose grid the result lies; by default it lies on the grid of the
            map. The values of the image are not read.
        labels: whether ``moving`` is a label map, which is resampled by nearest neighbour instead
            of linearly.
        orientation: the orientation of the images' axes, where their headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Returns:
        Sentences that warn of what the user may not have intended.

    Raises:
        InputError: a file is unusable, or the map leads to no point of ``moving``.
    """
    require_kept(warp)
    field = io.read_displacement(warp)
    grid = io.read_grid(reference, orientation) if reference else field.grid
    points = grid.points_mm()
    _require_on_map(points, field.grid, reference, warp)
    reached = field(points)
    read = io.read_labels if labels else io.read_finite
    image = read(moving, orientation)
    share = _inside(image.grid, reached)
    voxels = image.grid.to_voxel(reached)
    result = sample(image.data, voxels, order=0 if labels else 1)
    if not share or (image.data.any() and not result.any()):
        distance = _distance_mm(image.grid, reached)
        raise InputError(
            f"{warp} leads to no part of {moving}, whose centre lies {distance:.0f} mm away; give "
            "the scan that the map was made for, and check the position in its header."
        )
    if isinstance(image, Labels):
        io.write_labels(output, Labels(result, grid))
    else:
        io.write_image(output, Image(result, grid))
    return [*_on_place(share, grid, moving), *_on_values(image, result, moving)]


def _require_on_map(points: np.ndarray, map_grid: Grid, reference: Path | None, warp: Path) -> None:
    if reference is not None and not _inside(map_grid, points):
        raise InputError(
            f"The reference {reference} lies nowhere on the grid of {warp}, so the map has no "
            "values there; give the fixed scan of that map, or another scan in the same place."
        )


def _inside(grid: Grid, points_mm: np.ndarray) -> float:
    """Return the share of ``points_mm (..., 3)`` that lies in the box of ``grid``."""
    voxels = grid.to_voxel(points_mm)
    return float(((voxels >= -0.5) & (voxels <= np.array(grid.shape) - 0.5)).all(axis=-1).mean())


def _distance_mm(grid: Grid, reached: np.ndarray) -> float:
    return float(np.linalg.norm(grid.centre_mm - reached.reshape(-1, 3).mean(axis=0)))


def _on_place(share: float, grid: Grid, moving: Path) -> list[str]:
    if 100 * share >= _FEW_PERCENT:
        return []
    return [
        f"the map leads only {100 * share:.1f} % of {np.prod(grid.shape)} voxels into {moving}; "
        "check that this is the scan that it was made for"
    ]


def _on_values(image: Image | Labels, result: np.ndarray, moving: Path) -> list[str]:
    if isinstance(image, Image):
        if looks_like_labels(image.data):
            return [
                f"{moving} looks like a label map, and linear interpolation mixes its ids; give "
                "--labels if it is one"
            ]
        return []
    lost = lost_labels(image.data, result)
    return [f"the result has none of the ids {shown(lost)} of {moving}"] if lost else []
