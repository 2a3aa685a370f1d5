"""Mean Dice over structures, its distribution over pairs, per run and experiment (Fig. 5 of arXiv
2512.22689).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from diffeode.figures import style
from diffeode.figures.style import Look
from diffeode.figures.tidy import samples
from diffeode.statistics.tidy import mean_dice

_ROW_IN = 0.24
_SPREAD = 0.2


def dice_boxplot(
    metrics: pd.DataFrame,
    titles: Mapping[str, str],
    experiments: Mapping[str, str],
    out: Path,
    ours: str | None = None,
) -> None:
    """Draw one panel per experiment and one box per run: median, quartiles, 1.5 interquartile
    ranges, every pair.

    Where a run has no value for some pairs, how many is written beside its box.

    Args:
        metrics: the study's tidy table.
        titles: run to shown title, in the order of drawing.
        experiments: experiment to shown title.
        ours: the run that is emphasised.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    dice = mean_dice(metrics)
    shown = [name for name in experiments if (dice["experiment"] == name).any()]
    if not shown:
        style.say(out, "No Dice to show: the scans of this study have no labels.")
        return
    looks = style.looks(titles, ours)
    with style.page(out, style.FULL_WIDTH_IN, 0.75 + _ROW_IN * len(titles)) as figure:
        panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
        for panel, name in zip(panels, shown, strict=True):
            planned = metrics.loc[metrics["experiment"] == name, "pair"].nunique()
            for row, (run, look) in enumerate(looks.items()):
                _draw_run(panel, row, look, samples(dice, experiment=name, run=run), planned)
            _finish(panel, planned)
        panels[0].set_yticks(range(len(looks)), [look.title for look in looks.values()])
        panels[0].set_ylim(len(looks) - 0.4, -0.6)
        style.weigh_labels(panels[0].get_yticklabels(), list(looks.values()))
        style.set_titles(panels, [experiments[name] for name in shown])


def _draw_run(panel: Axes, row: int, look: Look, values: np.ndarray, planned: int) -> None:
    if values.size:
        _draw_box(panel, row, look, values)
        _draw_pairs(panel, row, look, values)
    if values.size < planned:
        missing = f"{planned - values.size} of {planned} missing"
        panel.text(
            0.02,
            row,
            missing,
            transform=panel.get_yaxis_transform(),
            va="center",
            fontsize=5.5,
            color=style.FAILED,
        )


def _draw_box(panel: Axes, row: int, look: Look, values: np.ndarray) -> None:
    line = {"color": look.colour, "linewidth": 1.1 if look.emphasised else 0.8}
    drawn = panel.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=0.56,
        showfliers=False,
        patch_artist=True,
        showcaps=False,
        boxprops={"edgecolor": look.colour, "linewidth": line["linewidth"]},
        whiskerprops=line,
        medianprops={"color": look.colour, "linewidth": 1.8},
        manage_ticks=False,
    )
    for box in drawn["boxes"]:
        box.set_facecolor((*style.rgb(look.colour), 0.28 if look.emphasised else 0.12))


def _draw_pairs(panel: Axes, row: int, look: Look, values: np.ndarray) -> None:
    """Every pair as a point, shifted within its row by its rank: the same picture each time."""
    shifts = np.linspace(-_SPREAD, _SPREAD, 5)[
        np.argsort(np.argsort(values, kind="stable")) * 2 % 5
    ]
    size = np.clip(150 / values.size, 1.5, 7)
    panel.scatter(
        values, row + shifts, s=size, color=look.colour, alpha=0.75, linewidths=0, zorder=3
    )


def _finish(panel: Axes, planned: int) -> None:
    panel.set_xlabel(f"Mean Dice over structures ({planned} pairs)")
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
