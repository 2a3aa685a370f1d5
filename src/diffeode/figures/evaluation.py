"""A measured map as a picture: contours before and after it, and the errors of each label and
landmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.figures import slices, style
from diffeode.figures.edges import EDGE_COLOUR, Borders
from diffeode.figures.pair_panel import PLANES
from diffeode.figures.slice_panel import in_plane_order, shown_box
from diffeode.geometry.image import bounding_box
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid

SUFFIXES = (".png", ".svg", ".pdf")
_MOVING_COLOUR, _BEFORE_COLOUR = "#00a0c8", "#9a9a9a"
_MARGIN, _SMOOTHING, _SHORTEST = 0.06, 1 / 150, 1 / 12
_ERRORS_IN, _TOP_IN = 1.6, 0.3
_MOST_TICKS, _MOST_UPRIGHT = 40, 12
"""Largest number of labels whose names stand below the axis, and largest number of names that
stand there upright.
"""
_LANDMARKS = "tre_mm"


@final
@dataclass(frozen=True, eq=False)
class EvaluationScene:
    """What is drawn of a measured map, all on the grid of the fixed image.

    Attributes:
        grid: the grid.
        fixed: the prepared fixed image, ``(X, Y, Z)`` in [0, 1].
        labels: the label map of the fixed image, ``(X, Y, Z)``; None where the contours are those
            of intensities.
        before, after: the moving label map (with ``labels``) or the prepared moving image, before
            and after the map, ``(X, Y, Z)``.
        before_word: what the state before is, in words.
        errors: by the name of a metric the values of each label or landmark, before and after.
    """

    grid: Grid
    fixed: np.ndarray
    labels: np.ndarray | None
    before: np.ndarray
    after: np.ndarray
    before_word: str
    errors: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = field(
        default_factory=dict
    )


def require_name_of_picture(path: Path) -> None:
    """Raise :class:`InputError` where ``path`` ends in no format of figures."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is no name for a picture; end it in one of {', '.join(SUFFIXES)}."
        )


