"""Dice of each structure, its distribution over pairs, for all runs (Fig. 7 of arXiv
2512.22689).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from diffeode.figures import style
from diffeode.figures.style import Look
from diffeode.figures.tidy import dice_by_structure as by_structure
from diffeode.figures.tidy import samples

_ROW_IN = 0.054
_GAP_ROWS = 1.6


def dice_by_structure(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: Path,
    ours: str | None = None,
) -> None:
    """Draw one panel per experiment, one row per structure (left and right averaged), one slim box
    per run.

    A thin line spans the 5 % to 95 % quantiles, a thick one the quartiles, a dot marks the median.
    Structures stand in the order of their median over all runs.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, in the order of drawing.
        experiments: experiment to shown title.
        ours: the run that is emphasised.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    dice = by_structure(metrics)
    shown = [name for name in experiments if (dice["experiment"] == name).any()]
    if not shown:
        style.say(out, "No Dice to show: the scans of this study have no labels.")
        return
    looks = style.looks(titles, ours)
    structures = ordered_structures(dice)
    rows = len(structures) * (len(looks) + _GAP_ROWS)
    with style.page(out, style.FULL_WIDTH_IN, 0.95 + _ROW_IN * rows) as figure:
        panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
        for panel, name in zip(panels, shown, strict=True):
            _draw_experiment(panel, dice[dice["experiment"] == name], structures, looks)
            panel.set_xlabel("Dice")
        panels[0].set_yticks(_centres(structures, looks), structures)
        panels[0].set_ylim(rows - _GAP_ROWS / 2 - 0.5, -_GAP_ROWS / 2 - 0.5)
        figure.legend(
            handles=_handles(looks.values()), loc="outside lower center", ncols=min(4, len(looks))
        )
        style.set_titles(panels, [experiments[name] for name in shown])


def ordered_structures(dice: pd.DataFrame) -> list[str]:
    """Structures from the highest to the lowest median of ``value`` over all rows of ``dice``."""
    medians = dice.groupby("structure", sort=False)["value"].median()
    return list(medians.sort_values(ascending=False, kind="stable").index)


def _centres(structures: Sequence[str], looks: Mapping[str, Look]) -> np.ndarray:
    return np.arange(len(structures)) * (len(looks) + _GAP_ROWS) + (len(looks) - 1) / 2


def _draw_experiment(
    panel: Axes, dice: pd.DataFrame, structures: Sequence[str], looks: Mapping[str, Look]
) -> None:
    step = len(looks) + _GAP_ROWS
    for place, structure in enumerate(structures):
        if place % 2 == 0:
            top = place * step - _GAP_ROWS / 2 - 0.5
            panel.axhspan(top, top + step, color="#f5f5f5", lw=0)
        for row, (run, look) in enumerate(looks.items()):
            _draw_slim_box(
                panel, place * step + row, look, samples(dice, run=run, structure=structure)
            )
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _draw_slim_box(panel: Axes, row: float, look: Look, values: np.ndarray) -> None:
    if values.size == 0:
        return
    low, first, median, third, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    line = {"color": look.colour, "solid_capstyle": "butt"}
    panel.plot([low, high], [row, row], lw=0.6, **line)
    panel.plot([first, third], [row, row], lw=2.4, **line)
    panel.plot(median, row, "o", ms=2.2, mfc="white", mec=look.colour, mew=0.6)


def _handles(looks: Iterable[Look]) -> list[Line2D]:
    return [Line2D([], [], color=look.colour, lw=2.4, label=look.title) for look in looks]
