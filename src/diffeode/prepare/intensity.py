"""Bring intensities to a common scale."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image

LEAST_IN_BRAIN = 1e-3
"""Lowest intensity of the brain in a prepared scan. It is above 0, because later steps take every
voxel above 0 for brain.
"""

_PERCENTILES = (0.1, 99.9)
# In brains of newborns, adults and mice of every contrast at hand, the 0.1 and 99.9 percentiles lie
# at most 6.3 times as far from the median as the 10 and 90 percentiles do. Values that lie 8 times
# as far are no tissue.
_BULK = (10, 50, 90)
_FARTHEST = 8.0


def without_outliers(image: Image, mask: np.ndarray) -> Image:
    """Return ``image`` with the brain's outliers clipped to the range of its other voxels.

    Dead voxels and failed divisions leave such outliers.

    An image is changed only where its 0.1 or 99.9 percentile, by which it is scaled later, is an
    outlier itself: more than 8 times as far from the median as the 10 or the 90 percentile. This
    comes before resampling, which would smear outliers over their neighbours. At most a tenth of
    the brain at either end can be taken for outliers.

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
    """Return ``image`` scaled so that the brain's 0.1 and 99.9 percentiles become 0 and 1.

    Values beyond them are clipped, and the background is exactly 0. Brain voxels are at least
    0.001, because later steps take every voxel above 0 for brain. Outliers
    (:func:`without_outliers`) do not count for the percentiles.

    Args:
        mask: the brain, ``(X, Y, Z)`` bool.
        name: what messages call the scan.

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
    """Return the least and the greatest value of ``brain (N,)`` that is no outlier.

    A bound is infinite where that end has too few outliers to move its percentile.
    """
    low, high = np.percentile(brain, _PERCENTILES)
    lower, middle, upper = np.percentile(brain, _BULK)
    bottom, top = middle - _FARTHEST * (middle - lower), middle + _FARTHEST * (upper - middle)
    return (
        bottom if low < bottom and lower < middle else -np.inf,
        top if high > top and upper > middle else np.inf,
    )


def inner_range(brain: np.ndarray) -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentiles of ``brain (N,)`` without its outliers."""
    bottom, top = _fences(brain)
    if bottom > -np.inf or top < np.inf:
        brain = brain[(brain >= bottom) & (brain <= top)]
    low, high = np.percentile(brain, _PERCENTILES)
    return low, high
