"""Where else a place's descriptor is found: distances in the other contrast, one row per place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from diffeode.figures import style

_HEIGHT_IN = 1.15


@dataclass(frozen=True, eq=False)
class DistanceRow:
    """One place in one slice ``(X, Y)``, first axis to the right of the picture.

    Attributes:
        first, second: the two contrasts, intensities in [0, 1].
        point: the place, voxels of the slice.
        distances: title of a descriptor to the distance of the first's descriptor at the place from
            the second's everywhere; NaN outside of the brain.
    """

    first: np.ndarray
    second: np.ndarray
    point: tuple[int, int]
    distances: Mapping[str, np.ndarray]


def descriptor_distance(rows: Sequence[DistanceRow], first: str, second: str, out: Path) -> None:
    """Draw both contrasts and the distances, dark where near; a cross marks the place, a ring the
    nearest voxel.

    Each heat map runs from its own least to its own greatest value.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    titles = [first, second, *rows[0].distances]
    with style.page(out, style.FULL_WIDTH_IN, _HEIGHT_IN * len(rows) + 0.2) as figure:
        panels = figure.subplots(len(rows), len(titles), squeeze=False)
        for row, axes in zip(rows, panels, strict=True):
            for axis, image in zip(axes, (row.first, row.second), strict=False):
                axis.imshow(image.T, cmap="gray", vmin=0, vmax=1, origin="lower")
            for axis, distances in zip(axes[2:], row.distances.values(), strict=True):
                axis.imshow(distances.T, cmap="viridis", origin="lower")
                _ring(axis, distances)
            for axis in axes:
                axis.plot(*row.point, "+", color="#ff3b30", ms=7, mew=0.9)
                axis.set_axis_off()
        style.set_titles(panels[0], titles, fontsize=6)


def _ring(axis: Axes, distances: np.ndarray) -> None:
    nearest = np.unravel_index(np.nanargmin(distances), distances.shape)
    axis.plot(*nearest, "o", mfc="none", color="white", ms=6, mew=0.9)
