"""The matrix of Wilcoxon tests between runs: the largest p over the experiments (Fig. 6 of arXiv
2512.22689).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from diffeode.errors import InputError
from diffeode.figures import style
from diffeode.names import nearest
from diffeode.statistics.export import MISSING
from diffeode.statistics.wilcoxon import MINIMUM_PAIRS

_STEPS = (0.0, 0.001, 0.01, 0.05, 1.0)
_COLOURS = ("#08306b", "#2f7ebc", "#a6cbe6", "#f2f2f2")
_MEANINGS = ("p < 0.001", "p < 0.01", "p < 0.05", "not significant")
_CELL_IN = 0.42


def significance_matrix(
    wilcoxon: pd.DataFrame, titles: Mapping[str, str], out: style.Out, ours: str | None = None
) -> None:
    """Draw a matrix whose cell holds p of "the run of this row has a higher mean Dice than the run
    of this column".

    A cell whose runs share too few pairs for a test says how many they share.

    Args:
        wilcoxon: columns ``run other p n`` (:func:`diffeode.statistics.wilcoxon.upper_bound`).
        titles: run to shown title, in the order of drawing.
        ours: the run that is emphasised.

    Raises:
        InputError: the table lacks a column, or ``out`` is no figure format or cannot be written.
    """
    p, n = (as_matrix(wilcoxon, column, list(titles)) for column in ("p", "n"))
    if not np.isfinite(p).any():
        style.say(
            out, f"No test to show: no experiment has Dice of at least {MINIMUM_PAIRS} pairs."
        )
        return
    looks = list(style.looks(titles, ours).values())
    side = _CELL_IN * len(looks)
    with style.page(out, min(style.FULL_WIDTH_IN, side + 1.9), side + 1.4) as figure:
        axes, words = figure.subplots(), shown_cells(p, n)
        sns.heatmap(
            p,
            annot=words,
            fmt="",
            annot_kws={"fontsize": 6},
            cmap=ListedColormap(_COLOURS),
            norm=BoundaryNorm(_STEPS, len(_COLOURS)),
            cbar=False,
            linewidths=1.5,
            linecolor="white",
            square=True,
            ax=axes,
        )
        _say_untested(axes, words, np.isnan(p))
        _name_axes(axes, looks)
        handles = [
            Patch(facecolor=c, edgecolor=style.FAINT, label=m)
            for c, m in zip(_COLOURS, _MEANINGS, strict=True)
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=4,
            handlelength=1.0,
            columnspacing=1.2,
        )


def as_matrix(wilcoxon: pd.DataFrame, column: str, runs: list[str]) -> np.ndarray:
    """Return ``column`` of the test that run i is better than run j at ``[i, j]``, ``(runs,
    runs)``.

    It is NaN where the table has no such row.

    Raises:
        InputError: the table lacks a column.
    """
    for name in ("run", "other", column):
        if name not in wilcoxon:
            raise InputError(
                "The table of Wilcoxon tests has no column "
                f"{name!r}{nearest(name, wilcoxon.columns)}."
            )
    table = wilcoxon.pivot(index="run", columns="other", values=column)
    return table.reindex(index=runs, columns=runs).to_numpy(dtype=float)


def shown_cells(p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the words of each cell, ``(runs, runs)``: p, or the number of pairs where it is too
    small for a test.
    """
    words = np.full(p.shape, "", dtype=object)
    for i, j in np.ndindex(*p.shape):
        if i != j:
            too_few = np.isnan(p[i, j]) and np.isfinite(n[i, j])
            words[i, j] = f"n = {n[i, j]:.0f}" if too_few else shown_p(p[i, j])
    return words


def shown_p(p: float) -> str:
    """Return ``p`` as a cell shows it, which is never zero; a dash where there is no test."""
    if not np.isfinite(p):
        return MISSING
    if p < 0.001:
        return "<.001"
    return f"{p:.3f}".lstrip("0") if p < 0.0995 else f"{p:.2f}".lstrip("0")


def _say_untested(axes: Axes, words: np.ndarray, untested: np.ndarray) -> None:
    """Write the words of cells that have no p, which seaborn leaves empty."""
    for i, j in np.argwhere(untested):
        if i != j:
            axes.text(j + 0.5, i + 0.5, words[i, j], ha="center", va="center", fontsize=6)


def _name_axes(axes: Axes, looks: list[style.Look]) -> None:
    names = [look.title for look in looks]
    places = np.arange(len(names)) + 0.5
    axes.set_yticks(places, names, rotation=0)
    axes.xaxis.tick_top()
    axes.set_xticks(places, names, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("Is this run better \N{HORIZONTAL ELLIPSIS}", color=style.SOFT)
    axes.set_xlabel("\N{HORIZONTAL ELLIPSIS} than this one?", color=style.SOFT)
    axes.tick_params(length=0)
    style.weigh_labels(axes.get_xticklabels(), looks)
    style.weigh_labels(axes.get_yticklabels(), looks)
