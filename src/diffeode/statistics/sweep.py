"""Accuracy and regularity of the runs of a sweep, in one table.

A sweep is given as *points*, a table with one row for each run and setting: columns ``series``
(what is swept, such as a method), ``run``, ``parameter`` (the setting's name) and ``value``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.names import nearest
from diffeode.statistics.export import MISSING, format_number
from diffeode.statistics.reported import SOURCES, as_settings, comparable, shown_number
from diffeode.statistics.tidy import counts, missing_pairs, whole_image

POINTS = ("series", "run", "parameter", "value")
"""Columns of the table that describes sweeps."""
FOLDS = "folds_central_grid_percent"
_SUBSET = "dice_subset"
_MEASURES = {
    "dice": ("mean", "std"),
    _SUBSET: ("mean", "std"),
    FOLDS: ("mean", "std"),
    "seconds": ("median",),
}
_IN_CELL = {"dice": "", FOLDS: " %", "seconds": " s"}
"""The metrics in a cell of the crossed table, with what follows each number."""
_SUFFIX = {"mean": "mean", "std": "sd", "median": "median"}


def points_table(rows: Sequence[Sequence[float | str]]) -> pd.DataFrame:
    """Return rows of series, run, setting and value as a table in which every value keeps its type:
    2 steps stay 2 beside a barrier of 0.5.
    """
    return pd.DataFrame(rows, columns=list(POINTS), dtype=object)


def settings_of(points: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each run, in the order of ``points``: ``series run`` and a column for each
    parameter.

    A run that does not vary a parameter has an empty word there.

    Raises:
        InputError: ``points`` lacks a column, or gives a run two values of one parameter.
    """
    for column in POINTS:
        if column not in points:
            raise InputError(
                f"The table of sweeps has no column {column!r}{nearest(column, points.columns)}."
            )
    again = points.duplicated(["run", "parameter"])
    if again.any():
        run, parameter = points.loc[again, ["run", "parameter"]].iloc[0]
        raise InputError(f"The table of sweeps gives run {run} two values of {parameter}.")
    wide = points.pivot(index="run", columns="parameter", values="value")
    order = points.drop_duplicates("run")[["series", "run"]].reset_index(drop=True)
    wide = wide[list(dict.fromkeys(points["parameter"]))].reindex(order["run"]).reset_index()
    return order.merge(wide, on="run").astype(object).where(lambda t: t.notna(), "")


