"""Dice of each structure, its distribution over pairs, for several runs (Fig. 7 of arXiv 2512.22689
and Fig. 4 of arXiv 2108.03443).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from diffeode.figures import style
from diffeode.figures.experiments import (
    NO_DICE,
    experiment_panels,
    only_across,
    say_in_row,
    shown_experiments,
)
from diffeode.figures.style import Look
from diffeode.figures.tidy import absent_structures, structures_looked_for
from diffeode.figures.tidy import dice_by_structure as by_structure

_ROW_IN = 0.06
_GAP_ROWS = 1.6
_ABSENT = "No scan has it."


def dice_by_structure(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: style.Out,
    ours: str | None = None,
    runs: Sequence[str] = (),
    structures: Sequence[str] = (),
) -> None:
    """Draw one panel per experiment, one row per structure (left and right averaged), one mark per
    run.

    The mark is the median over pairs; a thick line spans the quartiles, a thin one the 5 % to 95 %
    quantiles. A structure that no scan of an experiment has is named as absent there. Where the
    label tables of experiments have different structures, each panel has rows of its own.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, all runs of the study, which keep their looks.
        experiments: experiment to shown title.
        ours: the run that is emphasised.
        runs: the runs to draw; all of ``titles`` where it is empty.
        structures: names of the structures to draw, in their order; where it is empty all are, from
            the highest to the lowest median over all runs drawn, and then those that no scan has.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    looks = {
        run: look for run, look in style.looks(titles, ours).items() if not runs or run in runs
    }
    dice = by_structure(metrics)
    dice = dice[dice["run"].isin(looks)]
    names = list(structures) or [*ordered_structures(dice), *absent_structures(metrics)]
    dice = dice[dice["structure"].isin(names)]
    shown = shown_experiments(dice, experiments)
    if not shown:
        style.say(out, NO_DICE)
        return
    looked_for = structures_looked_for(metrics)
    rows = [
        names if structures else [row for row in names if row in looked_for[name]] for name in shown
    ]
    are_alike = all(row == rows[0] for row in rows)
    longest = max(map(len, rows))
    height_in = 0.95 + _ROW_IN * longest * (len(looks) + _GAP_ROWS)
    panel_titles = [experiments[name] for name in shown]
    with experiment_panels(out, height_in, panel_titles, sharey=are_alike) as (figure, panels):
        for panel, name, own in zip(panels[0], shown, rows, strict=True):
            _draw_experiment(panel, dice[dice["experiment"] == name], own, looks)
            if not are_alike or panel is panels[0, 0]:
                panel.set_yticks(range(len(own)), own)
            panel.set_ylim(longest - 0.5, -0.5)
        style.add_legend(figure, looks.values())


def ordered_structures(dice: pd.DataFrame) -> list[str]:
    """Return the structures, from the highest to the lowest median of ``value`` in ``dice``."""
    medians = dice.groupby("structure", sort=False)["value"].median()
    return list(medians.sort_values(ascending=False, kind="stable").index)


def spread_of_runs(runs: int) -> float:
    """Return the distance between the first and the last run, in units of the distance between
    structures.
    """
    return (runs - 1) / (runs + _GAP_ROWS)


def _draw_experiment(
    panel: Axes, dice: pd.DataFrame, structures: list[str], looks: Mapping[str, Look]
) -> None:
    for place in range(0, len(structures), 2):
        panel.axhspan(place - 0.5, place + 0.5, color="#f5f5f5", lw=0)
    for percent, width, marked in ((90, 0.6, False), (50, 2.2, True)):
        sns.pointplot(
            dice,
            x="value",
            y="structure",
            order=structures,
            hue="run",
            hue_order=list(looks),
            palette={run: look.colour for run, look in looks.items()},
            dodge=spread_of_runs(len(looks)),
            estimator="median",
            errorbar=("pi", percent),
            err_kws={"linewidth": width, "alpha": 0.5 if marked else 1},
            markers=[look.marker if marked else "" for look in looks.values()],
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.3,
            linestyle="none",
            orient="h",
            legend=False,
            ax=panel,
        )
    _say_absent(panel, dice, structures)
    panel.set_xlabel("Dice")
    panel.set_ylabel("")
    only_across(panel)


def _say_absent(panel: Axes, dice: pd.DataFrame, structures: list[str]) -> None:
    for place in np.flatnonzero(~np.isin(structures, dice["structure"].unique())):
        say_in_row(panel, place, _ABSENT)
