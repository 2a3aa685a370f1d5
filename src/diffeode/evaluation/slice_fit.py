"""How well a map lays one slice on another, measured without labels.

As :mod:`diffeode.evaluation.anatomy` does for volumes, the mutual information of the two slices is
compared with that of the same slices when one of them is turned in its plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.geometry.image import Image
from diffeode.geometry.plane import plane_frame

PlaneMap = Callable[[np.ndarray], np.ndarray]
"""A map from plane coordinates ``(N, 2)`` of one slice to those of another, mm."""

_FINE = 0.006
"""Spacing at which slices are compared, as a share of the slice's diagonal."""
_DRIFT = 0.06
"""SD of the Gaussian whose local mean counts as slow drift, as a share of the diagonal."""
_BINS = 16
_LEAST_SHARED = 0.3
"""Smallest share of the smaller tissue on which slices are compared."""
_TURNS = tuple(np.radians(np.arange(30, 360, 30)))


@final
@dataclass(frozen=True, eq=False)
class CoarseSlice:
    """A slice on a coarser lattice, for questions that need no details.

    Attributes:
        values: intensities in [0, 1] with background 0, ``(X, Y)``.
        from_plane: the matrix ``(3, 3)`` from plane coordinates to indices of ``values``.
    """

    values: np.ndarray
    from_plane: np.ndarray

    @classmethod
    def of(cls, image: Image, spacing_mm: float) -> CoarseSlice:
        """Return a prepared slice, smoothed and sampled at about ``spacing_mm``."""
        grid = image.grid
        to_plane = plane_frame(grid).inverse().matrix @ grid.affine
        step = np.maximum(np.round(spacing_mm / grid.spacing[:2]), 1).astype(int)
        smooth = ndimage.gaussian_filter(image.data[..., 0], 0.4 * (step - 1), mode="nearest")
        first = (step - 1) // 2
        matrix = to_plane[np.ix_([0, 1, 3], [0, 1, 3])] @ np.array(
            [[step[0], 0, first[0]], [0, step[1], first[1]], [0, 0, 1]]
        )
        return cls(smooth[first[0] :: step[0], first[1] :: step[1]], np.linalg.inv(matrix))

    @cached_property
    def points(self) -> np.ndarray:
        """The plane coordinates of every sample, ``(X, Y, 2)``."""
        indices = np.stack(
            np.meshgrid(*[np.arange(n) for n in self.values.shape], indexing="ij"), axis=-1
        )
        return transformed(np.linalg.inv(self.from_plane), indices)

    @property
    def centre(self) -> np.ndarray:
        """The centre of mass of the tissue, plane coordinates."""
        weights = self.values / self.values.sum()
        return (self.points * weights[..., None]).sum(axis=(0, 1))

    def at(self, points: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Return the intensities at plane coordinates ``(..., 2)``."""
        indices = np.moveaxis(transformed(self.from_plane, points), -1, 0)
        return ndimage.map_coordinates(
            self.values, indices, order=1, mode="constant", cval=outside, prefilter=False
        )

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Return which plane coordinates ``(..., 2)`` lie among the samples."""
        indices = transformed(self.from_plane, points)
        last = np.array(self.values.shape) - 1
        return np.all((indices >= 0) & (indices <= last), axis=-1)


def transformed(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return ``points (..., 2)`` under the homogeneous ``matrix (3, 3)``."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


@final
@dataclass(frozen=True, eq=False)
class SliceFit:
    """Two slices whose match under a map is measured.

    Attributes:
        fixed, moving: the slices without slow drifts.
    """

    fixed: CoarseSlice
    moving: CoarseSlice

    @classmethod
    def of(cls, fixed: Image, moving: Image) -> SliceFit:
        """Return the fit of two prepared slices (in [0, 1], background 0)."""
        return cls(
            *(
                _detail(CoarseSlice.of(image, _FINE * diagonal_mm(image)))
                for image in (fixed, moving)
            )
        )

    def match(self, forward: PlaneMap) -> float:
        """Return the normalised mutual information minus 1 over what both slices show.

        It is 0 for independent slices, apart from chance, and where they share little.

        Args:
            forward: the map from plane coordinates of the fixed slice to those of the moving one.
        """
        reached = forward(self.fixed.points)
        shared = self.moving.covers(reached)
        there = self.moving.at(reached)
        tissue = shared & ((self.fixed.values > 0) | (there > 0))
        least = min((self.fixed.values > 0).sum(), (self.moving.values > 0).sum())
        if tissue.sum() < _LEAST_SHARED * least:
            return 0.0
        return normalised_mutual_information(self.fixed.values, there, tissue, _BINS) - 1

    def margin(self, forward: PlaneMap) -> float:
        """Return the factor by which :meth:`match` is greater than with the fixed slice turned
        about its centre by any multiple of 30 degrees.
        """
        centre = self.fixed.centre

        def match_turned_by(angle: float) -> float:
            return self.match(lambda points: forward(_turned(points, centre, angle)))

        turned = max(match_turned_by(angle) for angle in _TURNS)
        return self.match(forward) / max(turned, 1e-9)


def diagonal_mm(image: Image) -> float:
    """Return the length of the slice's diagonal, mm."""
    return float(np.hypot(*(np.array(image.grid.shape[:2]) * image.grid.spacing[:2])))


def _turned(points: np.ndarray, centre: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return (points - centre) @ np.array([[cosine, sine], [-sine, cosine]]) + centre


def _detail(coarse: CoarseSlice) -> CoarseSlice:
    """Return ``coarse`` divided by its local mean, in [0, 1]; its background stays 0."""
    tissue = coarse.values > 0
    sigma = _DRIFT * float(np.hypot(*coarse.values.shape))
    mean = ndimage.gaussian_filter(coarse.values, sigma) / np.maximum(
        ndimage.gaussian_filter(tissue.astype(np.float32), sigma), 1e-6
    )
    values = np.divide(coarse.values, mean, out=np.zeros_like(mean), where=tissue)
    low, high = np.percentile(values[tissue], (1, 99))
    scaled = np.clip((values - low) / max(high - low, 1e-9), 1e-3, 1)
    return CoarseSlice(np.where(tissue, scaled, 0), coarse.from_plane)