def sweep_table(metrics: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Return Dice, folds and time of every run of ``points`` in every experiment of ``metrics``.

    Returns:
        Columns ``experiment series run``, one for each parameter, ``pairs n``, ``dice_mean dice_sd
        dice_missing`` (the number of pairs without a value), the same of ``dice_subset`` where the
        label table has a subset, and of folds, and ``seconds_median``; runs without any value have
        NaN.
    """
    settings = settings_of(points)
    numbers = counts(metrics)[["pairs", "n"]]
    for metric, statistics in _MEASURES.items():
        values = whole_image(metrics, metric)
        if metric == _SUBSET and values.empty:
            continue
        grouped = values.groupby(["experiment", "run"])["value"]
        for statistic in statistics:
            numbers[f"{metric}_{_SUFFIX[statistic]}"] = grouped.agg(statistic)
        if "mean" in statistics:
            numbers[f"{metric}_missing"] = missing_pairs(numbers["pairs"], values)
    experiments = metrics["experiment"].drop_duplicates()
    rows = settings.merge(experiments, how="cross")
    table = rows.merge(numbers.reset_index(), on=["experiment", "run"], how="left")
    table = table[["experiment", *settings.columns, *numbers.columns]]
    order = {name: place for place, name in enumerate(experiments)}
    return table.sort_values("experiment", key=lambda e: e.map(order), kind="stable").reset_index(
        drop=True
    )


def beside_settings(
    table: pd.DataFrame, reported: pd.DataFrame, metric: str, column: str
) -> pd.DataFrame:
    """Return ``table`` with one more column: the values of ``metric`` that are reported for the
    settings of each row.

    A reported number belongs to a row where all its settings (``steps=2;iterations=250``) are among
    the row's parameters with equal values; only the last part of a dotted parameter counts.
    """
    said = [
        (settings, shown_number(metric, row["value"], row["spread"]))
        for settings, row in _of_settings(reported, metric)
    ]
    cells = [
        "; ".join(text for settings, text in said if settings.items() <= own.items())
        for own in map(_own_settings, table.to_dict("records"))
    ]
    return table.assign(**{column: cells})


def crossed(
    table: pd.DataFrame, down: str, across: str, reported: pd.DataFrame, column: str
) -> pd.DataFrame:
    """Return ``Dice / folds / seconds`` of each combination of two parameters (Table 2 of arXiv
    2108.03443).

    Where the label table has a subset, which stands for the structures of a paper, Dice is that of
    the subset.

    Args:
        table: from :func:`sweep_table`.
        down, across: the parameters whose values are the rows and the columns.
        reported: from :func:`diffeode.statistics.reported.read_reported`.
        column: the beginning of the headings of reported columns.

    Returns:
        Columns ``experiment series pairs <down>``, one for each value of ``across``, and where
        something is reported for the parameters' values, as many columns of that. A cell that lacks
        pairs says how many it has; an empty cell has none.
    """
    said = [dict(_of_settings_at(reported, metric)) for metric in _IN_CELL]
    rows = table.to_dict("records")
    points = [frozenset(_short({down: row[down], across: row[across]}).items()) for row in rows]
    theirs = [_as_reported([numbers.get(point) for numbers in said]) for point in points]
    keys, head = ["experiment", "series", "pairs", down], across.rpartition(".")[2]
    # a run without any row has no number of pairs of its own
    table = table.assign(pairs=table.groupby("experiment")["pairs"].transform("max").astype(int))
    wide = _wide(table.assign(cell=[_cell(row) for row in rows]), keys, across, head)
    if any(theirs):
        beside = _wide(table.assign(cell=theirs), keys, across, f"{column} {head}")
        wide = pd.concat([wide, beside], axis="columns")
    return wide.reset_index()


def sources_of(reported: pd.DataFrame, parameters: Iterable[str]) -> str:
    """Return the places of the numbers that are reported for settings of these parameters, such as
    ``arXiv 2108.03443, Table 2 (neurite-oasis)``; empty where there are none.
    """
    short = {name.rpartition(".")[2] for name in parameters}
    rows = [
        row for row in reported.to_dict("records") if as_settings(row["settings"]).keys() == short
    ]
    places = (
        f"{SOURCES[row['source']]}, {row['place']}"
        + (f" ({row['experiment']})" if row["experiment"] else "")
        for row in rows
    )
    return "; ".join(dict.fromkeys(places))


def _wide(table: pd.DataFrame, keys: list[str], across: str, head: str) -> pd.DataFrame:
    wide = table.pivot(index=keys, columns=across, values="cell")
    wide = wide[list(dict.fromkeys(table[across]))]
    wide = wide.set_axis([f"{head} {value}" for value in wide.columns], axis="columns").fillna("")
    return wide.reindex(table[keys].drop_duplicates().itertuples(index=False))


def _cell(row: Mapping[str, Any]) -> str:
    """Return Dice, folds and time of a run, and the number of pairs where a mean lacks some."""
    if not row["n"] > 0:
        return ""
    dice = "dice" if pd.isna(row.get(f"{_SUBSET}_mean")) else _SUBSET
    means = {metric: row[f"{metric}_mean"] for metric in (dice, FOLDS)}
    lacking = [
        row["pairs"] - row["n"],
        *(row[f"{metric}_missing"] for metric, mean in means.items() if pd.notna(mean)),
    ]
    measured = row["pairs"] - max(lacking)
    of_pairs = "" if measured == row["pairs"] else f" ({measured:.0f} of {row['pairs']:.0f} pairs)"
    return _triple((*means.values(), row["seconds_median"]), format_number) + of_pairs


def _as_reported(numbers: Iterable[float | None]) -> str:
    return _triple(numbers, lambda number, metric: shown_number(metric, number).removesuffix(".0"))


def _triple(numbers: Iterable[float | None], shown: Callable[[float, str], str]) -> str:
    """Return Dice, folds and seconds with their units, with a dash for each that is missing; empty
    where all are missing.

    Args:
        shown: a function that writes a number of a metric.
    """
    known = [None if number is None or pd.isna(number) else number for number in numbers]
    if not any(number is not None for number in known):
        return ""
    return " / ".join(
        MISSING if number is None else f"{shown(number, metric)}{unit}"
        for number, (metric, unit) in zip(known, _IN_CELL.items(), strict=True)
    )


def _of_settings(
    reported: pd.DataFrame, metric: str
) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield the rows of ``metric`` that are reported for settings, each after its settings."""
    rows = comparable(reported) if metric in METRICS else reported
    for row in rows[rows["metric"] == metric].to_dict("records"):
        if settings := as_settings(row["settings"]):
            yield settings, row


def _of_settings_at(
    reported: pd.DataFrame, metric: str
) -> Iterator[tuple[frozenset[tuple[str, str]], float]]:
    for settings, row in _of_settings(reported, metric):
        yield frozenset(settings.items()), row["value"]


def _own_settings(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in _short(row).items() if value != ""}


def _short(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as texts by the last parts of their dotted names, or by the whole names
    where two end alike.
    """
    last = Counter(name.rpartition(".")[2] for name in values)
    return {
        end if last[end := name.rpartition(".")[2]] == 1 else name: str(value)
        for name, value in values.items()
    }
