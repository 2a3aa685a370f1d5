"""The fixed scans side by side: the middle coronal slice of each, at one scale (Fig. 4 of arXiv
2512.22689).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from diffeode.errors import InputError
from diffeode.figures import slices, style
from diffeode.figures.slices import CORONAL
from diffeode.files.io import read_image
from diffeode.geometry.image import foreground
from diffeode.geometry.space import Grid

_COLUMNS = 5
_MARGIN_MM = 6.0
_GAP_IN, _NAME_IN, _NOTE_IN = 0.05, 0.3, 0.36


@dataclass(frozen=True, eq=False)
class _Tile:
    name: str
    picture: np.ndarray
    grid: Grid
    centre_mm: np.ndarray
    size_mm: np.ndarray


@dataclass(frozen=True)
class _Layout:
    """Rows of five tiles of one size, with a name below each and a note at the foot of the page."""

    tiles: int
    width_mm: float
    height_mm: float

    @property
    def cell_in(self) -> float:
        return (style.FULL_WIDTH_IN - (_COLUMNS - 1) * _GAP_IN) / _COLUMNS

    @property
    def cell_height_in(self) -> float:
        return self.cell_in * self.height_mm / self.width_mm

    @property
    def page_width_in(self) -> float:
        columns = min(_COLUMNS, max(self.tiles, 3))
        return columns * (self.cell_in + _GAP_IN) - _GAP_IN

    @property
    def page_height_in(self) -> float:
        return math.ceil(self.tiles / _COLUMNS) * (self.cell_height_in + _NAME_IN) + _NOTE_IN

    def box(self, place: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a tile as fractions of the page."""
        row, column = divmod(place, _COLUMNS)
        left = column * (self.cell_in + _GAP_IN)
        bottom = self.page_height_in - row * (self.cell_height_in + _NAME_IN) - self.cell_height_in
        w, h = self.page_width_in, self.page_height_in
        return left / w, bottom / h, self.cell_in / w, self.cell_height_in / h


def coronal_overview(images: Mapping[str, Path], out: style.Out, caption: str) -> None:
    """Draw the coronal slice half way through each brain, all at one scale, in the radiological
    convention.

    Args:
        images: shown name to the file of a prepared scan; what follows a newline in the name, such
            as the group, is shown as a second line.
        caption: text under the pictures, which names data and population.

    Raises:
        InputError: there are no images, an image is missing, unreadable or empty, or ``out`` is no
            figure format.
    """
    if not images:
        raise InputError("There is no fixed scan to show; the study has no pair.")
    tiles = [_read_tile(name, Path(path)) for name, path in images.items()]
    size_mm = np.max([tile.size_mm for tile in tiles], axis=0) + 2 * _MARGIN_MM
    layout = _Layout(len(tiles), size_mm[CORONAL.across], size_mm[CORONAL.up])
    with style.page(out, layout.page_width_in, layout.page_height_in, layout=None) as figure:
        for place, tile in enumerate(tiles):
            axes = figure.add_axes(layout.box(place))
            _draw_tile(axes, tile, layout.width_mm, layout.height_mm)
            if place == 0:
                slices.scale_bar(axes, 20)
        top = (_NOTE_IN - 0.04) / layout.page_height_in
        note = _note(caption, layout.page_width_in)
        style.add_note(figure, 0, top, note)


def _read_tile(name: str, path: Path) -> _Tile:
    image = read_image(path)
    data, grid = slices.canonical(image.data, image.grid)
    mask, _ = slices.canonical(foreground(image), image.grid)
    index = slices.middle(mask, CORONAL)
    picture = slices.shade(slices.cut(data, CORONAL, index), slices.window(data))
    return _Tile(name, picture, grid, *slices.brain_box_mm(mask[:, index : index + 1], grid))


def _draw_tile(axes: Axes, tile: _Tile, width_mm: float, height_mm: float) -> None:
    slices.show_slice(axes, tile.picture, tile.grid, CORONAL, cmap="gray", vmin=0, vmax=1)
    slices.frame(axes, CORONAL, tile.centre_mm, width_mm, height_mm)
    axes.set_facecolor("black")
    slices.mark_sides(axes, CORONAL)
    title, _, below = tile.name.partition("\n")
    axes.text(0, -0.02, title, transform=axes.transAxes, va="top", fontsize=7)
    axes.annotate(
        below,
        (0, -0.02),
        xycoords="axes fraction",
        xytext=(0, -9),
        textcoords="offset points",
        va="top",
        fontsize=6,
        color=style.SOFT,
    )


def _note(caption: str, width_in: float) -> str:
    sides = "Radiological convention: the patient's right is on the left. One scale for all."
    return textwrap.fill(f"{caption} {sides}", int(width_in * 24))
