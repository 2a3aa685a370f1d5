"""One-sided Wilcoxon signed-rank tests of which run is better, as in arXiv 2512.22689, section
IV-C.

The test is Wilcoxon's (Biometrics Bulletin 1(6), 1945). Only pairs that both runs registered enter.
Pairs without a difference are dropped before ranking, as Wilcoxon did, and counted in ``zeros``.
The null distribution is exact where at most 50 differences remain and no two have the same size;
otherwise it is normal, with a correction for ties.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats

from diffeode.statistics.effect import median_difference

MINIMUM_PAIRS = 5
"""With fewer differences no one-sided p can fall below 0.05, for the smallest is ``2**-n``."""
_EXACT_UP_TO = 50


def compare_runs(values: pd.DataFrame) -> pd.DataFrame:
    """Test for every ordered pair of runs of an experiment whether ``run`` is greater than
    ``other``.

    Args:
        values: columns ``experiment pair run value`` (:func:`diffeode.statistics.tidy.mean_dice`);
            larger values are better.

    Returns:
        Columns ``experiment run other n zeros median_difference low high p smallest_p``: ``n``, the
        number of non-zero differences; the median of all differences and its 95 % bootstrap
        interval; ``p``, NaN for fewer than five non-zero differences; and ``smallest_p``, the
        smallest p that ``n`` differences can give, ``2**-n``.
    """
    rows = []
    for experiment, group in values.groupby("experiment", sort=False):
        table = group.pivot(index="pair", columns="run", values="value")[group["run"].unique()]
        for run, other in permutations(table.columns, 2):
            rows.append(
                {
                    "experiment": experiment,
                    "run": run,
                    "other": other,
                    **_compare(table[run], table[other]),
                }
            )
    columns = [
        "experiment",
        "run",
        "other",
        "n",
        "zeros",
        "median_difference",
        "low",
        "high",
        "p",
        "smallest_p",
    ]
    return pd.DataFrame(rows, columns=columns)


def upper_bound(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the largest p over all experiments, columns ``run other experiments p``.

    It is NaN where an experiment has no p.
    """
    grouped = comparisons.groupby(["run", "other"], sort=False)["p"]
    return grouped.agg(experiments="size", p=lambda p: p.max(skipna=False)).reset_index()


def signed_rank_p(differences: np.ndarray) -> float:
    """Return the p of the right-sided test that ``differences (n,)`` are greater than zero.

    It is NaN for fewer than five non-zero differences. Five positive ones give the smallest p that
    five can give, ``2**-5``.

    >>> signed_rank_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    0.03125
    """
    moved = differences[differences != 0]
    if moved.size < MINIMUM_PAIRS:
        return float("nan")
    tied = np.unique(np.abs(moved)).size < moved.size
    method = "approx" if tied or moved.size > _EXACT_UP_TO else "exact"
    return float(stats.wilcoxon(moved, alternative="greater", method=method).pvalue)


def _compare(run: pd.Series, other: pd.Series) -> dict[str, float]:
    both = pd.concat([run, other], axis=1).dropna().to_numpy()
    differences = both[:, 0] - both[:, 1]
    n = int(np.count_nonzero(differences))
    median, low, high = median_difference(both[:, 0], both[:, 1], seed=0)
    return {
        "n": n,
        "zeros": differences.size - n,
        "median_difference": median,
        "low": low,
        "high": high,
        "p": signed_rank_p(differences),
        "smallest_p": 0.5**n,
    }
