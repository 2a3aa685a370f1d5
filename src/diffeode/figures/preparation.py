"""The preparation of one scan: the scan with the outline of its brain, the prepared image with the
edges of the template, and its labels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from diffeode.evaluation.labels import read_label_table, to_indices
from diffeode.evaluation.preparation import PreparedScan
from diffeode.figures import slices, style
from diffeode.figures.edges import EDGE_COLOUR, draw_edges
from diffeode.figures.slices import Plane
from diffeode.files import io
from diffeode.geometry.image import Image, foreground, sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine

PLANES = (slices.AXIAL, slices.CORONAL, slices.SAGITTAL)
_MARGIN_MM = 14.0
_GAP_IN, _LEFT_IN, _TOP_IN, _BOTTOM_IN = 0.03, 0.16, 0.22, 0.2
_LABEL_OPACITY = 0.55
_GOLDEN_RATIO = 0.618034
_NOTE = "Radiological convention: the patient's right is on the left."

Overlay = Callable[[Axes, Plane, int], None]


@dataclass(frozen=True, eq=False)
class _Row:
    """One step of the preparation: a canonical ``image`` and what is drawn over its slices.

    Attributes:
        centre_mm, size_mm: centre and size of the brain, along the canonical axes.
    """

    heading: str
    image: np.ndarray
    grid: Grid
    centre_mm: np.ndarray
    size_mm: np.ndarray
    overlay: Overlay

    def index(self, plane: Plane) -> int:
        """Return the index of the slice through the brain's centre."""
        place = round(self.centre_mm[plane.normal] / self.grid.spacing[plane.normal])
        return int(np.clip(place, 0, self.grid.shape[plane.normal] - 1))


def preparation_picture(prepared: PreparedScan, references: Mapping[str, Image], out: Path) -> None:
    """Draw three planes of the scan, of the prepared image and, where there are any, of the labels.

    Args:
        references: skull-stripped images of the template by modality, whose edges are drawn over
            the prepared image; where there is none, the outline of the prepared brain is drawn.

    Raises:
        InputError: a file is missing or unusable, or ``out`` is no figure format.
    """
    rows = _rows(prepared, references)
    layout = _Layout(np.max([row.size_mm for row in rows], axis=0) + 2 * _MARGIN_MM, len(rows))
    with style.page(out, style.FULL_WIDTH_IN, layout.height_in, layout=None) as figure:
        style.set_page_title(figure, prepared.name, _LEFT_IN)
        left, top = _LEFT_IN / style.FULL_WIDTH_IN, (_BOTTOM_IN - 0.05) / layout.height_in
        figure.text(left, top, _NOTE, va="top", fontsize=6, color=style.SOFT)
        for number, row in enumerate(rows):
            _draw_row(figure, layout, number, row)


# ------------------------------------------------------------------------------------ what is shown


def _rows(prepared: PreparedScan, references: Mapping[str, Image]) -> list[_Row]:
    image, to_scan = prepared.image(), prepared.to_scan()
    brain = Image(prepared.brain(), image.grid)
    data, grid = slices.canonical(image.data, image.grid)
    mask, _ = slices.canonical(brain.data > 0, image.grid)
    place = slices.brain_box_mm(mask, grid)
    rows = [_scan_row(prepared.original(), brain, to_scan)]
    template = references.get(prepared.modality, references.get("T1w"))
    if template is None:
        rows.append(_Row("Prepared, its mask", data, grid, *place, _outline(brain, grid, Affine())))
    else:
        rows.append(_Row("Prepared, template's edges", data, grid, *place, _edges(template)))
    if prepared.labels is not None:
        overlay = _labels(prepared, grid)
        rows.append(_Row("Labels", data, grid, *place, overlay))
    return rows


def _scan_row(scan: Image, brain: Image, to_scan: Affine) -> _Row:
    data, grid = slices.canonical(scan.data, scan.grid)
    voxels = grid.to_voxel(to_scan(brain.grid.to_world(np.argwhere(brain.data > 0))))
    lower, upper = voxels.min(axis=0), voxels.max(axis=0)
    place = (lower + upper) / 2 * grid.spacing, (upper - lower) * grid.spacing
    return _Row("Scan, its mask", data, grid, *place, _outline(brain, grid, to_scan.inverse()))


def _outline(brain: Image, grid: Grid, to_brain: Affine) -> Overlay:
    def draw(cell: Axes, plane: Plane, index: int) -> None:
        points = to_brain(_slice_points_mm(grid, plane, index))
        inside = sample(brain.data, brain.grid.to_voxel(points), order=1)
        x, y = slices.axis_mm(grid, plane.across), slices.axis_mm(grid, plane.up)
        lines = contour_generator(x, y, inside.T).lines(0.5)
        cell.add_collection(LineCollection(lines, colors=EDGE_COLOUR, linewidths=0.7))

    return draw


