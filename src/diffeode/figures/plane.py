"""Registration in the plane: pictures, deformed grids, determinants and folds, one column for each
registration (Figs. 1 and 3 of arXiv 2108.03443).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, TwoSlopeNorm

from diffeode.figures import style

LIMIT = 2.0
"""The determinant at which the scale of colours ends."""
_LINES = 24
_CELL_GAP_IN, _LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.04, 0.5, 0.04, 0.42, 0.42
_DETERMINANT = TwoSlopeNorm(1.0, 0.0, LIMIT)
_FOLD = "#ffe100"


class Registered(Protocol):
    """What is drawn of one registration: pictures ``(X, Y)``, whose first axis points downwards.

    The displacement ``(2, X, Y)`` is in pixels, from fixed to moving.
    """

    fixed: np.ndarray
    moving: np.ndarray
    warped: np.ndarray
    displacement: np.ndarray

    @property
    def determinant(self) -> np.ndarray: ...

    @property
    def folded_percent(self) -> float: ...


def plane_figure(columns: Mapping[str, Registered], rows: Sequence[str], out: style.Out) -> None:
    """Draw one column for each registration, under its title and its share of folded pixels.

    Args:
        columns: title to registration.
        rows: names among :data:`ROWS`, from the top.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    shapes = [registered.fixed.shape for registered in columns.values()]
    tall = max(shape[0] / shape[1] for shape in shapes)
    gaps_in = (len(columns) - 1) * _CELL_GAP_IN
    room_in = style.FULL_WIDTH_IN - _LEFT_IN - _RIGHT_IN - gaps_in
    cell_in = room_in / max(len(columns), 4)
    row_in = cell_in * tall
    height_in = _TOP_IN + len(rows) * (row_in + _CELL_GAP_IN) + _BOTTOM_IN
    with style.page(out, style.FULL_WIDTH_IN, height_in, layout=None) as figure:
        for place, (title, registered) in enumerate(columns.items()):
            left = (_LEFT_IN + place * (cell_in + _CELL_GAP_IN)) / style.FULL_WIDTH_IN
            figure.text(
                left + cell_in / 2 / style.FULL_WIDTH_IN,
                1 - (_TOP_IN - 0.04) / height_in,
                f"{title}\n{registered.folded_percent:.2g} % folded",
                ha="center",
                va="bottom",
                fontsize=5.5,
            )
            for row, name in enumerate(rows):
                bottom = height_in - _TOP_IN - row * (row_in + _CELL_GAP_IN) - row_in
                box = (left, bottom / height_in, cell_in / style.FULL_WIDTH_IN, row_in / height_in)
                cell = figure.add_axes(box)
                ROWS[name](cell, registered)
                _frame(cell, registered.fixed.shape)
                if place == 0:
                    cell.set_ylabel(name, fontsize=6.5)
        bar_box = (0.35, (_BOTTOM_IN - 0.14) / height_in, 0.3, 0.06 / height_in)
        style.add_colour_bar(
            figure,
            bar_box,
            ScalarMappable(_DETERMINANT, "RdBu_r"),
            "|J|; yellow: 0 or negative",
            extend="max",
            ticks=[0, 0.5, 1, 1.5, 2],
        )


def grid_lines(displacement: np.ndarray, lines: int = _LINES) -> list[np.ndarray]:
    """Return where the map sends the lines of a regular grid: polygons ``(N, 2)``, column
    and row.
    """
    shape = displacement.shape[1:]
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    moved = (points + np.moveaxis(displacement, 0, -1))[..., ::-1]
    step = max(1, round(max(shape) / lines))
    return [*moved[::step], *np.moveaxis(moved, 1, 0)[::step]]


def _draw_picture(picture: str) -> Callable[[Axes, Registered], None]:
    def draw(cell: Axes, registered: Registered) -> None:
        cell.imshow(getattr(registered, picture), cmap="gray", vmin=0, vmax=1)

    return draw


def _draw_grid(cell: Axes, registered: Registered) -> None:
    lines = grid_lines(registered.displacement)
    cell.add_collection(LineCollection(lines, colors=style.INK, linewidths=0.35))


def _draw_determinant(cell: Axes, registered: Registered) -> None:
    cell.imshow(registered.determinant, cmap="RdBu_r", norm=_DETERMINANT)
    _draw_marks(cell, registered)


def _draw_negative(cell: Axes, registered: Registered) -> None:
    cell.set_facecolor("#3b0f4f")
    _draw_marks(cell, registered)


def _draw_marks(cell: Axes, registered: Registered) -> None:
    marks = np.where(registered.determinant <= 0, 1.0, np.nan)
    cell.imshow(marks, cmap=ListedColormap([_FOLD]), vmin=0, vmax=1)


ROWS: Mapping[str, Callable[[Axes, Registered], None]] = {
    "Moving": _draw_picture("moving"),
    "Fixed": _draw_picture("fixed"),
    "Warped": _draw_picture("warped"),
    "Grid": _draw_grid,
    "|J|": _draw_determinant,
    "Negative |J|": _draw_negative,
}
"""The functions that draw a row, by its name."""
BOUNDARY = ("Moving", "Fixed", "Warped", "|J|", "Grid")
"""The rows of Fig. 1."""
REGULARISATION = ("Warped", "Grid", "|J|", "Negative |J|")
"""The rows of Fig. 3."""


def _frame(cell: Axes, shape: tuple[int, ...]) -> None:
    cell.set_xlim(-0.5, shape[1] - 0.5)
    cell.set_ylim(shape[0] - 0.5, -0.5)
    cell.set_aspect("equal")
    cell.set_xticks([])
    cell.set_yticks([])
    cell.spines[:].set_visible(True)
    cell.spines[:].set_color(style.FAINT)
