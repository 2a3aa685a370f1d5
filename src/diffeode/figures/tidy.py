"""Parts of the study's tidy table that only figures need (see :mod:`diffeode.statistics.tidy`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffeode.evaluation.labels import structure_name


def dice_by_structure(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return Dice with left and right averaged: columns ``experiment pair run structure value``.

    Missing values are left out.
    """
    rows = _of_structures(metrics).dropna(subset="value")
    named = rows.assign(structure=rows["label_name"].map(structure_name))
    return named.groupby(["experiment", "pair", "run", "structure"], sort=False, as_index=False)[
        "value"
    ].mean()


def structures_looked_for(metrics: pd.DataFrame) -> dict[str, set[str]]:
    """Return the structures in the label table of each experiment."""
    rows = _of_structures(metrics)
    return {
        str(name): {structure_name(label) for label in labels.unique()}
        for name, labels in rows.groupby("experiment")["label_name"]
    }


def absent_structures(metrics: pd.DataFrame) -> list[str]:
    """Return the structures that were looked for and that no scan has."""
    rows = _of_structures(metrics)
    found = rows.groupby(rows["label_name"].map(structure_name), sort=False)["value"].count()
    return list(found.index[found == 0])


def _of_structures(metrics: pd.DataFrame) -> pd.DataFrame:
    return metrics[(metrics["metric"] == "dice") & (metrics["label"] != "")]


def samples(rows: pd.DataFrame, **chosen: str) -> np.ndarray:
    """Return ``value`` of the rows in which each column named in ``chosen`` has its value,
    ``(N,)``.
    """
    keep = np.logical_and.reduce([rows[column] == value for column, value in chosen.items()])
    return rows.loc[keep, "value"].to_numpy(dtype=float)
