"""The volume of the lateral ventricles of ageing persons over time, found and true."""

from __future__ import annotations

import pandas as pd
import seaborn as sns

from diffeode.figures import style
from diffeode.statistics.longitudinal import ALL_TIMES, REGISTERED, TITLES

_DASHES = {"free": (1, 0), "periodic": (4, 1.5), "stationary": (1, 1)}
_TRUTHS = {"truth": ("True labels", "x"), "true maps": ("True maps, on the scans' grid", "+")}
"""Title and marker of each kind of truth."""
_HEIGHT_IN = 2.8


def draw_ventricles(table: pd.DataFrame, out: style.Out) -> None:
    """Draw one panel per person: a curve for each flow, marks for pairs, and the truth.

    Args:
        table: the measures of every person, way and time
            (:data:`diffeode.statistics.longitudinal.COLUMNS`).

    Raises:
        InputError: ``out`` is no figure format or cannot be written.
    """
    found = volumes(table)
    looks = style.looks({way: TITLES[way] for way in REGISTERED}, ours="free")
    persons = list(dict.fromkeys(found["person"]))
    with style.page(out, style.FULL_WIDTH_IN, _HEIGHT_IN) as figure:
        panels = figure.subplots(1, len(persons), sharex=True, sharey=True, squeeze=False)[0]
        for panel, person in zip(panels, persons, strict=True):
            own = found[found["person"] == person]
            for way, look in looks.items():
                sns.lineplot(
                    own[own["way"] == way],
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
            panel.set_title(f"Virtual person {person:02d}")
            panel.set_xlabel("Time (parts of the whole)")
            panel.set_ylabel("Lateral ventricles (ml)")
            panel.grid()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def volumes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the volumes in ml, in the columns ``person way time volume``.

    The way ``truth`` stands for the volume of the true labels, ``true maps`` for the volume by the
    determinants of the true maps. At time 0 all are equal.
    """
    at_times = table[table["time"] != ALL_TIMES].assign(
        time=lambda rows: rows["time"].astype(float)
    )
    found = at_times[at_times["way"].isin(REGISTERED)].assign(volume=at_times["ventricles_ml"])
    truth = at_times[at_times["way"] == "truth"]
    true = [
        truth.assign(way=way, volume=truth[column])
        for way, column in (("truth", "ventricles_true_ml"), ("true maps", "ventricles_ml"))
    ]
    rest = at_times[at_times["way"] == "before"].groupby("person", as_index=False).first()
    start = [
        rest.assign(way=way, time=0.0, volume=rest["ventricles_ml"])
        for way in (*REGISTERED, *_TRUTHS)
    ]
    whole = pd.concat([*start, found, *true])[["person", "way", "time", "volume"]]
    return whole.sort_values(["person", "way", "time"], ignore_index=True)
