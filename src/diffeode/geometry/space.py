"""Grids and frames: voxel indices, RAS and LPS millimetres.

This module alone changes the signs between RAS and LPS in numpy's arrays. The conventions of
sampling in torch live in :mod:`diffeode.geometry.warp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from diffeode.errors import InputError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""The homogeneous matrix that takes RAS mm to LPS mm; it is its own inverse."""

_ORTHOGONAL_TOLERANCE = 1e-3
"""Largest cosine between two axes that still count as perpendicular."""


def flip_ras_lps(vectors: np.ndarray) -> np.ndarray:
    """Return vectors or points ``(..., 3)`` in LPS mm for those in RAS mm, or the reverse.

    >>> flip_ras_lps(np.array([1.0, 2.0, 3.0])).tolist()
    [-1.0, -2.0, 3.0]
    """
    return vectors * np.array([-1.0, -1.0, 1.0], dtype=vectors.dtype)


def flip_matrix_ras_lps(matrix: np.ndarray) -> np.ndarray:
    """Return the homogeneous ``matrix (4, 4)`` of a map of points in RAS mm as the matrix of the
    same map in LPS mm, or back.
    """
    return RAS_TO_LPS @ matrix @ RAS_TO_LPS


class ItkFrame(NamedTuple):
    """The position of a grid as ITK states it, in LPS mm.

    Attributes:
        origin: the centre of the first voxel, ``(3,)``.
        spacing: the distance between neighbouring voxel centres along each array axis, mm,
            ``(3,)``.
        direction: the unit vectors of the array axes, one in each column, ``(3, 3)``.
    """

    origin: np.ndarray
    spacing: np.ndarray
    direction: np.ndarray


def apply_matrix(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply the homogeneous ``matrix (4, 4)`` to ``points (..., 3)``."""
    # One product of matrices is twice as fast as one for each row of voxels, and gives the same
    # bits; rows of a single voxel, as slices have them, are multiplied and rounded in another way.
    rows = points.reshape(-1, 3) if points.ndim > 2 and points.shape[-2] > 1 else points
    moved = rows @ matrix[:3, :3].T
    moved += matrix[:3, 3]
    return moved.reshape(points.shape)


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxel centres.

    Attributes:
        shape: the number of voxels along each array axis, ``(X, Y, Z)``.
        affine: the homogeneous matrix ``(4, 4)`` from voxel index to RAS mm.
    Raises:
        InputError: the shape is not three positive integers or the affine cannot be inverted.

    >>> grid = Grid((4, 4, 2), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> grid.spacing.tolist(), grid.voxel_volume
    ([1.0, 1.0, 2.0], 2.0)
    >>> grid.to_world(np.array([1, 1, 1])).tolist()
    [1.0, 1.0, 2.0]
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"A grid needs three positive sizes, not {self.shape}.")
        affine = np.array(self.affine, dtype=np.float64)
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or abs(np.linalg.det(affine[:3, :3])) < 1e-12
        ):
            raise InputError(
                "A grid needs an invertible, finite 4 x 4 affine; repair the image's header."
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> np.ndarray:
        """The distance between neighbouring voxel centres along each array axis, mm, ``(3,)``."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """The unit vectors of the array axes in RAS, one in each column, ``(3, 3)``."""
        return self.affine[:3, :3] / self.spacing

    @property
    def voxel_volume(self) -> float:
        """The volume of one voxel, mm^3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def centre_mm(self) -> np.ndarray:
        """The centre of the grid in RAS mm, ``(3,)``."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """Return the points in RAS mm at voxel coordinates ``(..., 3)``."""
        return apply_matrix(self.affine, np.asarray(voxels))

    def to_voxel(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the voxel coordinates of points ``(..., 3)`` in RAS mm."""
        return apply_matrix(np.linalg.inv(self.affine), np.asarray(points_mm))

    def vectors_to_world(self, vectors_vox: np.ndarray) -> np.ndarray:
        """Return displacements ``(..., 3)`` in RAS mm for those in voxels."""
        return vectors_vox @ self.affine[:3, :3].T.astype(vectors_vox.dtype)

    def vectors_to_voxel(self, vectors_mm: np.ndarray) -> np.ndarray:
        """Return displacements ``(..., 3)`` in voxels for those in RAS mm."""
        return vectors_mm @ np.linalg.inv(self.affine[:3, :3]).T.astype(vectors_mm.dtype)

    def voxels(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """Return the index of every voxel, ``(X, Y, Z, 3)``."""
        index = np.empty((*self.shape, 3), dtype=dtype)
        for axis, along in enumerate(np.ix_(*[np.arange(n, dtype=dtype) for n in self.shape])):
            index[..., axis] = along
        return index

    def points_mm(self) -> np.ndarray:
        """Return every voxel centre in RAS mm, ``(X, Y, Z, 3)``."""
        return self.to_world(self.voxels())

    def matches(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Return whether ``other`` has the same shape, and no coordinate of its corners differs by
        more than ``tolerance_mm``.
        """
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1)
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)

    def crop(self, lower: Sequence[int] | np.ndarray, upper: Sequence[int] | np.ndarray) -> Grid:
        """Return the part of this grid that holds the voxels ``lower <= index < upper``."""
        moved = self.affine.copy()
        moved[:3, 3] = self.to_world(np.asarray(lower, dtype=float))
        return Grid(_three(b - a for a, b in zip(lower, upper, strict=True)), moved)

    @property
    def is_perpendicular(self) -> bool:
        """Whether the array axes are perpendicular to each other, that is, not sheared."""
        return bool(
            np.abs(self.direction.T @ self.direction - np.eye(3)).max() <= _ORTHOGONAL_TOLERANCE
        )

    def require_perpendicular(self, reader: str) -> None:
        """Raise :class:`InputError` where the axes are sheared: ITK cannot represent such a grid.

        Args:
            reader: the tool that would read an image on this grid, for the message.
        """
        if not self.is_perpendicular:
            raise InputError(
                f"The image's axes are not perpendicular (a sheared affine), which {reader} "
                "cannot read; resample it first."
            )

    def itk_frame(self, reader: str) -> ItkFrame:
        """Return the position of the grid as ITK states it.

        Args:
            reader: the tool that reads an image on this grid, for messages.

        Raises:
            InputError: the axes are sheared, which ITK cannot represent.
        """
        self.require_perpendicular(reader)
        lps = RAS_TO_LPS @ self.affine
        return ItkFrame(lps[:3, 3], self.spacing, lps[:3, :3] / self.spacing)

    def resample(self, spacing_mm: float | np.ndarray) -> Grid:
        """Return a grid of another spacing over the same box.

        The outer edges of the first voxels coincide; those of the last ones need not, since the
        number of voxels is rounded.

        >>> Grid((4, 4, 4), np.eye(4)).resample(2.0).shape
        (2, 2, 2)
        """
        factor = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,)) / self.spacing
        shape = _three(np.maximum(1, np.round(np.array(self.shape) / factor)))
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * factor
        affine[:3, 3] = self.to_world((factor - 1) / 2)
        return Grid(shape, affine)


def _three(numbers: Iterable[float]) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in numbers)
    return x, y, z
