"""Grids and frames: voxel indices, RAS and LPS millimetres.

The only home of the RAS/LPS sign flip on the array side; torch's sampling conventions live in
:mod:`diffeode.geometry.warp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from diffeode.errors import InputError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Homogeneous change of frame; it is its own inverse."""

_ORTHOGONAL_TOLERANCE = 1e-3


def flip_ras_lps(vectors: np.ndarray) -> np.ndarray:
    """Vectors or points ``(..., 3)`` in RAS mm as LPS mm, or back."""
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
        spacing: of neighbouring voxels along each array axis, ``(3,)``.
        direction: unit vectors of the array axes, one per column, ``(3, 3)``.
    """

    origin: np.ndarray
    spacing: np.ndarray
    direction: np.ndarray


def apply_matrix(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Homogeneous ``matrix (4, 4)`` applied to ``points (..., 3)``."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxel centres: ``shape (X, Y, Z)`` and ``affine (4, 4)``, voxel index to RAS mm.

    Raises:
        InputError: the shape is not three positive integers or the affine cannot be inverted.
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
        """Distance between neighbouring voxel centres along each array axis, mm, ``(3,)``."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of the array axes in RAS, one per column, ``(3, 3)``."""
        return self.affine[:3, :3] / self.spacing

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, mm^3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def centre_mm(self) -> np.ndarray:
        """Centre of the box in RAS mm, ``(3,)``."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """Voxel coordinates ``(..., 3)`` as RAS mm."""
        return apply_matrix(self.affine, np.asarray(voxels))

    def to_voxel(self, points_mm: np.ndarray) -> np.ndarray:
        """RAS mm ``(..., 3)`` as voxel coordinates."""
        return apply_matrix(np.linalg.inv(self.affine), np.asarray(points_mm))

    def vectors_to_world(self, vectors_vox: np.ndarray) -> np.ndarray:
        """Voxel displacements ``(..., 3)`` as RAS mm displacements."""
        return vectors_vox @ self.affine[:3, :3].T.astype(vectors_vox.dtype)

    def vectors_to_voxel(self, vectors_mm: np.ndarray) -> np.ndarray:
        """RAS mm displacements ``(..., 3)`` as voxel displacements."""
        return vectors_mm @ np.linalg.inv(self.affine[:3, :3]).T.astype(vectors_mm.dtype)

    def voxels(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """Every voxel's index, ``(X, Y, Z, 3)``."""
        return np.stack(
            np.meshgrid(*[np.arange(n, dtype=dtype) for n in self.shape], indexing="ij"), axis=-1
        )

    def points_mm(self) -> np.ndarray:
        """Every voxel centre in RAS mm, ``(X, Y, Z, 3)``."""
        return self.to_world(self.voxels())

    def matches(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Same shape, and corners that coincide within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1)
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)

    def crop(self, lower: Sequence[int] | np.ndarray, upper: Sequence[int] | np.ndarray) -> Grid:
        """The sub-grid of voxels ``lower <= index < upper``."""
        moved = self.affine.copy()
        moved[:3, 3] = self.to_world(np.asarray(lower, dtype=float))
        return Grid(_three(b - a for a, b in zip(lower, upper, strict=True)), moved)

    @property
    def is_perpendicular(self) -> bool:
        """Whether the axes are perpendicular, not sheared."""
        return bool(
            np.abs(self.direction.T @ self.direction - np.eye(3)).max() <= _ORTHOGONAL_TOLERANCE
        )

    def require_perpendicular(self, reader: str) -> None:
        """Raise :class:`InputError` where the axes are sheared, which ITK cannot represent.

        Args:
            reader: the tool that would read an image on this grid.
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
        """A grid over the same box (voxel edges aligned at the first corner) with another
        spacing.
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
