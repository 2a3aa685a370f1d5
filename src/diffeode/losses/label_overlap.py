"""How far label maps are from each other under a map: a loss whose slope leads borders together.

Dice itself leads a descent badly. Where a structure does not overlap its partner, Dice has no
slope; the slope of a structure grows with the inverse of its volume; and on a coarse grid, whose
voxels hold shares of several labels, the soft form of Dice is not largest where the maps agree. A
signed distance from the border, cut off at a band around it, has none of these faults. Distances
are computed on the own grid of each label map and interpolated, so borders keep their places
between voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from diffeode.geometry.image import Labels, window_around
from diffeode.geometry.shapes import ChannelsTensor, DisplacementTensor, LossTensor
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.geometry.warp import pull_back_from_rest, resize_displacement

_DEEP_MM = 1e6
"""The distance inside a structure that fills its whole label map, which has no border."""


@final
@dataclass(frozen=True, eq=False)
class Border:
    """The signed distance from the border of one structure, in a box around the structure.

    Attributes:
        distance_mm: the distance at each voxel of ``grid``, ``(X, Y, Z)`` float32, negative inside.
        grid: the box, a part of the grid of the label map.
    """

    distance_mm: np.ndarray
    grid: Grid

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the distance at points ``(..., 3)``, RAS mm, linearly interpolated; outside of the
        box it is that of the nearest voxel.
        """
        voxels = np.moveaxis(self.grid.to_voxel(points_mm), -1, 0)
        return ndimage.map_coordinates(self.distance_mm, voxels, order=1, mode="nearest")

    def corners_mm(self) -> np.ndarray:
        """Return the outermost corners of the box, ``(8, 3)``, RAS mm."""
        ends = [(-0.5, n - 0.5) for n in self.grid.shape]
        return self.grid.to_world(np.array(list(itertools.product(*ends))))


def border_of(labels: Labels, label: int, reach_mm: float) -> Border:
    """Return the border of one label, which lies half way between voxels.

    The thickness of a slice, along which there is no other voxel, plays no part.

    Args:
        label: an id that the map holds.
        reach_mm: up to which distance from the border the distances are needed.

    >>> row = Labels(np.array([0, 4, 4, 4, 0, 7]).reshape(6, 1, 1), Grid((6, 1, 1), np.eye(4)))
    >>> border_of(row, 4, 2.0).distance_mm.ravel().tolist()
    [0.5, -0.5, -1.5, -0.5, 0.5, 1.5]
    """
    grid, inside = labels.grid, labels.data == label
    smallest = min(mm for mm, n in zip(grid.spacing, grid.shape, strict=True) if n > 1)
    window = window_around(inside, int(np.ceil(reach_mm / smallest)) + 1)
    lower, upper = [part.start for part in window], [part.stop for part in window]
    distance_mm = _signed_distance(inside[window], grid.spacing, smallest / 2)
    return Border(distance_mm, grid.crop(lower, upper))


