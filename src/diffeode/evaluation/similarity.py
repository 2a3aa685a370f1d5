"""Similarity of two scans of different contrast, which needs no labels."""

from __future__ import annotations

import numpy as np

_BINS = 32
"""Number of bins. It suffices for two contrasts, and with 60 000 brain voxels the bias of the
entropies stays below 0.01 nats.
"""


def normalised_mutual_information(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray, bins: int = _BINS
) -> float:
    """Return ``(H(first) + H(second)) / H(first, second)`` over ``mask``.

    It is 1 for independent images, 2 where each image determines the other, and NaN where both are
    constant in the mask. The joint histogram has ``bins`` x ``bins`` bins over [0, 1], the range of
    prepared scans. Studholme, Hill and Hawkes, Pattern Recognition 32, 1999.
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
