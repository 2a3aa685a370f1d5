"""Mean Dice against folded voxels and against time, one mark for each run and experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from diffeode.figures import style
from diffeode.figures.experiments import (
    NO_DICE,
    experiment_panels,
    say_no_folds,
    scale_folds,
    shown_experiments,
)
from diffeode.figures.style import Look
from diffeode.statistics.tidy import mean_dice, whole_image

FOLDS = "folds_central_grid_percent"
_ROW_IN = 1.75
_TITLE_IN = 0.45


def regularity(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: style.Out,
    ours: str | None = None,
) -> None:
    """Draw one column per experiment: mean Dice against folded voxels (upper row) and against time
    (lower row).

    Marks are means over pairs, or for time medians, as in the tables; bars are one standard
    deviation of Dice to either side. The scale of folds is logarithmic from :func:`folds_floor`
    upwards and linear from there down to 0, which it holds exactly.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, in the order of drawing.
        experiments: experiment to shown title.
        ours: the run that is emphasised.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    marks = summary(metrics)
    shown = shown_experiments(marks, experiments)
    if not shown:
        style.say(out, NO_DICE)
        return
    looks = style.looks(titles, ours)
    floor, largest = folds_floor(marks["folds"]), float(marks["folds"].max())
    height_in = 2 * _ROW_IN + _TITLE_IN + style.legend_height_in(looks.values())
    panel_titles = [experiments[name] for name in shown]
    with experiment_panels(out, height_in, panel_titles, 2, sharex="row") as (figure, panels):
        for column, name in enumerate(shown):
            chosen = marks[(marks["experiment"] == name) & marks["run"].isin(titles)]
            for panel, across in zip(panels[:, column], ("folds", "seconds"), strict=True):
                _draw_marks(panel, chosen, across, looks)
            scale_folds(panels[0, column], floor, largest)
            if largest == 0:
                say_no_folds(panels[0, column])
        _scale_time(panels[1])
        for panel in panels[:, 0]:
            panel.set_ylabel("Mean Dice over structures")
        style.add_legend(figure, looks.values())


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the columns ``experiment run dice dice_sd folds seconds``.

    ``dice`` and ``folds`` are means over pairs, ``dice_sd`` is the standard deviation of Dice, and
    ``seconds`` is the median of the time.
    """
    keys = ["experiment", "run"]
    dice = mean_dice(metrics).groupby(keys, sort=False)["value"]
    return (
        pd.DataFrame(
            {
                "dice": dice.mean(),
                "dice_sd": dice.std(),
                "folds": whole_image(metrics, FOLDS).groupby(keys)["value"].mean(),
                "seconds": whole_image(metrics, "seconds").groupby(keys)["value"].median(),
            }
        )
        .dropna(subset="dice")
        .reset_index()
    )


def folds_floor(folds: pd.Series) -> float:
    """Return where the logarithmic part of the scale begins: the decade of the least positive
    value.
    """
    positive = folds[folds > 0]
    return 10.0 ** math.floor(math.log10(positive.min())) if len(positive) else 1e-3


def _draw_marks(panel: Axes, marks: pd.DataFrame, across: str, looks: Mapping[str, Look]) -> None:
    for look_run, look in looks.items():
        mark = marks[marks["run"] == look_run]
        panel.errorbar(
            mark[across],
            mark["dice"],
            yerr=mark["dice_sd"],
            fmt="none",
            ecolor=look.colour,
            elinewidth=0.7,
            clip_on=False,
            zorder=2.5,
        )
    sns.scatterplot(
        marks,
        x=across,
        y="dice",
        hue="run",
        hue_order=list(looks),
        style="run",
        style_order=list(looks),
        size="run",
        sizes={run: 36 if look.emphasised else 20 for run, look in looks.items()},
        palette={run: look.colour for run, look in looks.items()},
        markers={run: look.marker for run, look in looks.items()},
        edgecolor="white",
        linewidth=0.5,
        legend=False,
        zorder=3,
        clip_on=False,
        ax=panel,
    )
    panel.grid()
    panel.set_ylabel("")


def _scale_time(panels: Sequence[Axes]) -> None:
    """Scale the axis of time that all ``panels`` share logarithmically.

    It spans a decade at least, and where that is less than two, ticks between the decades are
    labelled, too.
    """
    shared = panels[0]
    shared.set_xscale("log")
    low, high = shared.get_xlim()
    stretch = max(1.0, math.sqrt(10 * low / high))
    shared.set_xlim(low / stretch, high * stretch)
    shared.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    shared.xaxis.set_major_formatter("{x:g}")
    for panel in panels:
        panel.minorticks_off()
        panel.set_xlabel("Time per pair (s)")
