"""Accuracy and regularity of the runs of a sweep, in one table.

A sweep is given as *points*, a table with one row for each run and setting: columns ``series``
(what is swept, such as a method), ``run``, ``parameter`` (the setting's name) and ``value``.
"""

from __future__ import annotations

import pandas as pd

from diffeode.errors import InputError
from diffeode.names import nearest
from diffeode.statistics.reported import as_settings, comparable, shown_number
from diffeode.statistics.tidy import counts, whole_image

POINTS = ("series", "run", "parameter", "value")
"""Columns of the table that describes sweeps."""
FOLDS = "folds_central_grid_percent"
_MEASURES = {"dice": ("mean", "std"), FOLDS: ("mean", "std"), "seconds": ("median",)}
_SUFFIX = {"mean": "mean", "std": "sd", "median": "median"}


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
        Columns ``experiment series run``, one for each parameter, ``pairs n``, ``dice_mean
        dice_sd``, the same of folds, and ``seconds_median``; runs without any value have NaN.
    """
    settings = settings_of(points)
    numbers = counts(metrics)[["pairs", "n"]]
    for metric, statistics in _MEASURES.items():
        grouped = whole_image(metrics, metric).groupby(["experiment", "run"])["value"]
        for statistic in statistics:
            numbers[f"{metric}_{_SUFFIX[statistic]}"] = grouped.agg(statistic)
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
    """Return ``table`` with one more column: what is reported of ``metric`` for the row's settings.

    A reported number belongs to a row where all its settings (``steps=2;iterations=250``) are among
    the row's parameters with equal values; only the last part of a dotted parameter counts.
    """
    rows = comparable(reported)
    rows = rows[rows["metric"] == metric]
    said = [
        (as_settings(row["settings"]), shown_number(metric, row["value"], row["spread"]))
        for row in rows.to_dict("records")
        if as_settings(row["settings"])
    ]
    short = {name: name.rpartition(".")[2] for name in table.columns}

    def cell(row: pd.Series) -> str:
        own = {short[name]: str(value) for name, value in row.items() if str(value) != ""}
        found = [text for settings, text in said if settings.items() <= own.items()]
        return "; ".join(found)

    return table.assign(**{column: [cell(row) for _, row in table.iterrows()]})


def crossed(table: pd.DataFrame, down: str, across: str) -> pd.DataFrame:
    """Return ``Dice / folds / seconds`` of each combination of two parameters (Table 2 of arXiv
    2108.03443).

    Args:
        table: from :func:`sweep_table`.
        down, across: the parameters whose values are the rows and the columns.

    Returns:
        Columns ``experiment series <down>`` and one for each value of ``across``.
    """
    cells = [
        " / ".join(
            (
                shown_number("dice", row["dice_mean"]),
                f"{shown_number(FOLDS, row[f'{FOLDS}_mean'])} %",
                f"{shown_number('seconds', row['seconds_median'])} s",
            )
        )
        for row in table.to_dict("records")
    ]
    keys = ["experiment", "series", down]
    wide = table.assign(cell=cells).pivot(index=keys, columns=across, values="cell")
    heads = [f"{across.rpartition('.')[2]} {value}" for value in wide.columns]
    wide = wide.set_axis(heads, axis="columns").fillna("")
    return wide.reindex(table[keys].drop_duplicates().itertuples(index=False)).reset_index()
