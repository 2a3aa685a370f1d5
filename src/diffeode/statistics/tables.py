"""The tables as they are shown: the columns that the question needs, runs under their titles, and
what others report in columns of their own.

The numbers of every metric stand in the TSV files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from diffeode.statistics.export import MISSING, REPORTED, format_number
from diffeode.statistics.reported import SOURCES, beside
from diffeode.statistics.sweep import beside_settings
from diffeode.statistics.sweep import crossed as crossed_settings

_QUALITY = (
    *("dice", "dice_subset", "hd95_mm", "tre_mm"),
    *("folds_central_grid_percent", "folds_central_grid_sum"),
)
_WITHOUT_TRUTH = ("nmi", "sdlogj", "inverse_consistency_mm")
"""What is shown besides where there are neither labels nor landmarks."""
_OF_MODELS = {
    "dice": "Dice",
    "folds_central_grid_percent": "|J| ≤ 0 (% of grid)",
    "parameters_per_voxel": "parameters / voxel",
}
_TIMES = ("seconds_mean", "seconds_median")
"""The paper gives means (section V-A), which one busy minute of the machine moves."""
BOLD = _QUALITY
"""The metrics whose best mean is bold."""


def main_results(
    summary: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    reported: pd.DataFrame,
) -> pd.DataFrame:
    """Return accuracy, folds and time of every method (Table II of arXiv 2512.22689, Table 1 of
    arXiv 2108.03443, and the table of the poster).

    Args:
        summary: from :func:`diffeode.statistics.summary.summarise`.
        titles, experiments: run and experiment to shown title.
        reported: from :func:`diffeode.statistics.reported.read_reported`.

    Returns:
        Columns ``experiment method pairs``, means, SD and numbers of missing pairs, ``seconds_mean
        seconds_median``, and, where there is something reported, ``reported Dice`` and ``reported
        |J| ≤ 0 (%)``.
    """
    table = beside(summary, reported, "dice", f"{REPORTED} Dice")
    table = beside(table, reported, "folds_central_grid_percent", f"{REPORTED} |J| ≤ 0 (% of grid)")
    said = [name for name in table if name.startswith(REPORTED) and (table[name] != "").any()]
    shown = _QUALITY if _has_truth(table) else (*_QUALITY, *_WITHOUT_TRUTH)
    measured = [
        name
        for metric in shown
        if f"{metric}_mean" in table and table[f"{metric}_mean"].notna().any()
        for name in _columns_of(metric)
        if table[name].notna().any()
    ]
    found = pd.DataFrame(
        {
            "experiment": table["experiment"].map(lambda name: experiments.get(name, name)),
            "method": table["run"].map(lambda name: titles.get(name, name)),
            "pairs": [_of(n, pairs) for n, pairs in zip(table["n"], table["pairs"], strict=True)],
        }
    )
    costs = [name for name in _TIMES if name in table]
    numbers = table[[*measured, *costs, *said]]
    return pd.concat([found, numbers.replace("", MISSING)], axis="columns")


def _has_truth(summary: pd.DataFrame) -> bool:
    """Return whether labels or landmarks judge a method anywhere."""
    means = ("dice_mean", "tre_mm_mean")
    return any(name in summary and summary[name].notna().any() for name in means)


def experiments(
    rows: Sequence[Sequence[str]], columns: Sequence[str], reported: pd.DataFrame
) -> pd.DataFrame:
    """Return what is registered to what, and what others report (Table I of arXiv 2512.22689).

    Args:
        rows: of :func:`diffeode.study.experiments_table.experiments_table`, under ``columns``.

    Returns:
        ``columns`` but the experiment's ``name``, and ``reported pairs`` where there are any.
    """
    table = pd.DataFrame(rows, columns=list(columns))
    said = reported[(reported["metric"] == "pairs") & (reported["experiment"] != "")]
    numbers = {
        row["experiment"]: f"{row['value']:.0f} ({SOURCES[row['source']]}, {row['place']})"
        for row in said.to_dict("records")
    }
    cells = table.pop("name").map(numbers).fillna(MISSING)
    return table.assign(**{f"{REPORTED} pairs": cells}) if (cells != MISSING).any() else table


def crossed(
    table: pd.DataFrame,
    down: str,
    across: str,
    experiments: Mapping[str, str],
    reported: pd.DataFrame,
) -> pd.DataFrame:
    """Return Dice, folds and time of two settings, one down and one across (Table 2 of arXiv
    2108.03443).

    Args:
        table: from :func:`diffeode.statistics.sweep.sweep_table`, of one sweep of two settings.
        experiments: experiment to shown title.
    """
    wide = crossed_settings(table, down, across, reported, REPORTED)
    named = wide["experiment"].map(lambda name: experiments.get(name, name))
    return (
        wide.assign(experiment=named)
        .replace("", MISSING)
        .rename(columns={"series": "method", down: down.rpartition(".")[2]})
    )


def sweep(
    table: pd.DataFrame, experiments: Mapping[str, str], reported: pd.DataFrame
) -> pd.DataFrame:
    """Return accuracy, folds and time for each value of a setting (Table III of arXiv 2512.22689,
    Tables 2 and 3 of arXiv 2108.03443).

    Args:
        table: from :func:`diffeode.statistics.sweep.sweep_table`.
        experiments: experiment to shown title.
    """
    folds = "folds_central_grid_percent"
    table = beside_settings(table, reported, "dice", f"{REPORTED} Dice")
    table = beside_settings(table, reported, folds, f"{REPORTED} |J| ≤ 0 (% of grid)")
    said = [name for name in table if name.startswith(REPORTED) and (table[name] == "").all()]
    pairs = [_of(n, all_) for n, all_ in zip(table["n"], table["pairs"], strict=True)]
    return (
        table.assign(
            experiment=table["experiment"].map(lambda name: experiments.get(name, name)),
            pairs=pairs,
        )
        .drop(columns=["run", "n", *said])
        .map(lambda cell: MISSING if cell == "" else cell)
        .rename(columns={"series": "method"})
    )


def models(
    summary: pd.DataFrame,
    sizes: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    reported: pd.DataFrame,
) -> pd.DataFrame:
    """Return accuracy, folds and number of parameters by the representation of the velocity
    (Table 3 of arXiv 2108.03443).

    Args:
        summary: from :func:`diffeode.statistics.summary.summarise`.
        sizes: one row for each experiment and run that is shown, in their order: ``experiment run
            velocity steps parameters parameters_per_voxel``.
        titles, experiments: run and experiment to shown title.
    """
    table = sizes.merge(summary, on=["experiment", "run"], how="left")
    for metric, heading in _OF_MODELS.items():
        table = beside_settings(table, reported, metric, f"{REPORTED} {heading}")
    said = [name for name in table if name.startswith(REPORTED) and (table[name] != "").any()]
    measured = [
        name
        for metric in ("dice", "dice_subset", "folds_central_grid_percent")
        if f"{metric}_mean" in table
        and (metric != "dice_subset" or table[f"{metric}_mean"].notna().any())
        for name in _columns_of(metric)
    ]
    found = pd.DataFrame(
        {
            "experiment": table["experiment"].map(lambda name: experiments.get(name, name)),
            "method": table["run"].map(lambda name: titles.get(name, name)),
            "velocity": table["velocity"],
            "steps": table["steps"].astype(str),
            "pairs": [_of(n, pairs) for n, pairs in zip(table["n"], table["pairs"], strict=True)],
        }
    )
    counted = {
        "parameters": [_known(number, "{:,.0f}") for number in table["parameters"]],
        "parameters / voxel": [
            _known(number, "{:.2f}") for number in table["parameters_per_voxel"]
        ],
    }
    shown = [found, table[measured], pd.DataFrame(counted), table[said].replace("", MISSING)]
    return pd.concat(shown, axis="columns")


def structures(
    by_label: pd.DataFrame,
    absent: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    runs: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the mean Dice of every structure, with a column for each method.

    Labels of one name get their ids added to it.

    Args:
        by_label: from :func:`diffeode.statistics.summary.dice_by_label`.
        absent: from :func:`diffeode.statistics.summary.absent_labels`; such a label has a row that
            says so.
        titles, experiments: run and experiment to shown title.
        runs: the runs that have a column, in their order; all where it is empty.
    """
    by_label, absent = _told_apart(by_label, absent)
    by_label = by_label[by_label["run"].isin(runs)] if runs else by_label
    rows = by_label.assign(
        experiment=by_label["experiment"].map(lambda name: experiments.get(name, name)),
        method=by_label["run"].map(lambda name: titles.get(name, name)),
        dice=[format_number(mean, "dice") for mean in by_label["dice_mean"].astype(float)],
    )
    keys = ["experiment", "structure"]
    if rows.empty:
        return pd.DataFrame(columns=["experiment", "structure"])
    wide = rows.pivot_table(
        index=keys, columns="method", values="dice", aggfunc="first", sort=False
    )
    found = dict(zip(rows["run"], rows["method"], strict=True))
    methods = [found[run] for run in runs or found if run in found]
    order = list(dict.fromkeys(rows[keys].itertuples(index=False, name=None)))
    wide = wide.reindex(index=order, columns=methods).fillna(MISSING)
    shown = wide.reset_index()
    lacking = pd.DataFrame(
        {
            "experiment": absent["experiment"].map(lambda name: experiments.get(name, name)),
            "structure": absent["structure"] + " (no scan has it)",
        }
    )
    return pd.concat([shown, lacking]).fillna(MISSING).reset_index(drop=True)


