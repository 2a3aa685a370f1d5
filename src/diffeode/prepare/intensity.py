"""Intensities on a common scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.signal import find_peaks

from diffeode.errors import InputError
from diffeode.image import Image
from diffeode.names import nearest

_PERCENTILES = (0.1, 99.9)
_LEAST_IN_BRAIN = 1e-3
_HALF_WIDTH = 0.05
_HISTOGRAM_BINS, _HISTOGRAM_SIGMA = 500, 8
# A mode counts from half the height of the highest on, and where it stands out of its flanks by a twentieth of that.
_TALL, _DISTINCT = 0.5, 0.05
_MOST_CLIPPED = 0.05
# The 0.1 and 99.9 percentiles lie up to 6.3 times as far from the median as the 10 and 90 percentiles do, in brains of
# newborns, adults and mice of every contrast at hand; what lies 8 times as far is no tissue.
_BULK = (10, 50, 90)
_FARTHEST = 8.0


def without_outliers(image: Image, mask: np.ndarray) -> Image:
    """``image`` with the brain's outliers (dead voxels, failed divisions) clipped to the range of all others.

    An image is changed only where its 0.1 or 99.9 percentile, which the scaling starts from, is an outlier: more than
    8 times as far from the median as the 10 or the 90 percentile. Resampling would smear outliers over their
    neighbours, so they go before it. At most a tenth of the brain at either end can be taken for outliers.

    Args:
        mask: the brain, ``(X, Y, Z)`` bool.
    """
    brain = image.data[mask]
    bottom, top = _fences(brain)
    if bottom == -np.inf and top == np.inf:
        return image
    low, high = _range(brain)
    clipped = np.clip(image.data, low if bottom > -np.inf else None, high if top < np.inf else None)
    return Image(np.where(mask, clipped, image.data), image.grid)


def robust(image: Image, mask: np.ndarray, name: str) -> Image:
    """``image`` with the brain's 0.1 and 99.9 percentiles moved to 0 and 1, clipped there, and background exactly 0.

    Brain voxels stay above zero (at least 0.001), because further on the brain is what is above zero. Outliers
    (:func:`without_outliers`) do not count for the percentiles.

    Raises:
        InputError: the brain is constant.
    """
    low, high = _range(image.data[mask])
    if not high > low:
        raise InputError(f"The brain of {name} is constant ({low:g} everywhere); give a scan with contrast.")
    scaled = np.clip((image.data - low) / (high - low), _LEAST_IN_BRAIN, 1)
    return Image(np.where(mask, scaled, 0), image.grid)


def white_stripe(image: Image, mask: np.ndarray, modality: str, name: str) -> Image:
    """``image`` with white matter at 0.8 and the brain's 0.1 percentile at 0 (T1w), or at 0.25 and its 99.9 at 1 (T2w).

    White matter is the white stripe of Shinohara et al. (NeuroImage: Clinical 6, 2014): the brain's voxels within 5 %
    of quantiles about white matter's mode in the smoothed histogram, here the brightest (T1w) or darkest (T2w) of the
    tall modes. They divide by the stripe's SD, which tells how sharp the mode is; here the scale comes from the fluid's
    end of the histogram, so that the image ends as that of :func:`robust` does: in [0, 1], clipped there (0.8 and 0.25
    leave room at the other end), the brain at least 0.001 and the background exactly 0.

    Wants a scan without bias field, or grey and white matter share one mode, and a person whose white matter is
    myelinated: not newborns.

    Raises:
        InputError: the brain is constant, ``modality`` has no white stripe, or more than 5 % of the brain would be
            clipped: that was not white matter.
    """
    if modality not in _STRIPES:
        raise InputError(f"White stripe has no level for modality {modality!r}{nearest(modality, _STRIPES)}.")
    stripe, brain = _STRIPES[modality], image.data[mask]
    low, high = _range(brain)
    if not high > low:
        raise InputError(f"The brain of {name} is constant ({low:g} everywhere); give a scan with contrast.")
    white = _white_matter(brain, low, high, stripe)
    fluid, fluid_level = (low, 0.0) if stripe.bright else (high, 1.0)
    scaled = stripe.level + (fluid_level - stripe.level) * (image.data - white) / (fluid - white)
    _require_inside(scaled[mask], name)
    return Image(np.where(mask, np.clip(scaled, _LEAST_IN_BRAIN, 1), 0), image.grid)


def _fences(brain: np.ndarray) -> tuple[float, float]:
    """Beyond which values of ``brain (N,)`` are outliers; infinite at an end that has too few to matter."""
    low, high = np.percentile(brain, _PERCENTILES)
    lower, middle, upper = np.percentile(brain, _BULK)
    bottom, top = middle - _FARTHEST * (middle - lower), middle + _FARTHEST * (upper - middle)
    return (
        bottom if low < bottom and lower < middle else -np.inf,
        top if high > top and upper > middle else np.inf,
    )


def _range(brain: np.ndarray) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles of ``brain (N,)`` without its outliers."""
    bottom, top = _fences(brain)
    if bottom > -np.inf or top < np.inf:
        brain = brain[(brain >= bottom) & (brain <= top)]
    low, high = np.percentile(brain, _PERCENTILES)
    return low, high


@dataclass(frozen=True)
class _Stripe:
    """What white matter is in a contrast: the brightest or darkest tissue, and its level in the result."""

    bright: bool
    level: float


_STRIPES = {"T1w": _Stripe(bright=True, level=0.8), "T2w": _Stripe(bright=False, level=0.25)}


def _white_matter(brain: np.ndarray, low: float, high: float, stripe: _Stripe) -> float:
    quantile = float((brain < _white_matter_mode(brain, low, high, stripe)).mean())
    lower, upper = np.quantile(brain, np.clip([quantile - _HALF_WIDTH, quantile + _HALF_WIDTH], 0, 1))
    return float(brain[(brain >= lower) & (brain <= upper)].mean(dtype=np.float64))


def _require_inside(brain: np.ndarray, name: str) -> None:
    clipped = float(((brain < 0) | (brain > 1)).mean())
    if clipped > _MOST_CLIPPED:
        raise InputError(
            f"The white matter of {name} was not found: {clipped:.0%} of the brain would be clipped; correct the bias "
            "field first (bias: n4), check the modality, or set intensity: robust."
        )


def _white_matter_mode(brain: np.ndarray, low: float, high: float, stripe: _Stripe) -> float:
    inside = brain[(brain > low) & (brain < high)]
    counts, edges = np.histogram(inside, _HISTOGRAM_BINS, (low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), _HISTOGRAM_SIGMA, mode="constant")
    peaks, _ = find_peaks(smooth, height=_TALL * smooth.max(), prominence=_DISTINCT * smooth.max())
    peak = peaks[-1 if stripe.bright else 0]
    return float((edges[peak] + edges[peak + 1]) / 2)
