"""What figures read from the study's tidy table beyond :mod:`diffeode.statistics.tidy`."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_SIDE = re.compile(r"^(left|right|lh|rh)[\s_-]+|[\s_,-]+(left|right|lh|rh)$", re.IGNORECASE)


def dice_by_structure(metrics: pd.DataFrame) -> pd.DataFrame:
    """Dice with left and right averaged: columns ``experiment pair run structure value``, missing
    values left out.
    """
    rows = metrics[
        (metrics["metric"] == "dice") & (metrics["label"] != "") & metrics["value"].notna()
    ]
    named = rows.assign(structure=rows["label_name"].map(structure_name))
    return named.groupby(["experiment", "pair", "run", "structure"], sort=False, as_index=False)[
        "value"
    ].mean()


def structure_name(label_name: str) -> str:
    """A label's name without its side, in words: ``Left-Lateral-Ventricle`` is ``Lateral
    ventricle``.
    """
    words = _SIDE.sub("", label_name).replace("-", " ").replace("_", " ").split()
    joined = " ".join(word if _is_acronym(word) else word.lower() for word in words)
    return joined[:1].upper() + joined[1:]


def samples(rows: pd.DataFrame, **chosen: str) -> np.ndarray:
    """``value`` of the rows whose columns hold what is ``chosen``, ``(N,)``."""
    keep = np.logical_and.reduce([rows[column] == value for column, value in chosen.items()])
    return rows.loc[keep, "value"].to_numpy(dtype=float)


def _is_acronym(word: str) -> bool:
    return any(letter.isupper() or letter.isdigit() for letter in word[1:])