def comparisons(
    tests: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    ours: str | None,
) -> pd.DataFrame:
    """Return the tests of ``ours`` against every other run, or all tests where ``ours`` is None.

    Args:
        tests: from :func:`diffeode.statistics.wilcoxon.compare_runs`.

    Returns:
        Columns ``experiment method other``, ``common pairs`` (which both runs registered),
        ``median difference`` with its interval, ``rank-biserial``, ``p`` and ``p (Holm)``. Where
        too few pairs differ for a test, ``p`` holds a dash and their number.
    """
    chosen = tests if ours is None or ours not in set(tests["run"]) else tests[tests["run"] == ours]
    return pd.DataFrame(
        {
            "experiment": chosen["experiment"].map(lambda name: experiments.get(name, name)),
            "method": chosen["run"].map(lambda name: titles.get(name, name)),
            "other": chosen["other"].map(lambda name: titles.get(name, name)),
            "common pairs": chosen["pairs"].astype(str),
            "median difference": [_interval(row) for row in chosen.to_dict("records")],
            "rank-biserial": [
                f"{r:.2f}" if pd.notna(r) else MISSING for r in chosen["rank_biserial"]
            ],
            "p": [_p(p, n) for p, n in zip(chosen["p"], chosen["n"], strict=True)],
            "p (Holm)": [_p(p, n) for p, n in zip(chosen["p_holm"], chosen["n"], strict=True)],
        }
    ).reset_index(drop=True)


