"""Intensities on a common scale."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image

LEAST_IN_BRAIN = 1e-3
"""The darkest that a voxel of the brain becomes, because further on the brain is what is above
zero.
"""

_PERCENTILES = (0.1, 99.9)
# The 0.1 and 99.9 percentiles lie up to 6.3 times as far from the median as the 10 and 90
# percentiles do, in brains of
# newborns, adults and mice of every contrast at hand; what lies 8 times as far is no tissue.
_BULK = (10, 50, 90)
_FARTHEST = 8.0


def without_outliers(image: Image, mask: np.ndarray) -> Image:
    """``image`` with the brain's outliers (dead voxels, failed divisions) clipped to the range of
    all others.

    An image is changed only where its 0.1 or 99.9 percentile, which the scaling starts from, is an
    outlier: more than 8 times as far from the median as the 10 or the 90 percentile. Resampling
    would smear outliers over their neighbours, so they go before it. At most a tenth of the brain
    at either end can be taken for outliers.

    Args:
        mask: the brain, ``(X, Y, Z)`` bool.
    """
    brain = image.data[mask]
    bottom, top = _fences(brain)
    if bottom == -np.inf and top == np.inf:
        return image
    low, high = inner_range(brain)
    clipped = np.clip(image.data, low if bottom > -np.inf else None, high if top < np.inf else None)
    return Image(np.where(mask, clipped, image.data), image.grid)


def robust(image: Image, mask: np.ndarray, name: str) -> Image:
    """``image`` with the brain's 0.1 and 99.9 percentiles moved to 0 and 1, clipped there, and
    background exactly 0.

    Brain voxels stay above zero (at least 0.001), because further on the brain is what is above
    zero. Outliers (:func:`without_outliers`) do not count for the percentiles.

    Raises:
        InputError: the brain is constant.
    """
    low, high = inner_range(image.data[mask])
    if not high > low:
        raise InputError(
            f"The brain of {name} is constant ({low:g} everywhere); give a scan with contrast."
        )
    scaled = np.clip((image.data - low) / (high - low), LEAST_IN_BRAIN, 1)
    return Image(np.where(mask, scaled, 0), image.grid)


def _fences(brain: np.ndarray) -> tuple[float, float]:
    """Beyond which values of ``brain (N,)`` are outliers; infinite at an end that has too few to
    matter.
    """
    low, high = np.percentile(brain, _PERCENTILES)
    lower, middle, upper = np.percentile(brain, _BULK)
    bottom, top = middle - _FARTHEST * (middle - lower), middle + _FARTHEST * (upper - middle)
    return (
        bottom if low < bottom and lower < middle else -np.inf,
        top if high > top and upper > middle else np.inf,
    )


def inner_range(brain: np.ndarray) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles of ``brain (N,)`` without its outliers."""
    bottom, top = _fences(brain)
    if bottom > -np.inf or top < np.inf:
        brain = brain[(brain >= bottom) & (brain <= top)]
    low, high = np.percentile(brain, _PERCENTILES)
    return low, high
