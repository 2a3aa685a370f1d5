"""Where the brain is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.image import Image


def without_negatives(image: Image) -> Image:
    """``image`` with negative intensities, which resampling leaves behind at edges, set to 0."""
    return Image(np.maximum(image.data, 0), image.grid)


def nonzero(image: Image, name: str) -> np.ndarray:
    """The brain of a skull-stripped scan, ``(X, Y, Z)`` bool: voxels above zero, and dark ones they enclose.

    Raises:
        InputError: no voxel is above zero.
    """
    mask = ndimage.binary_fill_holes(image.data > 0)
    if not mask.any():
        raise InputError(f"The brain mask of {name} is empty (no voxel above zero); check the skull stripping.")
    return mask
