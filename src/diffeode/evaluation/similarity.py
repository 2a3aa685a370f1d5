"""How well two scans of different contrast fit, where no labels tell."""

from __future__ import annotations

import numpy as np

_BINS = 32
"""Enough for two contrasts, and at 60 000 brain voxels the bias of the entropies stays under 0.01
nats.
"""


def normalised_mutual_information(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray, bins: int = _BINS
) -> float:
    """``(H(first) + H(second)) / H(first, second)`` over ``mask``: 1 for independent images, 2 for
    one-to-one ones.

    Studholme, Hill and Hawkes, Pattern Recognition 32, 1999. Joint histogram of ``bins`` x ``bins``
    over [0, 1], the range of prepared scans; NaN where both images are constant in the mask.
    """
    joint = _binned(first[mask], bins) * bins + _binned(second[mask], bins)
    table = np.bincount(joint, minlength=bins**2).reshape(bins, bins)
    together = _entropy(table)
    if together == 0:
        return float("nan")
    return (_entropy(table.sum(axis=0)) + _entropy(table.sum(axis=1))) / together


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    return np.clip((values * bins).astype(np.int64), 0, bins - 1)


def _entropy(counts: np.ndarray) -> float:
    occupied = counts[counts > 0] / counts.sum()
    return float(-(occupied * np.log(occupied)).sum())
