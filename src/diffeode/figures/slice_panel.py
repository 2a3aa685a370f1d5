"""One registered pair of slices: both slices, the warped one, checkerboard, deformation grid and
log-Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from scipy import ndimage

from diffeode.evaluation.jacobian import jacobian_determinant, own_map
from diffeode.figures import style
from diffeode.figures.moved_grid import SHIFT_COLOURS, moved_lines
from diffeode.figures.pair_panel import AFTER_AFFINE, LOG_J_LIMIT, log_determinant
from diffeode.geometry.plane import plane_frame
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField

_COLUMNS, _ROWS, _CHECKERS = 3, 2, 8
GRID_LINES = 30
"""Number of lines of the deformation grid along the longer side."""
_GAP_IN, _TOP_IN, _HEADING_IN, _BOTTOM_IN = 0.06, 0.22, 0.16, 0.42
_MOST_PIXELS = 700
"""Largest number of pixels along an axis that are drawn; a printed panel shows no more."""
_WORLD_UP = 2


@final
@dataclass(frozen=True, eq=False)
class SliceScene:
    """Everything that is drawn of one registered pair of slices, all on the fixed grid.

    Attributes:
        grid: the grid of the fixed slice.
        fixed, moving, warped: what is shown, in [0, 1]: grey ``(X, Y)`` or colours ``(X, Y, 3)``.
        tissue: what is not background in the fixed slice, ``(X, Y)`` bool.
        whole: the map from points of the fixed slice to points of the moving one, RAS mm.
        alignment: the affine alignment that ``whole`` includes.
        unit: the unit of lengths: ``pixels`` or ``mm``.
    """

    grid: Grid
    fixed: np.ndarray
    moving: np.ndarray
    warped: np.ndarray
    tissue: np.ndarray
    whole: DisplacementField
    alignment: Affine
    unit: str

    @property
    def aligned(self) -> bool:
        """Whether ``moving`` is shown after an affine alignment."""
        return not np.allclose(self.alignment.matrix, np.eye(4))

    @cached_property
    def own(self) -> DisplacementField:
        """The map without the affine alignment."""
        return own_map(self.whole, self.alignment)

    @cached_property
    def determinant(self) -> np.ndarray:
        """``|J|`` of :attr:`own` in the plane, ``(X, Y)``, NaN on the outermost pixels."""
        return jacobian_determinant(self.own)[..., 0]

    def folds(self) -> tuple[int, int]:
        """Return the number of pixels that fold, and of those that are counted: the tissue without
        its outermost pixels.
        """
        counted = ndimage.binary_erosion(self.tissue, np.ones((3, 3))) & np.isfinite(
            self.determinant
        )
        return int((self.determinant[counted] <= 0).sum()), int(counted.sum())


def draw_slices(scene: SliceScene, title: str, out: Path) -> None:
    """Draw one registered pair of slices.

    Raises:
        InputError: ``out`` is no figure format.
    """
    width_mm, height_mm = _extent(scene.grid)
    cell_in = (style.FULL_WIDTH_IN - (_COLUMNS - 1) * _GAP_IN) / _COLUMNS
    tall_in = cell_in * height_mm / width_mm
    row_in = _HEADING_IN + tall_in
    page_in = _TOP_IN + _ROWS * row_in + _BOTTOM_IN
    with style.page(out, style.FULL_WIDTH_IN, page_in, layout=None) as figure:
        style.set_page_title(figure, title, 0.0)

        def box(place: int, height_in: float, below_in: float) -> tuple[float, ...]:
            left = (place % _COLUMNS) * (cell_in + _GAP_IN)
            w, h = style.FULL_WIDTH_IN, page_in
            return left / w, below_in / h, cell_in / w, height_in / h

        cells = []
        for place, heading in enumerate(_headings(scene)):
            below = page_in - _TOP_IN - (place // _COLUMNS + 1) * row_in
            cell = figure.add_axes(box(place, tall_in, below))
            cell.set_title(heading, fontsize=7, weight="normal", loc="center", pad=3)
            _framed(cell, scene.grid)
            cells.append(cell)
        for cell, picture in zip(cells, _pictures(scene), strict=False):
            _show(cell, picture, scene.grid)
        shift, norm = _shift(scene.own)
        _draw_lines(cells[4], scene.grid, *shift, norm)
        folds, counted = _draw_log_jacobian(cells[5], scene)
        bar = box(4, 0.05, _BOTTOM_IN - 0.13)
        colours = ScalarMappable(norm, SHIFT_COLOURS)
        style.add_colour_bar(figure, bar, colours, f"displacement ({scene.unit})", "max")
        bar = box(5, 0.05, _BOTTOM_IN - 0.13)
        colours = ScalarMappable(Normalize(-LOG_J_LIMIT, LOG_J_LIMIT), "RdBu_r")
        style.add_colour_bar(figure, bar, colours, "smaller \N{LEFT RIGHT ARROW} larger", "both")
        style.add_note(
            figure, 0.0, (_BOTTOM_IN - 0.08) / page_in, _note(folds, counted, norm, scene.unit)
        )


def _headings(scene: SliceScene) -> tuple[str, ...]:
    moving = AFTER_AFFINE if scene.aligned else "Moving"
    return "Fixed", moving, "Warped", "Fixed and warped, checkerboard", "Deformation", "log |J|"


def _pictures(scene: SliceScene) -> tuple[np.ndarray, ...]:
    return scene.fixed, scene.moving, scene.warped, _checkered(scene.fixed, scene.warped)


def _checkered(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = (a if a.ndim == 3 else np.repeat(a[..., None], 3, axis=2) for a in (one, other))
    side = max(1, round(max(one.shape[:2]) / _CHECKERS))
    x, y = (np.arange(n) // side for n in one.shape[:2])
    return np.where(((x[:, None] + y) % 2 == 0)[..., None], one, other)


def _shift(own: DisplacementField) -> tuple[tuple[np.ndarray, np.ndarray], Normalize]:
    """Return the plane coordinates of the moved pixels ``(X, Y, 2)``, the length of each
    displacement ``(X, Y)``, and the scale of these lengths.
    """
    moved = moved_in_plane(own)
    amount = np.linalg.norm(own.displacement_mm[:, :, 0], axis=-1)
    largest = max(float(np.quantile(amount, 0.995)), 0.1 * float(own.grid.spacing[:2].min()))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return (moved, amount), Normalize(0, style.round_up(largest, steps=steps))


def moved_in_plane(own: DisplacementField) -> np.ndarray:
    """Return the plane coordinates of the moved pixels of a slice, ``(X, Y, 2)``."""
    to_plane = plane_frame(own.grid).inverse()
    return to_plane(own.grid.points_mm() + own.displacement_mm)[:, :, 0, :2]


def _draw_lines(
    cell: Axes, grid: Grid, moved: np.ndarray, amount: np.ndarray, norm: Normalize
) -> None:
    step = max(1, round(max(grid.shape) / GRID_LINES))
    fine = max(1, step // 8)
    lines = [*moved[::step, ::fine], *np.moveaxis(moved, 1, 0)[::step, ::fine]]
    amounts = [*amount[::step, ::fine], *amount.T[::step, ::fine]]
    cell.add_collection(moved_lines(lines, amounts, norm))


def _draw_log_jacobian(cell: Axes, scene: SliceScene) -> tuple[int, int]:
    """Draw log |J| in the tissue; return the number of pixels that fold, and of those counted."""
    values = np.where(scene.tissue, log_determinant(scene.determinant), np.nan)
    _show(cell, values, scene.grid, cmap="RdBu_r", vmin=-LOG_J_LIMIT, vmax=LOG_J_LIMIT)
    return scene.folds()


def _note(folds: int, counted: int, norm: Normalize, unit: str) -> str:
    said = f"{folds:,} of {counted:,} pixels fold" if folds else "No pixel folds"
    return (
        f"{said}: |J| \u2264 0, central differences, in the tissue\nwithout its outermost pixels."
    )


# ------------------------------------------------------------------------------ how slices are laid


def _extent(grid: Grid) -> tuple[float, float]:
    """Return width and height of the slice as it is shown, mm."""
    left, right, bottom, top = shown_box(grid)
    return abs(right - left), abs(top - bottom)


def shown_box(grid: Grid) -> tuple[float, float, float, float]:
    """Return the plane coordinates of the left, right, lower and upper edge of what is shown.

    The first coordinate runs to the right. The second runs downwards, as in pictures, unless it
    means upwards in the body.
    """
    to_plane = plane_frame(grid).inverse().matrix @ grid.affine
    corners = [
        (to_plane @ np.array([i, j, 0, 1]))[:2]
        for i in (-0.5, grid.shape[0] - 0.5)
        for j in (-0.5, grid.shape[1] - 0.5)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    upwards = plane_frame(grid).matrix[_WORLD_UP, 1] > np.sqrt(0.5)
    bottom, top = (low[1], high[1]) if upwards else (high[1], low[1])
    return float(low[0]), float(high[0]), float(bottom), float(top)


def in_plane_order(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Return ``values (X, Y, ...)`` of a slice with its first axis along the first plane coordinate
    and its second along the second, both increasing.
    """
    to_plane = (plane_frame(grid).inverse().matrix @ grid.affine)[:2, :2]
    if abs(to_plane[0, 0]) < abs(to_plane[0, 1]):
        values, to_plane = np.swapaxes(values, 0, 1), to_plane[:, ::-1]
    return values[:: int(np.sign(to_plane[0, 0])), :: int(np.sign(to_plane[1, 1]))]


def _framed(cell: Axes, grid: Grid) -> None:
    left, right, bottom, top = shown_box(grid)
    cell.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set(visible=True, color=style.FAINT)


def _show(cell: Axes, picture: np.ndarray, grid: Grid, **look: object) -> None:
    """Show ``picture (X, Y)`` or ``(X, Y, 3)`` where it lies in the plane."""
    picture = in_plane_order(picture, grid)
    step = max(1, -(-max(picture.shape[:2]) // _MOST_PIXELS))
    left, right, bottom, top = shown_box(grid)
    low, high = min(bottom, top), max(bottom, top)
    settings = {"cmap": "gray", "vmin": 0, "vmax": 1} | look if picture.ndim == 2 else {}
    cell.imshow(
        np.swapaxes(picture[::step, ::step], 0, 1),
        origin="lower",
        extent=(left, right, low, high),
        aspect="auto",
        **settings,
    )
    cell.set(xlim=(left, right), ylim=(bottom, top))
