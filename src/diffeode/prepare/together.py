"""Two prepared images of a pair, and how a map brings the moving one to the fixed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image, sample
from diffeode.geometry.transform import Affine, Transform, warp_image


@final
@dataclass(frozen=True, eq=False)
class Side:
    """One image of a pair, prepared.

    Attributes:
        image: the prepared image: intensities in [0.001, 1], and 0 in the background.
        counts: the voxels that count in the similarity, ``(X, Y, Z)`` bool; None: all of them.
        cut_off: whether the field of view cuts off what the image shows, so that nothing is known
            of what lies beyond it. A skull-stripped brain has background there.
    """

    image: Image
    counts: np.ndarray | None = None
    cut_off: bool = False


@final
@dataclass(frozen=True, eq=False)
class Aligned:
    """The moving side on the grid of the fixed one.

    Attributes:
        image: the moving image there. Beyond its field of view it has the value at the border where
            that cuts it off, and elsewhere 0.
        to_scan: the map from points of :attr:`image` to points of the moving image as it was given,
            RAS mm; an affine unless the start was another map.
        counts: the voxels of the fixed grid that count in the similarity, ``(X, Y, Z)`` bool; None:
            all of them.
        moving_counts: where the moving image has a mask, the voxels of :attr:`image` that count,
            likewise; None where it has none.
    """

    image: Image
    to_scan: Transform
    counts: np.ndarray | None
    moving_counts: np.ndarray | None = None

    @property
    def affine(self) -> Affine:
        """The map :attr:`to_scan` where it is an affine.

        Raises:
            TypeError: the start was another map.
        """
        if not isinstance(self.to_scan, Affine):
            raise TypeError("The pair was brought together by a map that is no affine.")
        return self.to_scan


def brought_together(fixed: Side, moving: Side, to_scan: Transform) -> Aligned:
    """Bring ``moving`` onto the grid of ``fixed``.

    Args:
        to_scan: the map from points of ``fixed`` to points of ``moving``, RAS mm.

    Raises:
        InputError: the images do not meet, or no voxel is left that counts.
    """
    if moving.counts is None and not moving.cut_off:
        aligned = warp_image(moving.image, to_scan, fixed.image.grid)
        _require_meeting(bool(aligned.data.any()))
        return Aligned(aligned, to_scan, both_count(fixed.counts, None))
    grid = moving.image.grid
    voxels = grid.to_voxel(to_scan(fixed.image.grid.points_mm()))
    within = np.clip(voxels, 0, np.array(grid.shape) - 1)
    seen = (np.abs(voxels - within) <= 0.5).all(axis=-1)
    extended = sample(moving.image.data, within, order=1)
    data = extended if moving.cut_off else np.where(seen, extended, 0).astype(np.float32)
    _require_meeting(bool((data[seen] > 0).any()))
    counts = seen | (data == 0)
    if moving.counts is not None:
        counts &= sample(moving.counts.astype(np.float32), within, order=1) >= 0.5
    follows = None if moving.counts is None else counts
    image = Image(data, fixed.image.grid)
    return Aligned(image, to_scan, both_count(fixed.counts, counts), follows)


def both_count(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Return the voxels that count in both, or None where all do.

    Raises:
        InputError: none does.
    """
    if first is None or second is None:
        both = second if first is None else first
    else:
        both = first & second
    if both is None or both.all():
        return None
    if not both.any():
        raise InputError(
            "No voxel counts in both images, so nothing can be compared; look at the masks and at "
            "where the images lie."
        )
    return both


def _require_meeting(meets: bool) -> None:
    if not meets:
        raise InputError(
            "What the moving image shows lies wholly outside the fixed image's grid; let the "
            "alignment be found (--init affine), or check the positions in the headers."
        )


def reaches_a_face(shown: np.ndarray) -> bool:
    """Return whether the mask ``shown`` reaches a face of its volume, ``(X, Y, Z)`` bool, or the
    border of its slice.
    """
    axes = [axis for axis, n in enumerate(shown.shape) if n > 1]
    return any(np.take(shown, (0, -1), axis=axis).any() for axis in axes)
