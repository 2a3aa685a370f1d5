"""Accuracy and folds along every sweep: Dice against folds, and both against the setting (Fig. 9 of
arXiv 2512.22689).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from diffeode.figures import style
from diffeode.figures.experiments import (
    NO_DICE,
    experiment_panels,
    say_no_folds,
    shown_experiments,
)
from diffeode.figures.style import Look
from diffeode.statistics.sweep import FOLDS, settings_of
from diffeode.statistics.tidy import whole_image

_ROW_IN = 1.75
_FOLDS = "Folded voxels (% of grid)"
_DICE = "Mean Dice over structures"
_NO_FOLDS_TOP = 1e-3
_DASHES = ((1, 0), (4, 1.5), (1, 1), (3, 1, 1, 1), (6, 2), (2, 2))


def sweep_curves(
    metrics: pd.DataFrame, points: pd.DataFrame, experiments: Mapping[str, str], out: style.Out
) -> None:
    """Draw one column per experiment and one curve per series, through the values of its setting.

    The rows show median Dice against the median of folds, the least and the largest value written
    beside their points where a voxel folds; Dice against the value; and folds against the value.
    Bands span the quartiles over pairs. Where a sweep varies several settings, the curve runs along
    the first, and each combination of the others is a series.

    Args:
        metrics: the study's tidy table.
        points: the runs of the sweeps (:data:`diffeode.statistics.sweep.POINTS`).
        experiments: experiment to shown title.

    Raises:
        InputError: ``points`` is no table of sweeps, or ``out`` is no figure format or cannot be
            written.
    """
    table = values_along(metrics, points)
    shown = shown_experiments(table, experiments)
    if not shown:
        style.say(out, NO_DICE)
        return
    looks = style.looks({name: name for name in dict.fromkeys(table["series"])})
    with experiment_panels(
        out, 3 * _ROW_IN + 0.9, [experiments[name] for name in shown], 3, sharex="row", sharey="row"
    ) as (figure, panels):
        for column, name in enumerate(shown):
            rows = table[table["experiment"] == name]
            _draw_against_folds(panels[0, column], rows, looks)
            _draw_against_value(panels[1, column], rows, "dice", looks)
            _draw_against_value(panels[2, column], rows, "folds", looks)
            _scale(panels[0, column], table["folds"])
            if rows["folds"].max() == 0:  # and not where they are unknown
                say_no_folds(panels[0, column])
                say_no_folds(panels[2, column])
        panels[2, 0].set_ylim(0, None if (table["folds"] > 0).any() else _NO_FOLDS_TOP)
        for panel, label in zip(panels[:, 0], (_DICE, _DICE, _FOLDS), strict=True):
            panel.set_ylabel(label)
        figure.legend(
            handles=_handles(looks),
            loc="outside lower center",
            ncols=style.legend_columns(looks, most=3),
        )


def values_along(metrics: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Return Dice and folds of every pair along every sweep, in the order of ``points``.

    The columns are ``experiment pair series parameter value dice folds``. ``value`` is the value of
    the first setting that the run varies. The values of the other settings are part of ``series``,
    which ends with the name of the first one.
    """
    settings = settings_of(points)
    parameters = [name for name in settings if name not in ("series", "run")]
    rows = []
    for row in settings.to_dict("records"):
        first, *others = [name for name in parameters if row[name] != ""]
        words = [row["series"], *(f"{_short(name)} {row[name]}" for name in others)]
        series = f"{', '.join(words)}: {_short(first)}"
        rows.append((row["run"], series, _short(first), row[first]))
    named = pd.DataFrame(rows, columns=["run", "series", "parameter", "value"])
    keys = ["experiment", "pair", "run"]
    dice, folds = (
        whole_image(metrics, metric).rename(columns={"value": name})
        for metric, name in (("dice", "dice"), (FOLDS, "folds"))
    )
    found = named.merge(dice, on="run").merge(folds, on=keys, how="left")
    return found[["experiment", "pair", "series", "parameter", "value", "dice", "folds"]]


def _draw_against_folds(panel: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    nothing_folds = rows["folds"].max() == 0
    for place, (series, look) in enumerate(looks.items()):
        own = rows[rows["series"] == series]
        in_order = not _as_numbers(own["value"]).isna().any()
        middle = own.groupby("value", sort=in_order)[["dice", "folds"]].median()
        panel.plot(
            middle["folds"],
            middle["dice"],
            color=look.colour,
            marker=look.marker,
            dashes=_dashes(place),
            lw=1.0,
            ms=4,
            clip_on=False,
        )
        if nothing_folds:
            continue  # all points lie on one line, where the values would lie on each other
        for value, point in middle.iloc[[0, -1]].iterrows():
            panel.annotate(
                f"{value}",
                (point["folds"], point["dice"]),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=5.5,
                color=look.colour,
            )
    panel.set_xlabel(_FOLDS)
    panel.grid()


def _draw_against_value(
    panel: Axes, rows: pd.DataFrame, measure: str, looks: Mapping[str, Look]
) -> None:
    numbers = _as_numbers(rows["value"])
    along = rows["value"].astype(str) if numbers.isna().any() else numbers
    sns.lineplot(
        rows.assign(along=along),
        x="along",
        y=measure,
        hue="series",
        hue_order=list(looks),
        style="series",
        style_order=list(looks),
        palette={name: look.colour for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        dashes=[_dashes(place) for place in range(len(looks))],
        estimator="median",
        errorbar=("pi", 50),
        markersize=4,
        linewidth=1.0,
        legend=False,
        sort=not numbers.isna().any(),
        ax=panel,
    )
    panel.set_xlabel(f"Value of {' or '.join(dict.fromkeys(rows['parameter']))}")
    panel.set_ylabel("")
    panel.grid()


def _scale(panel: Axes, folds: pd.Series) -> None:
    """Scale the axis of folds from exactly 0, linear up to a decade near the median of the positive
    values and logarithmic above it.
    """
    positive = folds[folds > 0]
    floor = 10.0 ** math.floor(math.log10(positive.median())) if len(positive) else 1e-3
    panel.set_xscale("symlog", linthresh=floor)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.set_xlim(left=0)
    panel.spines["left"].set_position(("outward", 6))


def _handles(looks: Mapping[str, Look]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            dashes=_dashes(place),
            ms=4,
            lw=1.0,
            label=name,
        )
        for place, (name, look) in enumerate(looks.items())
    ]


def _dashes(place: int) -> tuple[float, ...]:
    """Return the lengths of dashes and gaps in widths of the line; a solid line has no gap."""
    return _DASHES[place % len(_DASHES)]


def _as_numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce")


def _short(parameter: str) -> str:
    return parameter.rpartition(".")[2].replace("_", " ")
