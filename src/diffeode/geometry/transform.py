"""Spatial transforms: maps from points of the fixed scan to points of the moving scan, RAS mm.

Maps are composed in the order in which a point passes them: ``a.then(b)`` sends ``x`` to
``b(a(x))``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.slabs import slabs
from diffeode.geometry.space import Grid, apply_matrix


class Transform(ABC):
    """A map of points, from RAS mm to RAS mm."""

    @abstractmethod
    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """Return where the map sends ``points_mm (..., 3)``."""

    def then(self, outer: Transform) -> Transform:
        """Return the map ``x -> outer(self(x))``."""
        return Chain((self, outer))


@final
@dataclass(frozen=True, eq=False)
class Affine(Transform):
    """The map ``x -> matrix x`` with a homogeneous ``matrix (4, 4)`` in RAS mm.

    Raises:
        InputError: the matrix is singular, not finite or not 4 x 4.

    >>> shift, double = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
    >>> shift[:3, 3] = 10, 0, 0
    >>> Affine(shift).then(Affine(double))(np.array([1.0, 1.0, 1.0])).tolist()
    [22.0, 2.0, 2.0]
    >>> Affine(double).inverse()(np.array([2.0, 4.0, 6.0])).tolist()
    [1.0, 2.0, 3.0]
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
        """Return the exact inverse."""
        return Affine(np.linalg.inv(self.matrix))


@final
@dataclass(frozen=True, eq=False)
class DisplacementField(Transform):
    """The map ``x -> x + u(x)``, where ``u`` is trilinear between the voxels of a grid.

    Beyond the grid the displacement of the nearest border voxel holds, so the map is continuous.

    Attributes:
        displacement_mm: ``u`` at the voxel centres of ``grid``, ``(X, Y, Z, 3)``, RAS mm.
    Raises:
        InputError: the array does not fit the grid, or a displacement is not finite.

    >>> grid = Grid((2, 1, 1), np.eye(4))
    >>> up = DisplacementField(np.array([[[[0, 0, 0]]], [[[0, 0, 4]]]]), grid)
    >>> up(np.array([[0.5, 0, 0], [9, 0, 0]])).tolist()
    [[0.5, 0.0, 2.0], [9.0, 0.0, 4.0]]
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
class KeptVelocity:
    """The velocity that a registration found.

    Attributes:
        values: the velocity, ``(K, 3, X, Y, Z)`` float32 with K knots, in the frame and the unit of
            the method that found it.
        grid: the grid of the images between which it was found.
    """

    values: np.ndarray
    grid: Grid


@final
@dataclass(frozen=True, eq=False)
class Chain(Transform):
    """The map that applies ``steps`` one after the other, the first one first."""

    steps: tuple[Transform, ...]

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        for step in self.steps:
            points_mm = step(points_mm)
        return points_mm


def densify(transform: Transform, grid: Grid) -> DisplacementField:
    """Return ``transform`` as a displacement at every voxel centre of ``grid``."""
    if isinstance(transform, DisplacementField) and transform.grid is grid:
        return transform
    points = grid.points_mm()
    return DisplacementField((transform(points) - points).astype(np.float32), grid)


def rounded(field_: DisplacementField, step_mm: float) -> DisplacementField:
    """Return a displacement field whose components are multiples of ``step_mm``.

    Each component moves by at most half of that, so a vector by at most 0.87 of it. Where the step
    is a power of two, the multiples below 2^24 steps are exact in single precision, and their last
    bits are zero, which compresses well.

    >>> grid = Grid((1, 1, 1), np.eye(4))
    >>> field_ = DisplacementField(np.array([[[[0.3, -0.2, 7.1]]]]), grid)
    >>> rounded(field_, 0.25).displacement_mm.ravel().tolist()
    [0.25, -0.25, 7.0]
    """
    steps = np.rint(field_.displacement_mm / np.float32(step_mm))
    return DisplacementField(steps * np.float32(step_mm), field_.grid)


def warp_image(image: Image, transform: Transform, grid: Grid) -> Image:
    """Return ``image`` on ``grid``, pulled back through ``transform`` by one linear interpolation.

    Args:
        transform: the map from points of ``grid`` to points of ``image``, RAS mm.

    >>> grid = Grid((3, 1, 1), np.eye(4))
    >>> scan = Image(np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1), grid)
    >>> ahead = np.eye(4)
    >>> ahead[0, 3] = 1
    >>> warp_image(scan, Affine(ahead), grid).data.ravel().tolist()
    [2.0, 3.0, 0.0]
    """
    return Image(
        sample(image.data, image.grid.to_voxel(transform(grid.points_mm())), order=1), grid
    )


def warp_on_own_grid(image: Image, field_: DisplacementField) -> Image:
    """Return ``image`` on the grid of ``field_``, as :func:`warp_image` does but for rounding, in a
    third of the time: the field is known at its voxels, where nothing needs to be interpolated.

    >>> grid = Grid((3, 1, 1), np.eye(4))
    >>> scan = Image(np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1), grid)
    >>> ahead = DisplacementField(np.full((3, 1, 1, 3), (0.5, 0, 0)), grid)
    >>> warp_on_own_grid(scan, ahead).data.ravel().tolist()
    [1.5, 2.5, 3.0]
    """
    warped = np.empty(field_.grid.shape, dtype=np.float32)
    for planes, points in slabs(field_.grid):
        reached = points + field_.displacement_mm[planes]
        warped[planes] = sample(image.data, image.grid.to_voxel(reached), order=1)
    return Image(warped, field_.grid)


def warp_labels(labels: Labels, transform: Transform, grid: Grid) -> Labels:
    """Return ``labels`` on ``grid``, pulled back through ``transform``: each voxel takes the
    nearest label.

    Args:
        transform: the map from points of ``grid`` to points of ``labels``, RAS mm.
    """
    return Labels(
        sample(labels.data, labels.grid.to_voxel(transform(grid.points_mm())), order=0), grid
    )


def invert(
    field_: DisplacementField, grid: Grid, iterations: int = 50, tolerance_mm: float = 1e-3
) -> DisplacementField:
    """Return the inverse of a displacement field by the fixed-point iteration ``v <- -u(y + v)``.

    The iteration (Chen et al., Medical Physics 35(1), 2008) converges where the displacement is a
    contraction. Otherwise the result is the last iterate, and its error should be reported with it
    (:func:`diffeode.evaluation.consistency.inverse_consistency_mm`).

    Args:
        grid: the grid of the inverse.
        iterations: the largest number of iterations.
        tolerance_mm: the iteration ends when no component changes by as much as this.

    >>> grid = Grid((2, 2, 2), np.eye(4))
    >>> away = DisplacementField(np.full((2, 2, 2, 3), 0.25), grid)
    >>> invert(away, grid).displacement_mm[0, 0, 0].tolist()
    [-0.25, -0.25, -0.25]
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
