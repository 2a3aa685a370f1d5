"""The frame of a figure of the study's table: one column of panels for each experiment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffeode.figures import style

NO_DICE = "No Dice to show: the scans of this study have no labels."
FOLDS_TITLE = "Folded voxels (% of grid,\ncentral differences)"
"""The title of an axis of folds."""
_LINEAR_SHARE = 0.6
"""Length of the linear part of an axis of folds, in decades of its logarithmic part."""


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


def scale_folds(panel: Axes, floor: float, largest: float) -> None:
    """Scale the horizontal axis of folds from exactly 0, linear up to ``floor`` and logarithmic
    above it, where it shows whole decades until one holds ``largest``.

    Args:
        floor: a power of ten in per cent.
        largest: the largest share of folds that is drawn, in per cent; NaN where none is known.
    """
    panel.set_xscale("symlog", linthresh=floor, linscale=_LINEAR_SHARE)
    top = math.ceil(math.log10(np.fmax(largest, 10 * floor)))
    decades = 10.0 ** np.arange(round(math.log10(floor)), top + 1)
    panel.set_xticks([0, *decades], ["0", *(f"{decade:g}" for decade in decades)])
    panel.minorticks_off()
    panel.set_xlim(0, decades[-1] * 1.5)
    # marks at 0 would hide behind the axis
    panel.spines["left"].set_position(("outward", 6))
    panel.set_xlabel(FOLDS_TITLE)


def say_no_folds(panel: Axes) -> None:
    """Write in the middle of ``panel``, which shows folds, that there are none."""
    words = "No run folds a voxel."
    panel.text(0.5, 0.5, words, transform=panel.transAxes, ha="center", color=style.SOFT)


def only_across(panel: Axes) -> None:
    """Keep only the grid and the ticks of the horizontal axis."""
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
