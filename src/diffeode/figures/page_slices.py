"""The picture of a page about two registered slices, which are shown as they lie in their plane."""

from __future__ import annotations

import numpy as np

from diffeode.figures import slices
from diffeode.figures.edges import Borders
from diffeode.figures.page_views import (
    UNITS,
    Slice,
    View,
    jacobian_address,
    path_of,
    photograph_address,
)
from diffeode.figures.slice_panel import (
    GRID_LINES,
    SliceScene,
    in_plane_order,
    moved_in_plane,
    shown_box,
)
from diffeode.geometry.space import Grid

LONGEST_PX = (1000, 700, 500, 300)
"""Largest numbers of pixels along a side; a page that would be too large shows fewer."""
_OUTLINED_PX = 400
"""Number of pixels along the longest side between which contours are found."""
_SMOOTHING, _SHORTEST = 1 / 150, 1 / 12
"""Smoothing before contours are found, and length of the shortest one, as shares of the longest
side.
"""


def view_of_slices(scene: SliceScene, longest_px: int) -> View:
    """Return the view of two slices.

    Args:
        longest_px: the largest number of pixels along a side of a picture.
    """
    left, right, bottom, top = shown_box(scene.grid)
    width_mm, height_mm = abs(right - left), abs(top - bottom)
    unit_mm = max(width_mm, height_mm) / UNITS
    corner, down = np.array([left, top]), np.array([1.0, np.sign(bottom - top)])

    def units(points: np.ndarray) -> np.ndarray:
        return np.rint((points - corner) * down / unit_mm).astype(int)

    before, after, fixed = (
        photograph_address(_rows(picture, scene.grid), longest_px)
        for picture in (scene.moving, scene.warped, scene.fixed)
    )
    folded = (scene.determinant <= 0) & scene.tissue
    volume = jacobian_address(
        *(_rows(values, scene.grid) for values in (scene.determinant, scene.tissue, folded)),
        longest_px,
    )
    drawn = Slice(
        fixed,
        before,
        after,
        volume,
        path_of(units(line) for line in _contours(scene)),
        path_of(units(line) for line in _grid_lines(scene)),
    )
    size = round(width_mm / unit_mm), round(height_mm / unit_mm)
    return View("In the plane", "", "", *size, (drawn,), 0)


def _rows(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Return ``values (X, Y, ...)`` as rows from the top to the bottom."""
    rows = np.swapaxes(in_plane_order(values, grid), 0, 1)
    _, _, bottom, top = shown_box(grid)
    return rows if bottom > top else rows[::-1]


def _contours(scene: SliceScene) -> list[np.ndarray]:
    """Return the contours of the fixed slice, ``(N, 2)`` each, in plane coordinates."""
    step = max(1, round(max(scene.grid.shape) / _OUTLINED_PX))
    grey = scene.fixed if scene.fixed.ndim == 2 else scene.fixed.mean(axis=2)
    ordered = [in_plane_order(values, scene.grid) for values in (grey, scene.tissue)]
    image, mask = (values[::step, ::step, None] for values in ordered)
    if not mask.any():
        return []
    left, right, bottom, top = shown_box(scene.grid)
    sides = np.array([right - left, abs(top - bottom)]) / ordered[0].shape[:2]
    spacing = np.diag([*(step * sides), 1.0, 1.0])
    longest = float(max(right - left, abs(top - bottom)))
    flat = Grid(image.shape, spacing)
    borders = Borders.of(image, mask, flat, _SMOOTHING * longest, _SHORTEST * longest)
    first = np.array([left, min(bottom, top)]) + sides / 2
    return [line + first for line in borders.lines(slices.AXIAL, 0)]


def _grid_lines(scene: SliceScene) -> list[np.ndarray]:
    """Return where the map sends the lines of a regular grid, in plane coordinates."""
    moved = moved_in_plane(scene.own)
    step = max(1, round(max(scene.grid.shape) / GRID_LINES))
    fine = max(1, step // 6)
    return [*moved[::step, ::fine], *np.moveaxis(moved, 1, 0)[::step, ::fine]]
