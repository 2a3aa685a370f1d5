"""The pictures of a page about one registration: slices of the scans as small images, and contours
and grid lines as paths of SVG, all at one scale.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgba
from PIL import Image as Picture

from diffeode.figures import slices
from diffeode.figures.edges import Borders
from diffeode.figures.pair_panel import (
    FOLD_COLOUR,
    GRID_LINES,
    LOG_J_LIMIT,
    PLANES,
    Scene,
    log_determinant,
    moved_points,
)
from diffeode.figures.slices import Plane

UNITS = 1000
"""Number of units of the paths along the longest side of a view."""
_FIRST, _LAST = 0.12, 0.88
_MARGIN = 0.04
_LONGEST_PX = 256
_QUALITY = 85
_COLOURS = 64
# Of the longest side of the brain: the smoothing before borders are found, and the length of the
# shortest border. In an adult they are close to those of the other figures.
_SMOOTHING, _SHORTEST = 1 / 150, 1 / 12


@final
@dataclass(frozen=True)
class Slice:
    """What a page shows of one slice.

    Attributes:
        fixed, before, after: the fixed scan, the moving scan after the affine alignment, and the
            warped scan, as addresses that hold the picture (``data:``).
        volume: log |J| in colours, transparent outside of the brain; folds have a colour of their
            own.
        contours: the borders of the fixed scan, as a path of SVG.
        lines: where the map sends the lines of a regular grid, as a path of SVG.
    """

    fixed: str
    before: str
    after: str
    volume: str
    contours: str
    lines: str


@final
@dataclass(frozen=True)
class View:
    """The slices of one plane.

    Attributes:
        left, right: letters of the patient's sides at the picture's left and right edge.
        width, height: the size in units of the paths.
        middle: index of the slice that is shown first.
    """

    name: str
    left: str
    right: str
    width: int
    height: int
    slices: tuple[Slice, ...]
    middle: int


def views_of(scene: Scene, number: int) -> list[View]:
    """Return the views of a scene, one for each plane; a single one where the scan is flat.

    Args:
        number: number of slices of each view, where the brain has so many.
    """
    flat = [axis for axis, size in enumerate(scene.mask.shape) if size == 1]
    planes = [plane for plane in PLANES if not flat or plane.normal == flat[0]]
    box = slices.brain_box_mm(scene.mask, scene.grid)[1]
    longest_mm = float(max(box[axis] for plane in planes for axis in (plane.across, plane.up)))
    borders = Borders.of(
        scene.fixed, scene.mask, scene.grid, _SMOOTHING * longest_mm, _SHORTEST * longest_mm
    )
    unit_mm = longest_mm * (1 + 2 * _MARGIN) / UNITS
    return [_view(scene, plane, number, borders, unit_mm) for plane in planes]


def _view(
    scene: Scene,
    plane: Plane,
    number: int,
    borders: Borders,
    unit_mm: float,
) -> View:
    frame = _Frame.around(scene, plane, unit_mm)
    shown = _chosen(scene.mask, plane, number)
    return View(
        plane.name,
        plane.left,
        plane.right,
        *frame.size,
        tuple(_slice(scene, plane, index, frame, borders) for index in shown),
        len(shown) // 2,
    )


def _chosen(mask: np.ndarray, plane: Plane, number: int) -> list[int]:
    """Return the indices of the slices that are shown, evenly spread over the brain."""
    lower, upper = slices.bounding_box(mask)
    first, last = lower[plane.normal], upper[plane.normal] - 1
    places = np.linspace(_FIRST, _LAST, number) if number > 1 else [0.5]
    return sorted({round(first + place * (last - first)) for place in places})


@final
@dataclass(frozen=True)
class _Frame:
    """The part of a plane that is shown: whole voxels around the brain.

    Attributes:
        lower, upper: the first voxel and the one after the last, across and up.
        spacing_mm: the size of a voxel across and up.
        unit_mm: the length of a unit of the paths.
    """

    lower: tuple[int, int]
    upper: tuple[int, int]
    spacing_mm: tuple[float, float]
    unit_mm: float

    @classmethod
    def around(cls, scene: Scene, plane: Plane, unit_mm: float) -> _Frame:
        axes = [plane.across, plane.up]
        spacing = scene.grid.spacing[axes]
        margin = np.ceil(_MARGIN * UNITS * unit_mm / spacing).astype(int)
        lower, upper = (corner[axes] for corner in slices.bounding_box(scene.mask))
        shape = np.array(scene.mask.shape)[axes]
        low, high = np.maximum(lower - margin, 0), np.minimum(upper + margin, shape)
        return cls(*(tuple(part.tolist()) for part in (low, high, spacing)), unit_mm)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in units."""
        voxels = np.subtract(self.upper, self.lower)
        return tuple(round(n) for n in voxels * self.spacing_mm / self.unit_mm)

    def picture(self, cut: np.ndarray) -> np.ndarray:
        """Return the part of a slice ``(across, up, ...)`` that is shown as rows from the top to
        the bottom; the patient's right or front is at the left.
        """
        (left, below), (right, above) = self.lower, self.upper
        return np.swapaxes(cut[left:right, below:above], 0, 1)[::-1, ::-1]

    def units(self, points_mm: np.ndarray) -> np.ndarray:
        """Return points ``(N, 2)``, across and up in mm, in whole units from the upper left."""
        spacing = np.array(self.spacing_mm)
        corner = (np.array(self.upper) - 0.5) * spacing
        return np.rint((corner - points_mm) / self.unit_mm).astype(int)