def _edges(template: Image) -> Overlay:
    data, grid = slices.canonical(template.data, template.grid)
    mask, _ = slices.canonical(foreground(template), template.grid)

    def draw(cell: Axes, plane: Plane, index: int) -> None:
        draw_edges(cell, plane, index, data, mask, grid)

    return draw


def _labels(prepared: PreparedScan, grid: Grid) -> Overlay:
    labels = io.read_labels(prepared.labels)
    ids, colours = _colours(prepared, labels.data)

    def draw(cell: Axes, plane: Plane, index: int) -> None:
        points = _slice_points_mm(grid, plane, index)
        found = to_indices(sample(labels.data, labels.grid.to_voxel(points), order=0), ids)
        slices.show_slice(cell, colours[found], grid, plane)

    return draw


def _colours(prepared: PreparedScan, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that are shown, ``(N,)``, and colours, ``(N + 1, 4)``.

    The first colour is the transparent one of the background, the others are those of the ids.
    """
    if prepared.label_table is None:
        ids = np.setdiff1d(labels, [0])
        structures = ids.astype(str)
    else:
        table = read_label_table(prepared.label_table)
        ids = table["id"].to_numpy()
        structures = (
            table["name"].str.replace(r"(?i)\b(left|right)\b[- ]?", "", regex=True).to_numpy()
        )
    places = {structure: place for place, structure in enumerate(dict.fromkeys(structures))}
    return ids, np.array([(0, 0, 0, 0)] + [_colour(places[structure]) for structure in structures])


def _colour(place: int) -> tuple[float, float, float, float]:
    """Return the colour of the structure at ``place``, which differs much from the colours
    before.
    """
    return (
        *colorsys.hsv_to_rgb(place * _GOLDEN_RATIO % 1, 0.55 + 0.45 * (place % 2), 1.0),
        _LABEL_OPACITY,
    )


def _slice_points_mm(grid: Grid, plane: Plane, index: int) -> np.ndarray:
    """Return the voxel centres of a slice of the canonical ``grid``, ``(across, up, 3)``,
    RAS mm.
    """
    voxels = np.empty((grid.shape[plane.across], grid.shape[plane.up], 3))
    voxels[..., plane.normal] = index
    voxels[..., plane.across] = np.arange(grid.shape[plane.across])[:, None]
    voxels[..., plane.up] = np.arange(grid.shape[plane.up])[None, :]
    return grid.to_world(voxels)


# ---------------------------------------------------------------------------------- how it is drawn


@dataclass(frozen=True, eq=False)
class _Layout:
    """A column for each plane and rows of one height, all at one scale.

    Attributes:
        window_mm: size of what each picture shows, along the canonical axes.
    """

    window_mm: np.ndarray
    rows: int

    @property
    def mm_per_in(self) -> float:
        room = style.FULL_WIDTH_IN - _LEFT_IN - (len(PLANES) - 1) * _GAP_IN
        return sum(self.window_mm[plane.across] for plane in PLANES) / room

    @property
    def row_mm(self) -> float:
        return max(self.window_mm[plane.up] for plane in PLANES)

    @property
    def height_in(self) -> float:
        return _TOP_IN + self.rows * (self.row_mm / self.mm_per_in + _GAP_IN) - _GAP_IN + _BOTTOM_IN

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a picture as fractions of the page."""
        widths = [self.window_mm[plane.across] / self.mm_per_in for plane in PLANES]
        high, wide, tall = self.row_mm / self.mm_per_in, style.FULL_WIDTH_IN, self.height_in
        left = _LEFT_IN + sum(widths[:column]) + column * _GAP_IN
        bottom = tall - _TOP_IN - (row + 1) * high - row * _GAP_IN
        return left / wide, bottom / tall, widths[column] / wide, high / tall


def _draw_row(figure: Figure, layout: _Layout, number: int, row: _Row) -> None:
    limits = slices.window(row.image)
    for column, plane in enumerate(PLANES):
        cell = figure.add_axes(layout.box(number, column))
        picture = slices.shade(slices.cut(row.image, plane, row.index(plane)), limits)
        slices.show_slice(cell, picture, row.grid, plane, cmap="gray", vmin=0, vmax=1)
        row.overlay(cell, plane, row.index(plane))
        slices.frame(cell, plane, row.centre_mm, layout.window_mm[plane.across], layout.row_mm)
        cell.set_facecolor("black")
        slices.mark_sides(cell, plane)
        if column == 0:
            cell.set_ylabel(row.heading, fontsize=7, labelpad=2)
            slices.scale_bar(cell, 20)
