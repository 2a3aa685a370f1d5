"""Several methods side by side on one pair: warped scan, fixed edges, deformation and log-Jacobian
of each (Figs. 8 and 10 of arXiv 2512.22689, Fig. 5 of arXiv 2108.03443).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from diffeode.figures import slices, style
from diffeode.figures.edges import draw_edges
from diffeode.figures.moved_grid import SHIFT_COLOURS
from diffeode.figures.pair_panel import (
    LOG_J_LIMIT,
    Scene,
    dice_in_words,
    displacement_norm,
    draw_grid,
    draw_log_jacobian,
    failure_of,
    folds_in_words,
    read_scene,
)

PLANE = slices.CORONAL
ROWS = ("Scan", "Fixed edges", "Deformation", "log |J|")
MOST_COLUMNS = 7
_MARGIN_MM = 4.0
_GAP_IN, _LEFT_IN, _TOP_IN, _BOTTOM_IN = 0.03, 0.16, 0.22, 0.34
_LINE_IN, _ABOVE_IN = 0.1, 0.06
_LETTERS_AN_INCH = 21
"""Number of letters of the words above a column, at their size, in an inch."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column: the words above it, and the registered pair that it shows.

    Attributes:
        side: the scan that it shows: ``fixed``, ``moving`` or ``warped``.
        scene: None where the run failed.
    """

    title: str
    note: str
    side: str
    scene: Scene | None


def beside(
    registrations: Mapping[str, Path],
    pair: Path,
    metrics: Mapping[str, Path],
    titles: Mapping[str, str],
    title: str,
    out: style.Out,
) -> None:
    """Draw the fixed scan, the moving scan and what each run makes of it, in one coronal plane.

    The rows show the scan; the fixed scan's edges over it; the run's own map, on one scale for all;
    and log |J|. Above a column stand the run, its mean Dice and its folds. A run that failed has an
    empty column that says so.

    Args:
        registrations: run to the folder of its registration, in the order of drawing.
        pair: the folder of the aligned pair.
        metrics: run to the table of the registration's metrics.
        titles: run to shown title.
        title: the pair shown.

    Raises:
        InputError: a file is missing, damaged or unreadable, or ``out`` is no figure format.
    """
    scenes = {
        run: read_scene(folder, pair) if failure_of(folder) is None else None
        for run, folder in registrations.items()
    }
    shown = [scene for scene in scenes.values() if scene is not None]
    if not shown:
        style.say(out, f"{title}\nEvery run failed on this pair.")
        return
    columns = [
        Column("Fixed", "", "fixed", shown[0]),
        Column(shown[0].moving_heading, "", "moving", shown[0]),
    ]
    for run, scene in scenes.items():
        score = (dice_in_words(metrics[run]), folds_in_words(scene)) if scene else ("failed",)
        columns.append(Column(titles[run], "\n".join(filter(None, score)), "warped", scene))
    draw_columns(columns, title, out)


def draw_columns(columns: Sequence[Column], title: str, out: style.Out) -> None:
    """Draw ``columns`` in rows of at most :data:`MOST_COLUMNS`; the first one holds a scene.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    scenes = [column.scene for column in columns if column.scene is not None]
    centre, size = slices.brain_box_mm(scenes[0].mask, scenes[0].grid)
    norm = Normalize(0, max(displacement_norm(scene).vmax for scene in scenes))
    layout = _Layout(columns, *(size[[PLANE.across, PLANE.up]] + 2 * _MARGIN_MM))
    with style.page(out, style.FULL_WIDTH_IN, layout.height_in, layout=None) as figure:
        style.set_page_title(figure, title, _LEFT_IN)
        for place, column in enumerate(columns):
            if place % layout.across == 0:
                _name_rows(figure, layout, place)
            _draw_column(figure, layout, place, column, centre, norm)
        _colour_bars(figure, layout, norm)