def draw_evaluation(scene: EvaluationScene, title: str, out: Path) -> None:
    """Draw ``scene`` to ``out``.

    Raises:
        InputError: ``out`` is no figure format or cannot be written, or the fixed image is empty.
    """
    views = _views(scene)
    drawn = [
        (words, view, view.moving[which])
        for which, words in enumerate((scene.before_word, "After the map"))
        for view in views
    ]
    # Two states of one slice stand side by side, those of three planes one above the other.
    columns = 2 if len(views) == 1 else len(views)
    rows = len(drawn) // columns
    tall_in = style.FULL_WIDTH_IN / columns
    errors = [name for name, values in scene.errors.items() if any(values)]
    height_in = _TOP_IN + rows * tall_in + _ERRORS_IN * len(errors)
    with style.page(out, style.FULL_WIDTH_IN, height_in) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=8, weight="bold")
        heights = [tall_in] * rows + [_ERRORS_IN] * len(errors)
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        for place, (words, view, moving) in enumerate(drawn):
            cell = figure.add_subplot(grid[place // columns, place % columns])
            _draw_view(cell, view, moving)
            cell.set_title(f"{words}: {view.name}" if view.name else words, fontsize=7)
        for place, name in enumerate(errors):
            panel = figure.add_subplot(grid[rows + place, :])
            _draw_errors(panel, name, *scene.errors[name])
        _add_legend(figure)


@final
@dataclass(frozen=True, eq=False)
class _View:
    """One plane of a scene; lengths are mm from the first pixel.

    Attributes:
        picture: what is shown in grey, ``(across, up)``.
        spacing: the size of a pixel across and up.
        fixed, moving: the contours of the fixed image, and those of the moving one before and after
            the map.
        box: left, right, bottom and top of the part that is shown.
        plane: the plane of a volume, whose sides are marked.
    """

    name: str
    picture: np.ndarray
    spacing: tuple[float, float]
    fixed: Sequence[np.ndarray]
    moving: tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
    box: tuple[float, float, float, float]
    plane: slices.Plane | None = None


def _views(scene: EvaluationScene) -> list[_View]:
    if is_slice(scene.grid):
        return [_view_of_slice(scene)]
    turned = [
        None if volume is None else slices.canonical(volume, scene.grid)[0]
        for volume in (scene.fixed, scene.labels, scene.before, scene.after)
    ]
    grid = slices.canonical(scene.fixed, scene.grid)[1]
    mask = turned[0] > 0
    longest = float((np.ptp(bounding_box(mask), axis=0) * grid.spacing).max())
    views = []
    for plane in PLANES:
        index = slices.middle(mask, plane)
        spacing = float(grid.spacing[plane.across]), float(grid.spacing[plane.up])
        drawn = _contours(scene, turned, grid, longest, plane, index)
        lower, upper = (corner[[plane.across, plane.up]] for corner in bounding_box(mask))
        margin = _MARGIN * longest
        low, high = lower * spacing - margin, (upper - 1) * spacing + margin
        # The patient's right or front is at the left.
        box = float(high[0]), float(low[0]), float(low[1]), float(high[1])
        picture = slices.cut(turned[0], plane, index)
        views.append(_View(plane.name.lower(), picture, spacing, drawn[0], drawn[1:], box, plane))
    return views


def _view_of_slice(scene: EvaluationScene) -> _View:
    turned = [
        None if layer is None else in_plane_order(layer[..., 0], scene.grid)[..., None]
        for layer in (scene.fixed, scene.labels, scene.before, scene.after)
    ]
    left, right, bottom, top = shown_box(scene.grid)
    width, height = right - left, abs(top - bottom)
    x, y = turned[0].shape[:2]
    spacing = width / x, height / y
    grid = Grid((x, y, 1), np.diag([*spacing, 1.0, 1.0]))
    drawn = _contours(scene, turned, grid, max(width, height), slices.AXIAL, 0)
    low, high = -spacing[1] / 2, height - spacing[1] / 2
    upwards = top > bottom
    box = (-spacing[0] / 2, width - spacing[0] / 2, *((low, high) if upwards else (high, low)))
    return _View("", turned[0][..., 0], spacing, drawn[0], drawn[1:], box)


def _contours(
    scene: EvaluationScene,
    turned: list[np.ndarray | None],
    grid: Grid,
    longest: float,
    plane: slices.Plane,
    index: int,
) -> tuple[list[np.ndarray], ...]:
    """Return the contours of the fixed image and of the moving one before and after the map."""
    fixed, labels, before, after = turned
    if scene.labels is not None:
        maps = [slices.cut(volume, plane, index) for volume in (labels, before, after)]
        spacing = [float(grid.spacing[axis]) for axis in (plane.across, plane.up)]
        return tuple(_outlines(ids, spacing) for ids in maps)
    found = []
    for volume in (fixed, before, after):
        mask = volume > 0
        borders = mask.any() and Borders.of(
            volume, mask, grid, _SMOOTHING * longest, _SHORTEST * longest
        )
        found.append(borders.lines(plane, index) if borders else [])
    return tuple(found)


def _outlines(ids: np.ndarray, spacing: Sequence[float]) -> list[np.ndarray]:
    """Return the outlines of each id above 0 of a plane ``(across, up)``."""
    x, y = (np.arange(n) * step for n, step in zip(ids.shape, spacing, strict=True))
    return [
        line
        for number in np.unique(ids[ids > 0])
        for line in contour_generator(x, y, (ids == number).T.astype(float)).lines(0.5)
    ]


def _draw_view(cell: Axes, view: _View, moving: Sequence[np.ndarray]) -> None:
    low, high = slices.window(view.picture)
    across, up = view.spacing
    width, height = view.picture.shape
    cell.imshow(
        slices.shade(view.picture, (low, high)).T,
        origin="lower",
        cmap="gray",
        extent=(-across / 2, (width - 0.5) * across, -up / 2, (height - 0.5) * up),
    )
    for lines, colour in ((view.fixed, EDGE_COLOUR), (moving, _MOVING_COLOUR)):
        cell.add_collection(LineCollection(list(lines), colors=colour, linewidths=0.6))
    left, right, bottom, top = view.box
    cell.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    cell.set_aspect("equal")
    if view.plane is not None:
        slices.mark_sides(cell, view.plane)
    cell.spines[:].set_visible(False)


def _draw_errors(
    panel: Axes, name: str, before: Mapping[str, float], after: Mapping[str, float]
) -> None:
    """Draw the values of each label or landmark before and after the map."""
    names = list(after)
    places = np.arange(len(names))
    values = [np.array([side.get(label, np.nan) for label in names]) for side in (before, after)]
    panel.vlines(places, *values, color=style.FAINT, lw=1.0)
    panel.plot(places, values[0], "o", ms=3, mfc="white", mec=_BEFORE_COLOUR, label="before")
    panel.plot(places, values[1], "o", ms=3.5, color=_MOVING_COLOUR, label="after")
    shown = places if len(names) <= _MOST_TICKS else places[:: -(-len(names) // _MOST_TICKS)]
    what = "landmark" if name == _LANDMARKS else "label"
    turn = 90 if len(names) > _MOST_UPRIGHT else 0
    panel.set_xticks(shown, [names[place] for place in shown], rotation=turn)
    panel.set(xlabel=what, xlim=(-0.6, len(names) - 0.4))
    panel.set_ylim(0, 1.02 if name == "dice" else None)
    panel.set_title(_heading(name), fontsize=7)
    panel.legend(loc="best", fontsize=6)


def _heading(name: str) -> str:
    if name == _LANDMARKS:
        return "Error at each landmark (mm; pixels of pictures)"
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def _add_legend(figure: Figure) -> None:
    for place, (words, colour) in enumerate((("fixed", EDGE_COLOUR), ("moving", _MOVING_COLOUR))):
        figure.text(
            0.99, 0.995 - 0.018 * place, words, ha="right", va="top", fontsize=6.5, color=colour
        )
