"""Intensities on a common scale."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.image import Image

_PERCENTILES = (0.1, 99.9)
_LEAST_IN_BRAIN = 1e-3


def robust(image: Image, mask: np.ndarray, name: str) -> Image:
    """``image`` with the brain's 0.1 and 99.9 percentiles moved to 0 and 1, clipped there, and background exactly 0.

    Brain voxels stay above zero (at least 0.001), because further on the brain is what is above zero.

    Raises:
        InputError: the brain is constant.
    """
    low, high = np.percentile(image.data[mask], _PERCENTILES)
    if not high > low:
        raise InputError(f"The brain of {name} is constant ({low:g} everywhere); give a scan with contrast.")
    scaled = np.clip((image.data - low) / (high - low), _LEAST_IN_BRAIN, 1)
    return Image(np.where(mask, scaled, 0), image.grid)
