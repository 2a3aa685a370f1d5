"""Scans and label maps: an array and the grid it lies on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.space import Grid

Window = tuple[slice, slice, slice]
"""A box of voxels: along each axis the first voxel, and the one after the last."""

_LARGEST_ID = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Image:
    """A scan: intensities ``data (X, Y, Z)`` float32 on ``grid``.

    Raises:
        InputError: the array and the grid differ in shape.
    """

    data: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        _require_shape(self.data, self.grid)
        object.__setattr__(self, "data", np.ascontiguousarray(self.data, dtype=np.float32))

    def cropped(self, window: Window) -> Image:
        """Return the voxels within ``window`` as an image."""
        lower, upper = [part.start for part in window], [part.stop for part in window]
        return Image(self.data[window], self.grid.crop(lower, upper))

    def check_usable(self, name: str) -> None:
        """Raise :class:`InputError` where a voxel is not finite or all voxels are equal.

        Args:
            name: what the message calls the scan.
        """
        self.check_finite(name)
        if self.data.min() == self.data.max():
            raise InputError(
                f"{name} is constant ({self.data.flat[0]:g} everywhere); give a scan with contrast."
            )

    def check_finite(self, name: str) -> None:
        """Raise :class:`InputError` where a voxel is not finite.

        Args:
            name: what the message calls the scan.
        """
        if not np.isfinite(self.data).all():
            bad = int((~np.isfinite(self.data)).sum())
            raise InputError(
                f"{name} has {bad} voxels that are NaN or infinite; repair or mask them first."
            )


@dataclass(frozen=True, eq=False)
class Labels:
    """A label map: ``data (X, Y, Z)`` int32 on ``grid``; 0 is background.

    Raises:
        InputError: the array and the grid differ in shape, or an id is too large for int32, where
            it would silently become another id.
    """

    data: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        _require_shape(self.data, self.grid)
        if (
            not np.can_cast(self.data.dtype, np.int32)
            and self.data.size
            and self.data.max() > _LARGEST_ID
        ):
            raise InputError(
                f"A label map holds the id {int(self.data.max())}; ids go up to {_LARGEST_ID}."
            )
        object.__setattr__(self, "data", np.ascontiguousarray(self.data, dtype=np.int32))


def _require_shape(data: np.ndarray, grid: Grid) -> None:
    if data.shape != grid.shape:
        raise InputError(
            f"An array of shape {data.shape} does not lie on a grid of shape {grid.shape}."
        )


def sample(data: np.ndarray, voxels: np.ndarray, order: int) -> np.ndarray:
    """Return ``data (X, Y, Z)`` at voxel coordinates ``voxels (..., 3)``, zero outside.

    A point belongs to the image up to half a voxel beyond the outermost voxel centres, and there it
    has the value of the nearest centre. This is ITK's rule, so a warp agrees with
    ``antsApplyTransforms`` up to the border.

    Args:
        order: 0 for the nearest neighbour, 1 for linear interpolation, as in
            :func:`scipy.ndimage.map_coordinates`.

    >>> row = np.array([10.0, 20.0, 30.0]).reshape(3, 1, 1)
    >>> sample(row, np.array([[0.5, 0, 0], [2.5, 0, 0], [2.6, 0, 0]]), order=1).tolist()
    [15.0, 30.0, 0.0]
    """
    limits = np.array(data.shape) - 1
    inside = np.logical_and(voxels >= -0.5, voxels <= limits + 0.5).all(axis=-1)
    clamped = np.moveaxis(np.clip(voxels, 0, limits), -1, 0)
    values = ndimage.map_coordinates(data, clamped, order=order, mode="nearest", prefilter=False)
    values[~inside] = 0
    return values


def foreground(image: Image) -> np.ndarray:
    """Return the voxels above zero, ``(X, Y, Z)`` bool: the brain of a skull-stripped scan.

    Raises:
        InputError: no voxel is above zero.
    """
    mask = image.data > 0
    if not mask.any():
        raise InputError(
            "The brain mask is empty (no voxel above zero); check the skull stripping."
        )
    return mask


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower corner (inclusive) and the upper corner (exclusive) of ``mask``.

    Args:
        mask: an array of any number of axes, bool.
        margin: by how many voxels the box is grown on each side, as far as the array reaches.
    Raises:
        InputError: the mask is empty.

    >>> mask = np.zeros((8, 8, 8), bool)
    >>> mask[2:4, 5, 1:7] = True
    >>> lower, upper = bounding_box(mask, margin=1)
    >>> lower.tolist(), upper.tolist()
    ([1, 4, 0], [5, 7, 8])
    """
    if not mask.any():
        raise InputError("The brain mask is empty; check the skull stripping.")
    lower, upper = [], []
    for axis, n in enumerate(mask.shape):
        other_axes = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(mask.any(axis=other_axes))
        lower.append(max(0, occupied[0] - margin))
        upper.append(min(n, occupied[-1] + 1 + margin))
    return np.array(lower), np.array(upper)


def window_around(mask: np.ndarray, margin: int = 0) -> Window:
    """Return the box around ``mask``, grown by ``margin`` voxels inside the array.

    Raises:
        InputError: the mask is empty.
    """
    lower, upper = bounding_box(mask, margin)
    x, y, z = (slice(a, b) for a, b in zip(lower.tolist(), upper.tolist(), strict=True))
    return x, y, z
