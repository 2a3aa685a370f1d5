"""White stripe, which scales intensities by the mode of white matter (Shinohara et al., NeuroImage:
Clinical 6, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.names import nearest
from diffeode.prepare.intensity import LEAST_IN_BRAIN, inner_range
from diffeode.prepare.step_tool import StepTool

_HALF_WIDTH = 0.05
_HISTOGRAM_BINS, _HISTOGRAM_SIGMA = 500, 8
# A mode of the histogram counts where it is at least half as high as the highest one, and stands
# out from its flanks by a twentieth of that height.
_TALL, _DISTINCT = 0.5, 0.05
_MOST_CLIPPED = 0.05


@final
@dataclass(frozen=True)
class _Stripe:
    """White matter in a contrast.

    Attributes:
        bright: whether it is the brightest tissue; else it is the darkest.
        level: its intensity in the result.
    """

    bright: bool
    level: float


_STRIPES = {"T1w": _Stripe(bright=True, level=0.8), "T2w": _Stripe(bright=False, level=0.25)}


def white_stripe(image: Image, brain: np.ndarray, modality: str, scan_name: str) -> Image:
    """Return ``image`` scaled by its white matter.

    In a T1w, white matter becomes 0.8 and the brain's 0.1 percentile 0; in a T2w, white matter
    becomes 0.25 and the brain's 99.9 percentile 1. As after
    :func:`diffeode.prepare.intensity.robust`, intensities are clipped to [0, 1], the brain is at
    least 0.001, and the background is exactly 0.

    White matter is found as the white stripe of Shinohara et al. (NeuroImage: Clinical 6, 2014):
    the brain's voxels within 5 % of quantiles about white matter's mode in the smoothed histogram.
    That mode is the brightest (T1w) or the darkest (T2w) of the tall modes. Shinohara et al. divide
    by the standard deviation of the stripe, which only tells how sharp the mode is; here the fluid
    at the other end of the histogram sets the scale. The levels 0.8 and 0.25 leave room for what is
    brighter, or darker, than white matter.

    The scan must be free of its bias field, with which grey and white matter share one mode. The
    person's white matter must be myelinated, so this does not suit newborns.

    Raises:
        InputError: the brain is constant, ``modality`` has no white stripe, or more than 5 % of the
            brain would be clipped, so that white matter was not found.
    """
    if modality not in _STRIPES:
        raise InputError(
            f"White stripe has no level for modality {modality!r}{nearest(modality, _STRIPES)}."
        )
    stripe, values = _STRIPES[modality], image.data[brain]
    low, high = inner_range(values)
    if not high > low:
        raise InputError(
            f"The brain of {scan_name} is constant ({low:g} everywhere); give a scan with contrast."
        )
    white = _white_matter(values, low, high, stripe)
    fluid, fluid_level = (low, 0.0) if stripe.bright else (high, 1.0)
    scaled = stripe.level + (fluid_level - stripe.level) * (image.data - white) / (fluid - white)
    _require_inside(scaled[brain], scan_name)
    return Image(np.where(brain, np.clip(scaled, LEAST_IN_BRAIN, 1), 0), image.grid)


def _white_matter(values: np.ndarray, low: float, high: float, stripe: _Stripe) -> float:
    quantile = float((values < _white_matter_mode(values, low, high, stripe)).mean())
    lower, upper = np.quantile(
        values, np.clip([quantile - _HALF_WIDTH, quantile + _HALF_WIDTH], 0, 1)
    )
    return float(values[(values >= lower) & (values <= upper)].mean(dtype=np.float64))


def _white_matter_mode(values: np.ndarray, low: float, high: float, stripe: _Stripe) -> float:
    # imported here, because planning a study reads this file and scipy.signal loads scipy.stats
    from scipy.signal import find_peaks

    inside = values[(values > low) & (values < high)]
    counts, edges = np.histogram(inside, _HISTOGRAM_BINS, (low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), _HISTOGRAM_SIGMA, mode="constant")
    peaks, _ = find_peaks(smooth, height=_TALL * smooth.max(), prominence=_DISTINCT * smooth.max())
    peak = peaks[-1 if stripe.bright else 0]
    return float((edges[peak] + edges[peak + 1]) / 2)


def _require_inside(scaled: np.ndarray, scan_name: str) -> None:
    clipped = float(((scaled < 0) | (scaled > 1)).mean())
    if clipped > _MOST_CLIPPED:
        raise InputError(
            f"The white matter of {scan_name} was not found: {clipped:.0%} of the brain would be "
            "clipped; correct the bias field first (bias: n4), check the modality, or set "
            "intensity: robust."
        )


TOOL = StepTool(
    step="intensity",
    name="white-stripe",
    clause="the mode of white matter and the brain's percentile at the fluid's end of the "
    "histogram set the scale of intensities",
    function=white_stripe,
    citations=(
        "Shinohara et al., Statistical normalization techniques for magnetic resonance imaging, "
        "NeuroImage: Clinical 6, 2014",
    ),
)