def largest(bound: pd.DataFrame, titles: Mapping[str, str], ours: str | None) -> pd.DataFrame:
    """Return the largest p over the experiments of ``ours`` against every other run, or all rows.

    Args:
        bound: from :func:`diffeode.statistics.wilcoxon.upper_bound`.
    """
    chosen = bound if ours is None or ours not in set(bound["run"]) else bound[bound["run"] == ours]
    return pd.DataFrame(
        {
            "method": chosen["run"].map(lambda name: titles.get(name, name)),
            "other": chosen["other"].map(lambda name: titles.get(name, name)),
            "experiments": chosen["experiments"].astype(str),
            "largest p": [_p(p, n) for p, n in zip(chosen["p"], chosen["n"], strict=True)],
            "largest p (Holm)": [
                _p(p, n) for p, n in zip(chosen["p_holm"], chosen["n"], strict=True)
            ],
        }
    ).reset_index(drop=True)


def _told_apart(by_label: pd.DataFrame, absent: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with the column ``structure``: the label's name, with its id where labels
    of one experiment share a name.
    """
    labels = pd.concat([by_label, absent], ignore_index=True)
    alike = labels.groupby(["experiment", "label_name"])["label"].transform("nunique") > 1
    names = labels["label_name"].mask(alike, labels["label_name"] + " (" + labels["label"] + ")")
    found = len(by_label)
    return (
        by_label.assign(structure=names.to_numpy()[:found]),
        absent.assign(structure=names.to_numpy()[found:]),
    )


def _columns_of(metric: str) -> tuple[str, str, str]:
    return f"{metric}_mean", f"{metric}_sd", f"{metric}_missing"


def _of(n: float, pairs: float) -> str:
    if np.isnan(n):
        return "0"
    return f"{n:.0f}" if n == pairs else f"{n:.0f} of {pairs:.0f}"


def _p(p: float, n: float) -> str:
    return f"{MISSING} (n = {n:.0f})" if np.isnan(p) else f"{p:.2g}"


def _interval(row: Mapping[str, float]) -> str:
    if np.isnan(row["median_difference"]):
        return MISSING
    middle = f"{row['median_difference']:+.3f}"
    return middle if np.isnan(row["low"]) else f"{middle} [{row['low']:+.3f}, {row['high']:+.3f}]"


def _known(number: float, form: str) -> str:
    """Return ``number`` as ``form`` writes it, or a dash where it is NaN."""
    return MISSING if np.isnan(number) else form.format(number)
