"""The frame of a figure of the study's table: one column of panels for each experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffeode.figures import style

NO_DICE = "No Dice to show: the scans of this study have no labels."


def shown_experiments(table: pd.DataFrame, experiments: Mapping[str, str]) -> list[str]:
    """Return the names of ``experiments`` that ``table`` has rows of, in their order."""
    there = set(table["experiment"])
    return [name for name in experiments if name in there]


@contextmanager
def experiment_panels(
    out: style.Out,
    height_in: float,
    titles: list[str],
    rows: int = 1,
    sharex: bool | str = True,
    sharey: bool | str = True,
) -> Iterator[tuple[Figure, np.ndarray]]:
    """Yield a figure and its panels ``(rows, experiments)``, and save it when the block ends.

    The panels at the top get their titles at the end of the block: titles are broken into lines of
    the panel's width, and this width depends on everything else that is drawn.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    with style.page(out, style.FULL_WIDTH_IN, height_in) as figure:
        panels = figure.subplots(rows, len(titles), sharex=sharex, sharey=sharey, squeeze=False)
        yield figure, panels
        style.set_titles(panels[0], titles)


def name_rows(panel: Axes, looks: Mapping[str, style.Look]) -> None:
    """Name the rows of ``panel`` by run, the first one at the top."""
    panel.set_yticks(range(len(looks)), [look.title for look in looks.values()])
    panel.set_ylim(len(looks) - 0.4, -0.6)
    style.weigh_labels(panel.get_yticklabels(), list(looks.values()))


def say_in_row(panel: Axes, row: int, words: str) -> None:
    """Write at the left of a row of ``panel`` why marks are missing there."""
    panel.text(
        0.02,
        row,
        words,
        transform=panel.get_yaxis_transform(),
        va="center",
        fontsize=5.5,
        color=style.FAILED,
    )


def say_no_folds(panel: Axes) -> None:
    """Write in the middle of ``panel``, which shows folds, that there are none."""
    words = "No run folds a voxel."
    panel.text(0.5, 0.5, words, transform=panel.transAxes, ha="center", color=style.SOFT)


def only_across(panel: Axes) -> None:
    """Keep only the grid and the ticks of the horizontal axis."""
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
