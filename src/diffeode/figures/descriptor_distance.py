"""The distances of one place's descriptor from all descriptors in another contrast, one row for
each place.
"""

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
    """One place in one slice ``(X, Y)``, whose first axis points to the right of the picture.

    Attributes:
        first, second: the slice in the two contrasts, intensities in [0, 1].
        point: the place, in voxels of the slice.
        distances: title of a descriptor to a picture ``(X, Y)`` of the distance between the
            descriptor of ``first`` at the place and the descriptor of ``second`` at each voxel; NaN
            outside the brain.
    """

    first: np.ndarray
    second: np.ndarray
    point: tuple[int, int]
    distances: Mapping[str, np.ndarray]


def descriptor_distance(rows: Sequence[DistanceRow], first: str, second: str, out: Path) -> None:
    """Draw both contrasts and the distances. Small distances are dark, a cross marks the place, and
    a ring marks the voxel with the smallest distance.

    The colours of each heat map run from its own smallest to its own largest value.

    Args:
        first, second: titles of the two contrasts.

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
