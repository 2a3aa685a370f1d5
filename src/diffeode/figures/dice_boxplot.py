"""Mean Dice over structures, its distribution over pairs, for each run and experiment (Fig. 5 of
arXiv 2512.22689).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from diffeode.figures import style
from diffeode.figures.experiments import (
    NO_DICE,
    experiment_panels,
    name_rows,
    only_across,
    say_in_row,
    shown_experiments,
)
from diffeode.figures.style import Look
from diffeode.figures.tidy import samples
from diffeode.statistics.tidy import mean_dice

MOST_LINKED = 12
"""The largest number of pairs whose points are linked by lines from run to run."""
_ROW_IN = 0.24
_SPREAD = 0.2
_BOX = 0.56


def dice_boxplot(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: style.Out,
    ours: str | None = None,
) -> None:
    """Draw one panel per experiment and one box per run: median, quartiles, whiskers to the
    furthest pair within 1.5 interquartile ranges, and every pair as a point.

    Up to :data:`MOST_LINKED` pairs are linked from run to run by lines. Where a run has no value
    for some pairs, their number is written beside its box.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, in the order of drawing.
        experiments: experiment to shown title.
        ours: the run that is emphasised.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    dice = mean_dice(metrics)
    shown = shown_experiments(dice, experiments)
    if not shown:
        style.say(out, NO_DICE)
        return
    looks = style.looks(titles, ours)
    height_in = 0.75 + _ROW_IN * len(titles)
    with experiment_panels(out, height_in, [experiments[name] for name in shown]) as (_, panels):
        for panel, name in zip(panels[0], shown, strict=True):
            planned = metrics.loc[metrics["experiment"] == name, "pair"].nunique()
            linked = planned <= MOST_LINKED
            if linked:
                _link_pairs(panel, dice[dice["experiment"] == name], list(looks))
            for row, (run, look) in enumerate(looks.items()):
                values = samples(dice, experiment=name, run=run)
                if values.size:
                    _draw_box(panel, row, look, values)
                    _draw_pairs(panel, row, look, values, spread=0 if linked else _SPREAD)
                _say_missing(panel, row, planned - values.size, planned)
            panel.set_xlabel(f"Mean Dice over structures ({planned} pairs)")
            panel.set_ylabel("")
            only_across(panel)
        name_rows(panels[0, 0], looks)


def _link_pairs(panel: Axes, dice: pd.DataFrame, runs: list[str]) -> None:
    """Draw a line for each pair, through the rows of the runs that have a value for it."""
    rows = dice[dice["run"].isin(runs)]
    sns.lineplot(
        rows.assign(row=rows["run"].map(runs.index)),
        x="value",
        y="row",
        units="pair",
        estimator=None,
        orient="y",
        color=style.FAINT,
        linewidth=0.5,
        zorder=0.5,
        ax=panel,
    )


def _draw_box(panel: Axes, row: int, look: Look, values: np.ndarray) -> None:
    line = {"color": look.colour, "linewidth": 1.1 if look.emphasised else 0.8}
    # not by seaborn 0.13, which calls matplotlib in a way that 3.13 refuses
    panel.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=_BOX,
        patch_artist=True,
        manage_ticks=False,
        showfliers=False,
        showcaps=False,
        boxprops=style.box_fill(look),
        whiskerprops={**line, "solid_capstyle": "butt"},
        medianprops={"color": look.colour, "linewidth": 1.8, "solid_capstyle": "butt"},
    )


def _draw_pairs(panel: Axes, row: int, look: Look, values: np.ndarray, spread: float) -> None:
    """Draw every pair as a point.

    A point is shifted within its row by its rank and not at random, so that equal data give equal
    pictures.
    """
    shifts = np.linspace(-spread, spread, 5)[np.argsort(np.argsort(values, kind="stable")) * 2 % 5]
    size = np.clip(150 / values.size, 1.5, 7)
    sns.scatterplot(
        x=values,
        y=row + shifts,
        s=size,
        color=look.colour,
        marker=look.marker,
        alpha=0.75,
        linewidth=0,
        zorder=3,
        ax=panel,
    )


def _say_missing(panel: Axes, row: int, missing: int, planned: int) -> None:
    if missing:
        say_in_row(panel, row, f"{missing} of {planned} missing")