def _slice(
    scene: Scene,
    plane: Plane,
    index: int,
    frame: _Frame,
    borders: Borders,
) -> Slice:
    fixed_window, moving_window = scene.windows
    fixed, before, after = (
        _scan_address(slices.shade(slices.cut(volume, plane, index), window), frame)
        for volume, window in (
            (scene.fixed, fixed_window),
            (scene.moving, moving_window),
            (scene.warped, moving_window),
        )
    )
    return Slice(
        fixed,
        before,
        after,
        _volume_address(scene, plane, index, frame),
        _path(borders.lines(plane, index), frame),
        _path(_grid_lines(scene, plane, index), frame),
    )


def _grid_lines(scene: Scene, plane: Plane, index: int) -> list[np.ndarray]:
    """Return where the map sends the lines of a regular grid; every second voxel of a line is
    drawn where the lines lie far apart.
    """
    points, _ = moved_points(scene, plane, index)
    step = max(1, round(max(scene.mask.shape) / GRID_LINES))
    along = max(1, step // 2)
    return [*points[::step, ::along], *np.moveaxis(points, 1, 0)[::step, ::along]]


def _path(lines: Iterable[np.ndarray], frame: _Frame) -> str:
    return path_of(frame.units(line) for line in lines)


def path_of(lines: Iterable[np.ndarray]) -> str:
    """Return lines of points ``(N, 2)`` in whole units as a path of SVG with relative steps."""
    parts = []
    for units in lines:
        steps = np.diff(units, axis=0)
        moved = " ".join(f"{x} {y}" for x, y in steps[(steps != 0).any(axis=1)].tolist())
        if moved:
            parts.append(f"M{units[0, 0]} {units[0, 1]}l{moved}")
    return "".join(parts)


def _scan_address(shaded: np.ndarray, frame: _Frame) -> str:
    return photograph_address(frame.picture(shaded))


def _volume_address(scene: Scene, plane: Plane, index: int, frame: _Frame) -> str:
    """Return log |J| as a picture with a palette: transparent outside of the brain, a colour for
    folds, and the colours of the scale.
    """
    determinant, mask, folded = (
        frame.picture(slices.cut(volume, plane, index))
        for volume in (scene.determinant, scene.mask, scene.folded)
    )
    return jacobian_address(determinant, mask, folded)


def jacobian_address(
    determinant: np.ndarray, mask: np.ndarray, folded: np.ndarray, longest_px: int = _LONGEST_PX
) -> str:
    """Return log |J| as a picture with a palette; all arrays are rows from the top to the bottom.

    Args:
        determinant: ``|J|``; outside of ``mask`` and where it is NaN, the picture is transparent.
        folded: the voxels that have the colour of folds.
        longest_px: the largest number of pixels along a side.
    """
    values = log_determinant(determinant)
    inside = mask & np.isfinite(values)
    steps = np.clip((np.nan_to_num(values) / LOG_J_LIMIT + 1) / 2, 0, 1) * (_COLOURS - 1)
    codes = np.where(inside, np.rint(steps) + 2, 0)
    codes[folded] = 1
    picture = Picture.fromarray(codes.astype(np.uint8))
    scale = mpl.colormaps["RdBu_r"](np.linspace(0, 1, _COLOURS))
    colours = np.vstack([(0, 0, 0, 0), to_rgba(FOLD_COLOUR), scale])
    picture.putpalette(np.rint(255 * colours[:, :3]).astype(np.uint8).tobytes(), "RGB")
    fitting = _fitting(picture, Picture.Resampling.NEAREST, longest_px)
    return _address(fitting, "png", transparency=0)


def photograph_address(shaded: np.ndarray, longest_px: int = _LONGEST_PX) -> str:
    """Return grey values or colours in [0, 1], rows from the top to the bottom, as a JPEG.

    Args:
        shaded: ``(rows, columns)`` or ``(rows, columns, 3)``.
        longest_px: the largest number of pixels along a side.
    """
    photograph = Picture.fromarray(np.rint(255 * shaded).astype(np.uint8))
    fitting = _fitting(photograph, Picture.Resampling.BOX, longest_px)
    return _address(fitting, "jpeg", quality=_QUALITY)


def _fitting(
    picture: Picture.Image, how: Picture.Resampling, longest_px: int = _LONGEST_PX
) -> Picture.Image:
    """Return ``picture`` with at most ``longest_px`` pixels along a side."""
    share = longest_px / max(picture.size)
    if share >= 1:
        return picture
    size = tuple(max(1, round(side * share)) for side in picture.size)
    return picture.resize(size, how)


def _address(picture: Picture.Image, kind: str, **options: int) -> str:
    """Return an address that holds the whole picture."""
    file = io.BytesIO()
    picture.save(file, format=kind, optimize=True, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
