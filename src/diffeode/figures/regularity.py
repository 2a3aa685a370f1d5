"""What accuracy costs: mean Dice against folding and against time, one mark per run and
experiment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from diffeode.figures import style
from diffeode.figures.style import Look
from diffeode.statistics.tidy import mean_dice, whole_image

FOLDS = "folds_central_percent"
_ROW_IN = 1.75
_ZEROS_WIDTH_DECADES = 1.0


def regularity(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: Path,
    ours: str | None = None,
) -> None:
    """Draw one column per experiment: mean Dice against folded voxels (upper row) and against time
    (lower row).

    Marks are means over pairs (time: medians, as in the tables), bars one standard deviation of
    Dice. Folds are on a logarithmic scale whose left end holds the runs without a single fold, side
    by side around the mark 0.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, in the order of drawing.
        experiments: experiment to shown title.
        ours: the run that is emphasised.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    marks = summary(metrics)
    shown = [name for name in experiments if (marks["experiment"] == name).any()]
    if not shown:
        style.say(out, "No Dice to show: the scans of this study have no labels.")
        return
    looks = style.looks(titles, ours)
    floor = folds_floor(marks["folds"])
    with style.page(out, style.FULL_WIDTH_IN, 2 * _ROW_IN + 0.75) as figure:
        panels = figure.subplots(2, len(shown), sharex="row", sharey=True, squeeze=False)
        for column, name in enumerate(shown):
            chosen = marks[(marks["experiment"] == name) & marks["run"].isin(titles)]
            chosen = chosen.sort_values("run", key=lambda runs: runs.map(list(titles).index))
            _draw_marks(
                panels[0, column], chosen.assign(x=folds_places(chosen["folds"], floor)), looks
            )
            _draw_marks(panels[1, column], chosen.assign(x=chosen["seconds"]), looks)
            _scale_folds(panels[0, column], floor, float(marks["folds"].max()))
            _scale_time(panels[1, column])
        for panel in panels[:, 0]:
            panel.set_ylabel("Mean Dice")
        figure.legend(
            handles=style.legend_handles(looks.values()),
            loc="outside lower center",
            ncols=min(4, len(looks)),
        )
        style.set_titles(panels[0], [experiments[name] for name in shown])


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """Columns ``experiment run dice dice_sd folds seconds``: means over pairs, and the median of
    ``seconds``.
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
    """Where zero is drawn on the logarithmic axis: a decade below the decade of the least positive
    value.
    """
    positive = folds[folds > 0]
    return 10.0 ** (math.floor(math.log10(positive.min())) - 1) if len(positive) else 1e-4


def folds_places(folds: pd.Series, floor: float) -> np.ndarray:
    """Where each run stands on the logarithmic axis: zeros side by side around ``floor``, hiding
    none.
    """
    places = folds.to_numpy(dtype=float, copy=True)
    zeros = places == 0
    step = min(0.1, _ZEROS_WIDTH_DECADES / max(1, zeros.sum()))
    places[zeros] = floor * 10.0 ** (step * (np.arange(zeros.sum()) - (zeros.sum() - 1) / 2))
    return places


def _draw_marks(panel: Axes, marks: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    for run, look in looks.items():
        pen = {"color": look.colour, "mec": "white", "mew": 0.5, "elinewidth": 0.7}
        size, above = (6, 4) if look.emphasised else (4.5, 3)
        for mark in marks[marks["run"] == run].itertuples():
            panel.errorbar(
                mark.x, mark.dice, yerr=mark.dice_sd, fmt=look.marker, ms=size, zorder=above, **pen
            )
    panel.grid()
    panel.set_xscale("log")


def _scale_folds(panel: Axes, floor: float, largest: float) -> None:
    """Ticks at every decade, the lowest one named 0 and cut off from the others."""
    decades = 10.0 ** np.arange(
        math.log10(floor) + 1, math.ceil(math.log10(max(largest, 10 * floor))) + 1
    )
    panel.set_xticks([floor, *decades], ["0", *(f"{d:g}" for d in decades)])
    panel.minorticks_off()
    panel.set_xlim(floor / 10**0.6, decades[-1] * 2.5)
    panel.set_xlabel("Folded voxels (% of brain)")
    # floor holds zeros: slashes across the axis tell that the scale is broken beside it
    panel.text(
        floor * 10**0.6,
        0,
        "//",
        transform=panel.get_xaxis_transform(),
        ha="center",
        va="center",
        color=style.SOFT,
    )


def _scale_time(panel: Axes) -> None:
    panel.xaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.set_xlabel("Time per pair (s)")
