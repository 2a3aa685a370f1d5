"""The curves of a training, with the step whose weights were the best."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from diffeode.errors import DamagedFileError, InputError
from diffeode.figures import style
from diffeode.files.tables import read_numbers

_COLUMNS = 3
_HEIGHT_IN = 1.9
_VALIDATION = "validation_"


def training_curves(curves: Path, title: str, out: style.Out, criterion: str = "loss") -> None:
    """Draw every number of a training over its steps.

    Each number has a panel, which it shares with the same number of the validation.

    Args:
        curves: ``curves.tsv`` of a training, with the column ``step`` and a column for each number;
            ``validation_<name>`` is drawn in the panel of ``<name>`` where there is one.
        criterion: name of the column whose smallest value marks the step of the best weights.

    Raises:
        DamagedFileError: the file is missing or is no table of curves.
        InputError: ``out`` is no figure format or cannot be written.
    """
    table = _read_curves(curves)
    names = [name for name in table.columns if name != "step"]
    panels = [
        n
        for n in names
        if n.removeprefix(_VALIDATION) not in names or not n.startswith(_VALIDATION)
    ]
    best = table["step"][table[criterion].idxmin()] if criterion in table else None
    columns, rows = min(len(panels), _COLUMNS), math.ceil(len(panels) / _COLUMNS)
    with style.page(out, style.FULL_WIDTH_IN, _HEIGHT_IN * rows) as figure:
        figure.suptitle(title, x=0.005, ha="left", fontsize=8, weight="bold")
        for place, name in enumerate(panels):
            panel = figure.add_subplot(rows, columns, place + 1)
            _draw(panel, table, name, f"{_VALIDATION}{name}")
            if best is not None:
                panel.axvline(best, color=style.FAINT, lw=0.8, zorder=0)


def _read_curves(path: Path) -> pd.DataFrame:
    try:
        table = read_numbers(path, "table of curves")
    except InputError:
        raise DamagedFileError(
            f"{path} is missing or is no table of curves; train again."
        ) from None
    if "step" not in table or table.empty:
        raise DamagedFileError(f"{path} has no steps; train again.")
    return table


def _draw(panel: Axes, table: pd.DataFrame, name: str, validation: str) -> None:
    together = validation in table
    panel.plot(
        table["step"],
        table[name],
        lw=1.0,
        color=style.SOFT if together else style.ACCENT,
        label="training",
    )
    if together:
        panel.plot(table["step"], table[validation], lw=1.2, color=style.ACCENT, label="validation")
        panel.legend(fontsize=6, frameon=False)
    panel.set_title(name.removeprefix(_VALIDATION).replace("_", " ").capitalize(), fontsize=7)
    panel.set_xlabel("Step")
    panel.grid(axis="y")
