"""How much better: the median paired difference and its bootstrap interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

_RESAMPLES = 9999


class Effect(NamedTuple):
    """A median paired difference and its 95 % interval; NaN limits where fewer than two pairs are
    there.
    """

    median: float
    low: float
    high: float


def median_difference(run: np.ndarray, other: np.ndarray, seed: int) -> Effect:
    """Median of ``run - other`` over pairs, both ``(n,)``, with a percentile bootstrap over pairs
    (Efron 1979).
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
