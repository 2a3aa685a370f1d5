"""Where the brain is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.image import Image

# What resampling leaves behind is shallower, or rare: 0.3 % of the voxels in the worst of the public datasets.
_SHALLOW, _RARE = 0.01, 0.01
# Splines overshoot at the edge of a brain in up to 6 % of the non-zero voxels; half of a z-scored brain is negative.
_OVERSHOOT = 0.2


def without_negatives(image: Image, name: str) -> Image:
    """``image`` with negative intensities, which resampling leaves behind at edges, set to 0.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: more is negative than linear resampling leaves behind, as where intensities were standardised, or
            where splines overshoot and leave ripples in the background.
    """
    negative = (image.data < -_SHALLOW * np.abs(image.data).max()).sum() / max(np.count_nonzero(image.data), 1)
    if negative > _OVERSHOOT:
        raise InputError(
            f"{name} is negative in {100 * negative:.0f} % of its non-zero voxels, as z-scored scans are; add a "
            "constant inside the brain, so that all of it is positive and the background stays 0."
        )
    if negative > _RARE:
        raise InputError(
            f"{name} is negative in {100 * negative:.0f} % of its non-zero voxels, as resampling by splines leaves it, "
            "so its background is not exactly 0; resample it linearly, or set what is outside the brain to 0."
        )
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
