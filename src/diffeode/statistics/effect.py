"""The size of an effect: the median paired difference with its bootstrap interval, and the
matched-pairs rank-biserial correlation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

_RESAMPLES = 9999


class Effect(NamedTuple):
    """A median paired difference, and the limits of its 95 % interval, which are NaN for fewer than
    two pairs.
    """

    median: float
    low: float
    high: float


def median_difference(run: np.ndarray, other: np.ndarray, seed: int) -> Effect:
    """Return the median of ``run - other`` over pairs, with the interval of a percentile bootstrap
    over pairs (Efron 1979).

    >>> round(median_difference(np.array([0.8, 0.7, 0.9]), np.array([0.6, 0.6, 0.6]), 0).median, 6)
    0.2

    Args:
        run, other: values of the same pairs, ``(n,)``.
    """
    differences = np.asarray(run, dtype=float) - np.asarray(other, dtype=float)
    if differences.size < 2:
        return Effect(
            float(np.median(differences)) if differences.size else float("nan"),
            float("nan"),
            float("nan"),
        )
    interval = stats.bootstrap(
        (differences,),
        np.median,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Effect(float(np.median(differences)), float(interval.low), float(interval.high))


def rank_biserial(differences: np.ndarray) -> float:
    """Return the matched-pairs rank-biserial correlation of ``differences (n,)``, from -1 to 1.

    It is the sum of the ranks of positive differences minus the sum of the ranks of negative ones,
    divided by the sum of all ranks (Kerby 2014). Differences of zero are left out, and the result
    is NaN where all are zero.
    """
    moved = differences[differences != 0]
    if not moved.size:
        return float("nan")
    ranks = stats.rankdata(np.abs(moved))
    return float((np.sign(moved) * ranks).sum() / ranks.sum())
