"""One-sided Wilcoxon signed-rank tests of which run is better, as in arXiv 2512.22689, section
IV-D.

The test is Wilcoxon's (Biometrics Bulletin 1(6), 1945). Only pairs that both runs registered enter.
Pairs without a difference are dropped before ranking, as Wilcoxon did, and counted in ``zeros``.
The null distribution is exact where at most 50 differences remain, also where some have the same
size and share the mean of their ranks; otherwise it is normal, with a correction for ties.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats

from diffeode.statistics.effect import median_difference, rank_biserial

MINIMUM_PAIRS = 5
"""With fewer differences no one-sided p can fall below 0.05, for the smallest is ``2**-n``."""
COLUMNS = (
    *("experiment", "run", "other", "pairs", "n", "zeros"),
    *("median_difference", "low", "high", "rank_biserial", "p", "p_holm", "smallest_p"),
)
_EXACT_UP_TO = 50


def compare_runs(values: pd.DataFrame) -> pd.DataFrame:
    """Test for every ordered pair of runs of an experiment whether ``run`` is greater than
    ``other``.

    Args:
        values: columns ``experiment pair run value`` (:func:`diffeode.statistics.tidy.mean_dice`);
            larger values are better.

    Returns:
        Columns ``experiment run other pairs n zeros median_difference low high rank_biserial p
        p_holm smallest_p``. ``pairs`` is the number of pairs that both runs registered, ``n`` the
        number of those with a difference, ``zeros`` the number of those without. The median
        difference has a 95 % bootstrap interval. ``p`` is NaN where ``n`` is less than five,
        ``p_holm`` is ``p`` after Holm's correction for the tests of ``run`` in the experiment, and
        ``smallest_p``, which is ``2**-n``, is the least p that ``n`` differences can give.
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
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    corrected = table.groupby(["experiment", "run"], sort=False)["p"].transform(holm)
    return table.assign(p_holm=corrected.astype(float))


def upper_bound(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the largest p over all experiments: columns ``run other experiments n p p_holm``.

    ``n`` is the least number of differences in an experiment. ``p`` is NaN where an experiment has
    none. ``p_holm`` is ``p`` after Holm's correction for all rows of the same ``run``.
    """
    grouped = comparisons.groupby(["run", "other"], sort=False)
    table = grouped.agg(
        experiments=("p", "size"), n=("n", "min"), p=("p", lambda p: p.max(skipna=False))
    ).reset_index()
    corrected = table.groupby("run", sort=False)["p"].transform(holm)
    return table.assign(p_holm=corrected.astype(float))


def holm(p: pd.Series) -> pd.Series:
    """Return ``p`` after Holm's step-down correction for the number of its values that are not NaN.

    Holm, Scandinavian Journal of Statistics 6(2), 1979.
    """
    ordered = p.dropna().astype(float).sort_values(kind="stable")
    factors = np.arange(len(ordered), 0, -1)
    corrected = (ordered * factors).cummax().clip(upper=1.0)
    return corrected.reindex(p.index)


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
    is_small = moved.size <= _EXACT_UP_TO
    if is_small and np.unique(np.abs(moved)).size < moved.size:
        return _exact_p_of_ties(moved)
    method = "exact" if is_small else "approx"
    return float(stats.wilcoxon(moved, alternative="greater", method=method).pvalue)


def _exact_p_of_ties(moved: np.ndarray) -> float:
    """Return the share of all assignments of signs under which the sum of positive ranks is at
    least that of ``moved (n,)``, which has ties and no zero.

    scipy has no exact test of ties but by trying out all ``2**n`` assignments. Its normal
    approximation falls below the least p that so few differences can give.
    """
    doubled = np.rint(2 * stats.rankdata(np.abs(moved))).astype(int)  # ranks of ties may be halves
    shares = np.zeros(doubled.sum() + 1)
    shares[0] = 1.0
    for rank in doubled:
        shares = (shares + np.concatenate([np.zeros(rank), shares[:-rank]])) / 2
    return float(shares[doubled[moved > 0].sum() :].sum())


def _compare(run: pd.Series, other: pd.Series) -> dict[str, float]:
    both = pd.concat([run, other], axis=1).dropna().to_numpy()
    differences = both[:, 0] - both[:, 1]
    n = int(np.count_nonzero(differences))
    median, low, high = median_difference(both[:, 0], both[:, 1], seed=0)
    return {
        "pairs": differences.size,
        "n": n,
        "zeros": differences.size - n,
        "median_difference": median,
        "low": low,
        "high": high,
        "rank_biserial": rank_biserial(differences),
        "p": signed_rank_p(differences),
        "smallest_p": 0.5**n,
    }
