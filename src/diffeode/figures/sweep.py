"""Accuracy and folds along every sweep: Dice against folds, and both against the setting (Fig. 9 of
arXiv 2512.22689).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from diffeode.figures import style
from diffeode.figures.experiments import (
    FOLDS_TITLE,
    NO_DICE,
    experiment_panels,
    say_no_folds,
    scale_folds,
    shown_experiments,
)
from diffeode.figures.style import Look
from diffeode.statistics.sweep import FOLDS, settings_of
from diffeode.statistics.tidy import whole_image

_ROW_IN = 1.75
_DICE = "Mean Dice over structures"
_NO_FOLDS_TOP = 1e-3
_CLOSEST = 0.07
"""Least distance of two ticks, as a share of the axis."""
_DASHES = ((1, 0), (4, 1.5), (1, 1), (3, 1, 1, 1), (6, 2), (2, 2))


def sweep_curves(
    metrics: pd.DataFrame, points: pd.DataFrame, experiments: Mapping[str, str], out: style.Out
) -> None:
    """Draw one column per experiment and one curve per series, through the values of its setting.

    Where a method varies several settings one after the other, each setting has a column of its
    own. The rows show median Dice against the median of folds, the least and the largest value
    written beside their points where a voxel folds; Dice against the value; and folds against the
    value. Bands span the quartiles over pairs. Where a sweep varies several settings, the curve
    runs along the first, and each combination of the others is a series.

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
    columns = _columns(table, shown)
    drawn = table.groupby(["experiment", "series", "value"])["folds"].median()
    floor, largest = _floor(table["folds"]), float(drawn.max())
    with experiment_panels(
        out, 3 * _ROW_IN + 0.9, _titles(columns, experiments), 3, sharex=False, sharey="row"
    ) as (figure, panels):
        _share_scales(panels, columns)
        for column, (name, settings) in enumerate(columns):
            rows = table[(table["experiment"] == name) & table["parameter"].isin(settings)]
            _draw_against_folds(panels[0, column], rows, looks)
            _draw_against_value(panels[1, column], rows, "dice", looks)
            _draw_against_value(panels[2, column], rows, "folds", looks)
            scale_folds(panels[0, column], floor, largest)
            tried = _whole_values(table.loc[table["parameter"].isin(settings), "value"])
            for panel in panels[1:, column] if tried else ():
                panel.set_xticks(_legible(tried))
            if rows["folds"].max() == 0:  # and not where they are unknown
                say_no_folds(panels[0, column])
                say_no_folds(panels[2, column])
        panels[2, 0].set_ylim(0, None if (table["folds"] > 0).any() else _NO_FOLDS_TOP)
        for panel, label in zip(panels[:, 0], (_DICE, _DICE, FOLDS_TITLE), strict=True):
            panel.set_ylabel(label)
        figure.legend(
            handles=_handles(looks),
            loc="outside lower center",
            ncols=style.legend_columns(looks, most=3),
        )


def _columns(table: pd.DataFrame, shown: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the experiment and the settings of each column.

    The curves of methods that vary one setting each lie on one axis, where they can be compared.
    """
    settings = tuple(dict.fromkeys(table["parameter"]))
    if table.groupby("method")["parameter"].nunique().max() > 1:
        return [(name, (setting,)) for name in shown for setting in settings]
    return [(name, settings) for name in shown]


def _titles(
    columns: Sequence[tuple[str, tuple[str, ...]]], experiments: Mapping[str, str]
) -> list[str]:
    names = [name for name, _ in columns]
    if len(set(names)) == len(names):
        return [experiments[name] for name in names]
    return [f"{experiments[name]}: {setting}" for name, (setting,) in columns]


def _share_scales(panels: np.ndarray, columns: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Give all panels of the first row one horizontal scale, and those of the same settings one in
    each of the other rows.
    """
    settings = [own for _, own in columns]
    for column, own in enumerate(settings):
        if column:
            panels[0, column].sharex(panels[0, 0])
        if (first := settings.index(own)) != column:
            for row in panels[1:]:
                row[column].sharex(row[first])


def values_along(metrics: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Return Dice and folds of every pair along every sweep, in the order of ``points``.

    The columns are ``experiment pair method series parameter value dice folds``. ``value`` is the
    value of the first setting that the run varies. The values of the other settings are part of
    ``series``, which begins with the method and ends with the name of the first setting.
    """
    settings = settings_of(points)
    parameters = [name for name in settings if name not in ("series", "run")]
    rows = []
    for row in settings.to_dict("records"):
        first, *others = [name for name in parameters if row[name] != ""]
        words = [row["series"], *(f"{_short(name)} {row[name]}" for name in others)]
        series = f"{', '.join(words)}: {_short(first)}"
        rows.append((row["run"], row["series"], series, _short(first), row[first]))
    named = pd.DataFrame(rows, columns=["run", "method", "series", "parameter", "value"])
    keys = ["experiment", "pair", "run"]
    dice, folds = (
        whole_image(metrics, metric).rename(columns={"value": name})
        for metric, name in (("dice", "dice"), (FOLDS, "folds"))
    )
    found = named.merge(dice, on="run").merge(folds, on=keys, how="left")
    columns = ["experiment", "pair", "method", "series", "parameter", "value", "dice", "folds"]
    return found[columns]


def _draw_against_folds(panel: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    nothing_folds = rows["folds"].max() == 0
    for place, (series, look) in enumerate(looks.items()):
        own = rows[rows["series"] == series]
        if own.empty:
            continue  # a curve without points takes room at the corner of the page
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


def _whole_values(values: pd.Series) -> list[int]:
    """Return the values of a setting, from the least on, where all of them are whole numbers; else
    none.
    """
    numbers = _as_numbers(values.drop_duplicates())
    if numbers.dtype == bool or not (numbers % 1 == 0).all():
        return []
    return sorted(map(int, numbers))


def _legible(values: Sequence[int]) -> list[int]:
    """Return those of rising ``values`` whose names do not lie on each other on an axis."""
    least = _CLOSEST * (values[-1] - values[0])
    kept = [values[0]]
    for value in values[1:]:
        if value - kept[-1] >= least:
            kept.append(value)
    return kept


def _floor(folds: pd.Series) -> float:
    """Return where the logarithmic part of an axis of ``folds`` begins: a decade near the median of
    the positive values.
    """
    positive = folds[folds > 0]
    return 10.0 ** math.floor(math.log10(positive.median())) if len(positive) else 1e-3


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
