"""The figure of the sequences: volume of the lateral ventricles over time, found and true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import seaborn as sns
from _sequence_page import TITLES, measured
from _tables import Row

from diffeode.figures import style

_SHOWN = ("free", "periodic", "stationary", "pairs")
_DASHES = {"free": (1, 0), "periodic": (4, 1.5), "stationary": (1, 1)}
_TRUTHS = {"truth": ("True labels", "x"), "true maps": ("True maps, on the scans' grid", "+")}
"""Title and marker of each kind of truth."""
_HEIGHT_IN = 2.8


def draw_ventricles(rows: Sequence[Row], out: Path) -> None:
    """Draw one panel per person: a curve for each flow, marks for pairs, and the truth.

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    table = volumes(rows)
    looks = style.looks({way: TITLES[way] for way in _SHOWN}, ours="free")
    persons = list(dict.fromkeys(table["person"]))
    with style.page(out, style.FULL_WIDTH_IN, _HEIGHT_IN) as figure:
        panels = figure.subplots(1, len(persons), sharex=True, sharey=True, squeeze=False)[0]
        for panel, person in zip(panels, persons, strict=True):
            own = table[table["person"] == person]
            for way, look in looks.items():
                mine = own[own["way"] == way]
                sns.lineplot(
                    mine,
                    x="time",
                    y="volume",
                    color=look.colour,
                    marker=look.marker,
                    markersize=4,
                    linewidth=1.0 if way in _DASHES else 0,
                    dashes=_DASHES.get(way, (1, 0)),
                    label=look.title,
                    legend=False,
                    ax=panel,
                )
            for way, (title, marker) in _TRUTHS.items():
                true = own[own["way"] == way]
                panel.plot(
                    true["time"],
                    true["volume"],
                    color=style.INK,
                    marker=marker,
                    ms=6,
                    mew=1.2,
                    lw=0,
                    zorder=5,
                    label=title,
                )
            panel.set_title(f"Virtual person {int(person):02d}")
            panel.set_xlabel("Time (parts of the whole)")
            panel.set_ylabel("Lateral ventricles (ml)")
            panel.grid()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def volumes(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the volumes in ml, in the columns ``person way time volume``.

    The way ``truth`` stands for the volume of the true labels, ``true maps`` for the volume by the
    determinants of the true maps. At time 0 all are equal.
    """
    found = [
        (row["person"], row["way"], float(row["time"]), float(row["ventricles_ml"]))
        for row in measured(rows)
        if row["way"] in _SHOWN
    ]
    true = [
        (row["person"], way, float(row["time"]), float(row[column]))
        for row in measured(rows)
        if row["way"] == "truth"
        for way, column in (("truth", "ventricles_true_ml"), ("true maps", "ventricles_ml"))
    ]
    start = [
        (row["person"], way, 0.0, float(row["ventricles_ml"]))
        for row in measured(rows)
        if row["way"] == "before" and row["time"] == "1"
        for way in (*_SHOWN, *_TRUTHS)
    ]
    table = pd.DataFrame([*start, *found, *true], columns=["person", "way", "time", "volume"])
    return table.sort_values(["person", "way", "time"], ignore_index=True)
