"""Spatial transforms: maps from points of the fixed scan to points of the moving scan, RAS mm.

``then`` composes in the order of travel: ``a.then(b)`` sends ``x`` to ``b(a(x))``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.space import Grid, apply_matrix


class Transform(ABC):
    """A map of points, RAS mm to RAS mm."""

    @abstractmethod
    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """Images of ``points_mm (..., 3)``."""

    def then(self, outer: Transform) -> Transform:
        """The map ``x -> outer(self(x))``."""
        return Chain((self, outer))


@final
@dataclass(frozen=True, eq=False)
class Affine(Transform):
    """``x -> matrix x`` with a homogeneous ``matrix (4, 4)`` in RAS mm.

    Raises:
        InputError: the matrix is singular, not finite or not 4 x 4.
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if (
            matrix.shape != (4, 4)
            or not np.isfinite(matrix).all()
            or abs(np.linalg.det(matrix[:3, :3])) < 1e-12
        ):
            raise InputError("An affine transform needs an invertible, finite 4 x 4 matrix.")
        object.__setattr__(self, "matrix", matrix)

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        return apply_matrix(self.matrix, points_mm)

    def inverse(self) -> Affine:
        """The exact inverse."""
        return Affine(np.linalg.inv(self.matrix))


@final
@dataclass(frozen=True, eq=False)
class DisplacementField(Transform):
    """``x -> x + u(x)`` with ``displacement_mm (X, Y, Z, 3)`` RAS mm on ``grid``, trilinear between
    voxels.

    Beyond the grid the displacement of the nearest border voxel holds, so that the map stays
    continuous.
    """

    displacement_mm: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.displacement_mm.shape != (*self.grid.shape, 3):
            raise InputError(
                f"A displacement field of shape {self.displacement_mm.shape} lies on no grid of "
                f"{self.grid.shape}."
            )
        if not np.isfinite(self.displacement_mm).all():
            raise InputError(
                "A displacement field has NaN or infinite vectors; the registration that made it "
                "failed."
            )
        object.__setattr__(
            self, "displacement_mm", np.ascontiguousarray(self.displacement_mm, dtype=np.float32)
        )

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        voxels = np.moveaxis(self.grid.to_voxel(points_mm), -1, 0)
        moved = np.array(points_mm, dtype=np.float64)
        for axis in range(3):
            moved[..., axis] += ndimage.map_coordinates(
                self.displacement_mm[..., axis], voxels, order=1, mode="nearest", prefilter=False
            )
        return moved


@final
@dataclass(frozen=True, eq=False)
class Chain(Transform):
    """``steps`` applied one after the other, the first one first."""

    steps: tuple[Transform, ...]

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        for step in self.steps:
            points_mm = step(points_mm)
        return points_mm


def densify(transform: Transform, grid: Grid) -> DisplacementField:
    """``transform`` as a displacement at every voxel centre of ``grid``."""
    if isinstance(transform, DisplacementField) and transform.grid is grid:
        return transform
    points = grid.points_mm()
    return DisplacementField((transform(points) - points).astype(np.float32), grid)


def warp_image(image: Image, transform: Transform, grid: Grid) -> Image:
    """``image`` pulled back to ``grid`` through ``transform``, one linear resampling."""
    return Image(
        sample(image.data, image.grid.to_voxel(transform(grid.points_mm())), order=1), grid
    )


def warp_labels(labels: Labels, transform: Transform, grid: Grid) -> Labels:
    """``labels`` pulled back to ``grid`` through ``transform``, one nearest-neighbour
    resampling.
    """
    return Labels(
        sample(labels.data, labels.grid.to_voxel(transform(grid.points_mm())), order=0), grid
    )


def invert(
    field_: DisplacementField, grid: Grid, iterations: int = 50, tolerance_mm: float = 1e-3
) -> DisplacementField:
    """Inverse of a displacement field on ``grid`` by fixed-point iteration ``v <- -u(y + v)``.

    Chen et al., Medical Physics 35(1), 2008. Converges where the displacement is a contraction; the
    result is the best found, so its error belongs beside it
    (:func:`diffeode.evaluation.consistency.inverse_consistency_mm`).
    """
    points = grid.points_mm()
    inverse = np.zeros_like(points)
    for _ in range(iterations):
        reached = points + inverse
        update = -(field_(reached) - reached)
        change = np.abs(update - inverse).max()
        inverse = update
        if change < tolerance_mm:
            break
    return DisplacementField(inverse.astype(np.float32), grid)