@final
@dataclass(frozen=True, eq=False)
class LabelBorders:
    """The borders of labels in the fixed and in the moving label map.

    Attributes:
        fixed, moving: the borders of the same labels, in the same order.
        to_moving: the affine that aligns, from points of ``box`` to points of the moving label map,
            RAS mm.
        box: the finest grid of the images.
        dimensions: the number of axes along which the images are registered.
    """

    fixed: tuple[Border, ...]
    moving: tuple[Border, ...]
    to_moving: Affine
    box: Grid
    dimensions: int

    @classmethod
    def between(
        cls,
        maps: tuple[Labels, Labels],
        ids: Sequence[int],
        to_moving: Affine,
        box: Grid,
        dimensions: int,
        reach_mm: float,
    ) -> LabelBorders:
        """Return the borders of ``ids``, which the fixed and the moving map of ``maps`` hold.

        Args:
            reach_mm: up to which distance from the border the distances are needed, mm of ``box``.
        """
        fixed, moving = maps
        stretch = _stretch(to_moving, dimensions)
        return cls(
            tuple(border_of(fixed, label, reach_mm) for label in ids),
            tuple(border_of(moving, label, reach_mm * stretch) for label in ids),
            to_moving,
            box,
            dimensions,
        )

    def windows(self, size: Sequence[int]) -> tuple[tuple[slice, ...], ...]:
        """Return, for each label, the part of a grid of ``size`` over the box that holds both of
        its borders, at least two voxels along each axis.
        """
        back = self.to_moving.inverse()
        ratio = self._ratio(size)
        found = []
        for fixed, moving in zip(self.fixed, self.moving, strict=True):
            corners = np.concatenate([fixed.corners_mm(), back(moving.corners_mm())])
            edges = (self.box.to_voxel(corners)[:, : self.dimensions] + 0.5) * ratio
            lower = np.clip(np.floor(edges.min(axis=0)), 0, size).astype(int)
            upper = np.clip(np.ceil(edges.max(axis=0)), 0, size).astype(int)
            # A slope needs two voxels along each axis.
            lower, upper = np.minimum(lower, upper - 2), np.maximum(upper, lower + 2)
            lower, upper = np.maximum(lower, 0), np.minimum(upper, size)
            found.append(tuple(map(slice, lower.tolist(), upper.tolist())))
        return tuple(found)

    def number_of_voxels(self, size: Sequence[int]) -> int:
        """Return the number of voxels in all windows on a grid of ``size``."""
        sizes = [[part.stop - part.start for part in window] for window in self.windows(size)]
        return int(np.prod(sizes, axis=1).sum()) if sizes else 0

    def misfit_on(
        self, size: Sequence[int], band_mm: float, like: Tensor
    ) -> Callable[[DisplacementTensor], LossTensor]:
        """Return the loss ``displacement -> mean over voxels of the sum over labels of (a - b)^2``.

        Here ``a`` and ``b`` are the signed distances from the border of the warped and of the fixed
        label, in units of the band, at least -1 and at most 1.

        Args:
            size: the size of the grid over the box on which the distances are compared.
            band_mm: how far from the border the distances count.
            like: a tensor of the device and the type of the displacement.
        """
        stretch = _stretch(self.to_moving, self.dimensions)
        parts = []
        for fixed, moving, window in zip(self.fixed, self.moving, self.windows(size), strict=True):
            points = self._points_mm(window, size)
            here, there = fixed.at(points), moving.at(self.to_moving(points)) / stretch
            parts.append((window, *(_in_band(d, band_mm, like) for d in (here, there))))
        voxels = int(np.prod(size))

        def loss(displacement: DisplacementTensor) -> LossTensor:
            fine = resize_displacement(displacement, size)
            total = displacement.new_zeros(())
            for window, fixed, moving in parts:
                warped = pull_back_from_rest(moving, fine[(..., *window)], padding="border")
                total = total + (warped - fixed).square().sum()
            return total / voxels

        return loss

    def _ratio(self, size: Sequence[int]) -> np.ndarray:
        return np.array(size) / self.box.shape[: self.dimensions]

    def _points_mm(self, window: Sequence[slice], size: Sequence[int]) -> np.ndarray:
        """Return the voxel centres of a window on a grid of ``size``, ``(*part, 3)``."""
        # Both grids cover one box, see diffeode.geometry.warp.
        axes = [
            (np.arange(part.start, part.stop) + 0.5) / ratio - 0.5
            for part, ratio in zip(window, self._ratio(size), strict=True)
        ]
        plane = [np.zeros(1)] * (3 - self.dimensions)
        voxels = np.stack(np.meshgrid(*axes, *plane, indexing="ij"), axis=-1)
        return self.box.to_world(voxels.reshape(*map(len, axes), 3))


def _in_band(distance_mm: np.ndarray, band_mm: float, like: Tensor) -> ChannelsTensor:
    return torch.from_numpy(np.clip(distance_mm / band_mm, -1, 1))[None, None].to(like)


def _stretch(affine: Affine, dimensions: int) -> float:
    """Return by how much an affine stretches lengths along the axes of the images, on average."""
    return float(abs(np.linalg.det(affine.matrix[:3, :3])) ** (1 / dimensions))


def _signed_distance(inside: np.ndarray, spacing: Sequence[float], half: float) -> np.ndarray:
    """Return the signed distance from the border, which lies ``half`` a voxel before the centres of
    the voxels that are next to it.
    """
    if inside.all():
        return np.full(inside.shape, -_DEEP_MM, dtype=np.float32)
    outer, inner = (
        ndimage.distance_transform_edt(mask, sampling=spacing) for mask in (~inside, inside)
    )
    return np.where(inside, half - inner, outer - half).astype(np.float32)
