"""Prepare the two images of a pair, whatever they show, for a registration at a desk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image, sample
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, Transform, warp_image
from diffeode.prepare.brain import stripped_brain_or_none
from diffeode.prepare.foreground import found_foreground
from diffeode.prepare.scan import prepare_image, prepared_whole
from diffeode.prepare.search import found_start
from diffeode.prepare.slices import prepare_slice
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.mindgrab import find_brain

MaskChoice = np.ndarray | str | None
"""Where an image counts: a mask on its grid, ``(X, Y, Z)`` bool; ``"none"``, by which everything
counts; or None, by which everything counts but the background that
:func:`diffeode.prepare.foreground.found_foreground` finds.
"""

_HEAD_ML = (2000.0, 7000.0)
"""Volumes of adults' heads: nine with thick slices have 2260 to 2990 ml, six with their necks 3740
to 5070 ml.
"""
_DIRECTIONS = 64
"""Number of half spaces whose intersection stands for the convex hull of a mask."""


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


def prepared_side(image: Image, name: str, mask: MaskChoice = None) -> Side:
    """Return ``image`` as one side of a pair; slices are prepared by
    :func:`diffeode.prepare.slices.prepare_slice`.

    Skull-stripped brains without a mask are prepared as :func:`prepare_image` does. Voxels outside
    a mask have no influence at all: within the mask's convex hull they get the value of the nearest
    voxel in the mask, so that a lesion leaves no edge, and beyond it they are background.

    Args:
        name: what messages call the image.

    Raises:
        InputError: the mask is empty or does not fit the image, or what the image shows is
            constant.
    """
    if is_slice(image.grid) and mask is None:
        found = prepare_slice(image, name)
        return Side(found.image, cut_off=_reaches_a_face(found.tissue))
    if mask is None and stripped_brain_or_none(image) is not None:
        return Side(prepare_image(image, name)[0])
    if isinstance(mask, np.ndarray):
        return _masked(image, name, mask)
    everything = isinstance(mask, str)
    shown = np.ones(image.grid.shape, dtype=bool) if everything else found_foreground(image)
    return Side(prepared_whole(image, shown, name), cut_off=_reaches_a_face(shown))


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
    """

    image: Image
    to_scan: Transform
    counts: np.ndarray | None

    @property
    def affine(self) -> Affine:
        """The map :attr:`to_scan` where it is an affine.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(self.to_scan, Affine):
            raise TypeError("The start was no affine.")
        return self.to_scan


def align_sides(
    fixed: Side, moving: Side, start: str | Transform, threads: int, seed: int
) -> Aligned:
    """Bring ``moving`` onto the grid of ``fixed``.

    Args:
        start: a kind of :data:`diffeode.prepare.choices.STARTS`, or a map of one's own from points
            of ``fixed`` to points of ``moving``, RAS mm.

    Raises:
        InputError: a grid is sheared, the images do not meet, or no voxel is left that counts.
        RegistrationError: ANTs gave up.
    """
    if isinstance(start, Transform):
        to_scan = start
    else:
        to_scan = found_start(
            start, fixed.image, moving.image, threads, seed, fixed.counts, moving.counts
        )
    if start == "identity" and fixed.image.grid.matches(moving.image.grid):
        aligned = moving.image
        counts = _both(fixed.counts, moving.counts)
        return Aligned(aligned, to_scan, counts)
    if moving.counts is None and not moving.cut_off:
        aligned = warp_image(moving.image, to_scan, fixed.image.grid)
        _require_meeting(bool(aligned.data.any()))
        return Aligned(aligned, to_scan, _both(fixed.counts, None))
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
    return Aligned(Image(data, fixed.image.grid), to_scan, _both(fixed.counts, counts))


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
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


def stripped_head(image: Image, name: str, threads: int) -> Image:
    """Return a head without its skull: ``image`` where the MeshNet mindgrab finds the brain, else
    0.

    Raises:
        InputError: the weights are missing, or the image is no head
            (:func:`diffeode.prepare.steps.mindgrab.mindgrab_mask`).
    """
    brain = find_brain(image, name, Resources(threads))
    return Image(np.where(brain, np.maximum(image.data, 0), 0), image.grid)


def looks_like_a_head(image: Image) -> bool:
    """Return whether ``image`` may show the whole head of an adult, by the volume that it shows."""
    low, high = _HEAD_ML
    if stripped_brain_or_none(image) is not None:
        return False
    millilitres = found_foreground(image).sum() * image.grid.voxel_volume / 1000
    return bool(low <= millilitres <= high)


def _masked(image: Image, name: str, mask: np.ndarray) -> Side:
    if mask.shape != image.grid.shape:
        raise InputError(
            f"The mask of {name} has {mask.shape} voxels and the image {image.grid.shape}; give a "
            "mask on the grid of the image."
        )
    if not mask.any():
        raise InputError(f"The mask of {name} is empty; set it to 1 where the image counts.")
    if mask.all():
        return prepared_side(image, name)
    hull = _convex_hull(mask)
    filled = Image(np.where(hull, _nearest(image.data, mask), image.data[mask].min()), image.grid)
    if is_slice(image.grid):
        found = prepare_slice(filled, name)
        shown = found.tissue & hull
        prepared = Image(np.where(hull, found.image.data, 0), image.grid)
        return Side(prepared, mask, _reaches_a_face(shown))
    shown = found_foreground(filled) & hull
    return Side(prepared_whole(filled, shown, name), mask, _reaches_a_face(shown))


def _nearest(data: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return ``data`` with the value of the nearest voxel of ``mask`` wherever it is False."""
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return data[tuple(nearest)]


def _convex_hull(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of every half space that holds ``mask``, of 64 directions and the axes."""
    points = np.argwhere(mask).astype(np.float32)
    voxels = Grid(mask.shape, np.eye(4)).voxels(np.float32)
    hull = np.ones(mask.shape, dtype=bool)
    for direction in (*np.eye(3, dtype=np.float32), *_directions(_DIRECTIONS)):
        along = points @ direction
        place = voxels @ direction
        hull &= (place <= along.max() + 1e-3) & (place >= along.min() - 1e-3)
    return hull


def _directions(count: int) -> np.ndarray:
    """Return ``count`` unit vectors that are spread evenly over half a sphere, ``(count, 3)``."""
    height = (np.arange(count) + 0.5) / count
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1).astype(np.float32)


def _reaches_a_face(shown: np.ndarray) -> bool:
    axes = [axis for axis, n in enumerate(shown.shape) if n > 1]
    return any(np.take(shown, (0, -1), axis=axis).any() for axis in axes)
