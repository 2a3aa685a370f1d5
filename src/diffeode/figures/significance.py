"""Which run is better than which: the largest Wilcoxon p over the experiments (Fig. 6 of arXiv
2512.22689).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from diffeode.errors import InputError
from diffeode.figures import style
from diffeode.names import nearest

_STEPS = (0.0, 0.001, 0.01, 0.05, 1.0)
_COLOURS = ("#08306b", "#2f7ebc", "#a6cbe6", "#f2f2f2")
_MEANINGS = ("p < 0.001", "p < 0.01", "p < 0.05", "not significant")
_CELL_IN = 0.42


def significance_matrix(
    wilcoxon: pd.DataFrame, titles: Mapping[str, str], out: Path, ours: str | None = None
) -> None:
    """Draw a matrix whose cell holds p of "the run of this row has a higher mean Dice than the run
    of this column".

    Args:
        wilcoxon: columns ``run other p`` (:func:`diffeode.statistics.wilcoxon.upper_bound`).
        titles: run to shown title, in the order of drawing.
        ours: the run that is emphasised.

    Raises:
        InputError: the table lacks a column, or ``out`` is no figure format or cannot be written.
    """
    p = p_matrix(wilcoxon, list(titles))
    if not np.isfinite(p).any():
        style.say(out, "No test to show: no experiment has Dice of at least five pairs.")
        return
    looks = list(style.looks(titles, ours).values())
    side = _CELL_IN * len(looks)
    with style.page(out, min(style.FULL_WIDTH_IN, side + 1.9), side + 1.4) as figure:
        axes = figure.subplots()
        norm = BoundaryNorm(_STEPS, len(_COLOURS))
        axes.imshow(np.ma.masked_invalid(p), cmap=ListedColormap(_COLOURS), norm=norm)
        _write_cells(axes, p)
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


def p_matrix(wilcoxon: pd.DataFrame, runs: list[str]) -> np.ndarray:
    """``p[i, j]`` of "run i is better than run j", ``(runs, runs)``; NaN where there is no test.

    Raises:
        InputError: the table lacks a column.
    """
    for column in ("run", "other", "p"):
        if column not in wilcoxon:
            raise InputError(
                "The table of Wilcoxon tests has no column "
                f"{column!r}{nearest(column, wilcoxon.columns)}."
            )
    table = wilcoxon.pivot(index="run", columns="other", values="p")
    return table.reindex(index=runs, columns=runs).to_numpy(dtype=float)


def shown_p(p: float) -> str:
    """``p`` as a cell shows it: three decimals, never as zero; a dash where there is no test."""
    if not np.isfinite(p):
        return "\N{EN DASH}"
    if p < 0.001:
        return "<.001"
    return f"{p:.3f}".lstrip("0") if p < 0.0995 else f"{p:.2f}".lstrip("0")


def _write_cells(axes: Axes, p: np.ndarray) -> None:
    for i, j in np.ndindex(*p.shape):
        if i != j:
            dark = np.isfinite(p[i, j]) and p[i, j] < _STEPS[2]
            axes.text(
                j,
                i,
                shown_p(p[i, j]),
                ha="center",
                va="center",
                fontsize=6,
                color="white" if dark else style.INK,
            )


def _name_axes(axes: Axes, looks: list[style.Look]) -> None:
    names = [look.title for look in looks]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("Is this run better \N{HORIZONTAL ELLIPSIS}", color=style.SOFT)
    axes.set_xlabel("\N{HORIZONTAL ELLIPSIS} than this one?", color=style.SOFT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    style.weigh_labels(axes.get_xticklabels(), looks)
    style.weigh_labels(axes.get_yticklabels(), looks)
