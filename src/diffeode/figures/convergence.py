"""The energy over the iterations: the traces of our runs on one pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from diffeode.errors import DamagedFileError, InputError
from diffeode.figures import style
from diffeode.figures.style import Look
from diffeode.files.tables import read_numbers

_COLUMNS = 4
_HEIGHT_IN = 2.1


def convergence(
    traces: Mapping[str, Path],
    titles: Mapping[str, str],
    title: str,
    out: style.Out,
    ours: str | None = None,
) -> None:
    """Draw the energy of each iteration, one panel for each run.

    Each resolution level has an energy of its own, because it has other voxels and another scale of
    the descriptor; so each has a curve of its own, finer levels darker. Runs whose trace is empty
    are left out.

    Args:
        traces: run to its ``trace.tsv``, with the columns ``iteration``, ``energy`` and, where the
            run has several resolution levels, ``level``.
        titles: run to shown title, for all runs of the study, so that each keeps its colour.
        title: title of the figure, which names the pair.
        ours: the run that is emphasised.

    Raises:
        DamagedFileError: a trace is missing or is no table.
        InputError: ``out`` is no figure format or cannot be written.
    """
    tables = {run: read_trace(path) for run, path in traces.items()}
    drawn = {run: table for run, table in tables.items() if "energy" in table and len(table)}
    if not drawn:
        style.say(out, "No run of this pair has a trace of its energy.")
        return
    looks = style.looks(titles, ours)
    columns, rows = min(len(drawn), _COLUMNS), math.ceil(len(drawn) / _COLUMNS)
    with style.page(out, style.FULL_WIDTH_IN, _HEIGHT_IN * rows) as figure:
        figure.suptitle(title, x=0.005, ha="left", fontsize=8, weight="bold")
        panels = []
        for place, (run, table) in enumerate(drawn.items()):
            panel = figure.add_subplot(rows, columns, place + 1)
            _draw_trace(panel, table, looks[run])
            panel.set_ylabel("Energy" if place % columns == 0 else "")
            panels.append(panel)
        shown = [looks[run] for run in drawn]
        style.set_titles(panels, [look.title for look in shown], shown, fontsize=7)


def read_trace(path: Path | str) -> pd.DataFrame:
    """Return a trace as the harness wrote it; it has no rows where the method keeps no trace.

    Raises:
        DamagedFileError: the file is missing or is no table.
    """
    try:
        return read_numbers(path, "trace")
    except InputError:
        raise DamagedFileError(
            f"{path} is missing or is no trace; remove its folder and run again."
        ) from None


def levels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return name and rows of each resolution level, in order; one part without name where the
    trace has no levels.
    """
    if "level" not in table:
        return [("", table)]
    stretch = (table["level"] != table["level"].shift()).cumsum()
    return [(f"{part['level'].iloc[0]:g}", part) for _, part in table.groupby(stretch, sort=True)]


def _draw_trace(panel: Axes, table: pd.DataFrame, look: Look) -> None:
    parts = levels(table)
    for shade, (level, part) in zip(np.linspace(0.45, 1, len(parts)), parts, strict=True):
        panel.plot(
            part["iteration"],
            part["energy"],
            color=look.colour,
            alpha=shade if len(parts) > 1 else 1,
            lw=1.2,
        )
        if level:
            panel.axvline(part["iteration"].iloc[0], color=style.FAINT, lw=0.6, zorder=0)
            panel.text(
                part["iteration"].iloc[0],
                1.0,
                f" 1/{level}",
                transform=panel.get_xaxis_transform(),
                va="top",
                fontsize=6,
                color=style.SOFT,
            )
    panel.set_xlabel("Iteration")
    panel.grid(axis="y")