@dataclass(frozen=True)
class _Layout:
    """Blocks of columns of one width, each block with four rows of one height, all at one scale."""

    columns: Sequence[Column]
    width_mm: float
    tall_mm: float

    @property
    def across(self) -> int:
        return min(len(self.columns), MOST_COLUMNS)

    @property
    def cell_in(self) -> float:
        columns = max(self.across, 5)
        return (style.FULL_WIDTH_IN - _LEFT_IN - (columns - 1) * _GAP_IN) / columns

    @property
    def row_in(self) -> float:
        return self.cell_in * self.tall_mm / self.width_mm

    @property
    def words_in(self) -> float:
        """The height of the words above the columns."""
        lines = max(self.words_above(column).count("\n") + 1 for column in self.columns)
        return _LINE_IN * lines + _ABOVE_IN

    def words_above(self, column: Column) -> str:
        """Return the words above a column, in lines that are no wider than the column."""
        title = textwrap.wrap(column.title, int(self.cell_in * _LETTERS_AN_INCH))
        return "\n".join([*title, column.note]).strip()

    @property
    def block_in(self) -> float:
        return self.words_in + len(ROWS) * (self.row_in + _GAP_IN)

    @property
    def height_in(self) -> float:
        blocks = math.ceil(len(self.columns) / self.across)
        return _TOP_IN + blocks * self.block_in + _BOTTOM_IN

    def corner_in(self, place: int) -> tuple[float, float]:
        """Return left and top of a column's first picture, in inches from the page's left and
        bottom.
        """
        block, column = divmod(place, self.across)
        left = _LEFT_IN + column * (self.cell_in + _GAP_IN)
        return left, self.height_in - _TOP_IN - block * self.block_in - self.words_in

    def box(self, place: int, row: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a picture as fractions of the page."""
        left, top = self.corner_in(place)
        bottom = top - row * (self.row_in + _GAP_IN) - self.row_in
        w, h = style.FULL_WIDTH_IN, self.height_in
        return left / w, bottom / h, self.cell_in / w, self.row_in / h


def _draw_column(
    figure: Figure,
    layout: _Layout,
    place: int,
    column: Column,
    centre: np.ndarray,
    norm: Normalize,
) -> None:
    left, top = layout.corner_in(place)
    figure.text(
        (left + layout.cell_in / 2) / style.FULL_WIDTH_IN,
        (top + 0.03) / layout.height_in,
        layout.words_above(column),
        ha="center",
        va="bottom",
        fontsize=6,
    )
    if column.scene is None:
        return
    index = slices.middle(column.scene.mask, PLANE)
    rows = ROWS if column.side == "warped" else ROWS[: 2 if column.side == "moving" else 1]
    for row, name in enumerate(rows):
        cell = figure.add_axes(layout.box(place, row))
        _draw_cell(cell, name, column, index, norm)
        slices.frame(cell, PLANE, centre, layout.width_mm, layout.tall_mm)
        cell.set_facecolor("black" if row < 2 else "white")
        if place == 0:
            slices.mark_sides(cell, PLANE)
            slices.scale_bar(cell, 20)


def _name_rows(figure: Figure, layout: _Layout, place: int) -> None:
    for row, name in enumerate(ROWS):
        left, bottom, _, height = layout.box(place, row)
        figure.text(
            left - 0.03 / style.FULL_WIDTH_IN,
            bottom + height / 2,
            name,
            ha="right",
            va="center",
            rotation=90,
            fontsize=6,
        )


def _draw_cell(cell: Axes, row: str, column: Column, index: int, norm: Normalize) -> None:
    scene = column.scene
    if row == "Deformation":
        draw_grid(cell, PLANE, index, scene, norm)
    elif row == "log |J|":
        draw_log_jacobian(cell, PLANE, index, scene)
    else:
        volume = {"fixed": scene.fixed, "moving": scene.moving, "warped": scene.warped}[column.side]
        window = slices.window(scene.fixed if column.side == "fixed" else scene.moving)
        picture = slices.shade(slices.cut(volume, PLANE, index), window)
        slices.show_slice(cell, picture, scene.grid, PLANE, cmap="gray", vmin=0, vmax=1)
        if row == "Fixed edges":
            draw_edges(cell, PLANE, index, scene.fixed, scene.mask, scene.grid)


def _colour_bars(figure: Figure, layout: _Layout, norm: Normalize) -> None:
    jacobian = Normalize(-LOG_J_LIMIT, LOG_J_LIMIT)
    bars = (
        (0.5, ScalarMappable(norm, SHIFT_COLOURS), "displacement (mm)", "max"),
        (0.75, ScalarMappable(jacobian, "RdBu_r"), "log |J|; yellow: folded", "both"),
    )
    for left, mappable, label, extend in bars:
        box = (left, (_BOTTOM_IN - 0.09) / layout.height_in, 0.2, 0.05 / layout.height_in)
        style.add_colour_bar(figure, box, mappable, label, extend)
    note = (
        "Coronal; the patient's right is on the left.\n"
        "Folds: |J| \u2264 0, central differences, share of the brain."
    )
    left, top = _LEFT_IN / style.FULL_WIDTH_IN, (_BOTTOM_IN - 0.1) / layout.height_in
    style.add_note(figure, left, top, note)
