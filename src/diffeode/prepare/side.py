"""Prepare the two images of a pair, whatever they show, for a registration at a desk."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Transform
from diffeode.prepare.brain import stripped_brain_or_none
from diffeode.prepare.foreground import found_foreground
from diffeode.prepare.scan import prepare_image, prepared_whole
from diffeode.prepare.search import found_start
from diffeode.prepare.slices import prepare_slice
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.mindgrab import find_brain
from diffeode.prepare.together import Aligned, Side, both_count, brought_together, reaches_a_face

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
        return Side(found.image, cut_off=reaches_a_face(found.tissue))
    brain = stripped_brain_or_none(image) if mask is None else None
    if brain is not None:
        return Side(prepare_image(image, name, brain)[0])
    if isinstance(mask, np.ndarray):
        return _masked(image, name, mask)
    everything = isinstance(mask, str)
    shown = np.ones(image.grid.shape, dtype=bool) if everything else found_foreground(image)
    return Side(prepared_whole(image, shown, name), cut_off=reaches_a_face(shown))


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
        counts = both_count(fixed.counts, moving.counts)
        return Aligned(aligned, to_scan, counts, moving.counts)
    return brought_together(fixed, moving, to_scan)


def stripped_head(image: Image, name: str, threads: int) -> Image:
    """Return a head without its skull: ``image`` where the MeshNet mindgrab finds the brain, else
    0.

    Raises:
        InputError: the weights are missing, or the image is no head
            (:func:`diffeode.prepare.steps.mindgrab.mindgrab_mask`).
    """
    brain = find_brain(image, name, Resources(threads))
    return Image(np.where(brain, np.maximum(image.data, 0), 0), image.grid)


def looks_like_a_head(image: Image, prepared: Image) -> bool:
    """Return whether ``image`` may show the whole head of an adult, by the volume that it shows.

    Args:
        prepared: the image as :func:`prepared_side` prepares it without a mask; it is above 0 where
            the image shows something.
    """
    low, high = _HEAD_ML
    millilitres = (prepared.data > 0).sum() * image.grid.voxel_volume / 1000
    return bool(low <= millilitres <= high) and stripped_brain_or_none(image) is None


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
        return Side(prepared, mask, reaches_a_face(shown))
    shown = found_foreground(filled) & hull
    return Side(prepared_whole(filled, shown, name), mask, reaches_a_face(shown))


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
