"""Contours of a brain that are drawn over another scan: its outline and the borders between its
tissues.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import final

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy import ndimage
from scipy.cluster.vq import ClusterError, kmeans2

from diffeode.figures import slices
from diffeode.figures.slices import Plane
from diffeode.geometry.image import window_around
from diffeode.geometry.space import Grid

EDGE_COLOUR = "#ffb000"
_EDGE_SMOOTHING_MM, _SHORTEST_EDGE_MM = 1.2, 15.0
_REACH_SDS = 4.0
"""How far a Gaussian reaches, in its standard deviations."""


@final
@dataclass(frozen=True, eq=False)
class Borders:
    """The borders between the three intensity classes of a scan, and its outline.

    Attributes:
        smooth: the smoothed intensities, NaN outside of the brain, ``(X, Y, Z)``.
        mask: the brain, ``(X, Y, Z)`` bool.
        grid: the canonical grid of both.
        levels: the intensities that lie between the classes.
        shortest_mm: a shorter border is left out.
    """

    smooth: np.ndarray
    mask: np.ndarray
    grid: Grid
    levels: tuple[float, ...]
    shortest_mm: float

    @classmethod
    def of(
        cls,
        image: np.ndarray,
        mask: np.ndarray,
        grid: Grid,
        smoothing_mm: float = _EDGE_SMOOTHING_MM,
        shortest_mm: float = _SHORTEST_EDGE_MM,
    ) -> Borders:
        """Find the borders of ``image`` within ``mask``, both ``(X, Y, Z)`` on the canonical
        ``grid``.
        """
        smooth = smoothed_inside(image, mask, smoothing_mm / grid.spacing)
        return cls(smooth, mask, grid, tuple(tissue_levels(smooth, mask)), shortest_mm)

    def lines(self, plane: Plane, index: int) -> list[np.ndarray]:
        """Return the borders in slice ``index``, ``(N, 2)`` each: across and up, in mm."""
        x, y = slices.axis_mm(self.grid, plane.across), slices.axis_mm(self.grid, plane.up)
        tissue = contour_generator(x, y, slices.cut(self.smooth, plane, index).T)
        lines = [line for level in self.levels for line in tissue.lines(level)]
        inside = slices.cut(self.mask, plane, index).T.astype(float)
        lines += contour_generator(x, y, inside).lines(0.5)
        return [line for line in lines if length_mm(line) >= self.shortest_mm]


def draw_edges(
    cell: Axes, plane: Plane, index: int, image: np.ndarray, mask: np.ndarray, grid: Grid
) -> None:
    """Draw the contours of ``image`` between its three intensity classes, and the outline of
    ``mask``, in mm.

    Args:
        image, mask: intensities and the brain, ``(X, Y, Z)``, on the canonical ``grid``.
    """
    draw_borders(cell, plane, index, Borders.of(image, mask, grid))


def draw_borders(cell: Axes, plane: Plane, index: int, borders: Borders) -> None:
    """Draw ``borders`` in one slice, in mm; they are found once for all slices of a scan."""
    lines = borders.lines(plane, index)
    cell.add_collection(LineCollection(lines, colors=EDGE_COLOUR, linewidths=0.45))


def tissue_levels(image: np.ndarray, mask: np.ndarray) -> list[float]:
    """Return two intensities between which lie the three classes of the masked voxels (k-means).

    They are the levels of the contours. Where there are no three classes, they lie between
    quantiles.
    """
    values = image[mask].astype(float)
    centres = np.quantile(values, [1 / 6, 1 / 2, 5 / 6])
    if np.ptp(centres) > 0:
        with suppress(ClusterError):
            centres, _ = kmeans2(values, centres, minit="matrix", missing="raise")
    centres = np.sort(centres)
    return sorted({float(v) for v in (centres[1:] + centres[:-1]) / 2})


def smoothed_inside(image: np.ndarray, mask: np.ndarray, sigma_vox: np.ndarray) -> np.ndarray:
    """Return the Gaussian mean over masked voxels alone, NaN outside the mask.

    So the border of the brain makes no edge in its tissue.
    """
    smooth = np.full(mask.shape, np.nan)
    if not mask.any():
        return smooth
    # Within the reach of the Gaussian around the brain, all numbers are those of the whole array.
    window = window_around(mask, int(np.ceil(_REACH_SDS * np.max(sigma_vox) + 0.5)))
    inside = mask[window]
    weight = ndimage.gaussian_filter(inside.astype(float), sigma_vox, truncate=_REACH_SDS)
    masked = np.where(inside, image[window], 0).astype(float)
    total = ndimage.gaussian_filter(masked, sigma_vox, truncate=_REACH_SDS)
    smooth[window] = np.where(inside, total / np.where(inside, weight, 1), np.nan)
    return smooth


def length_mm(line: np.ndarray) -> float:
    """Return the length of a polygon ``(N, 2)``."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
