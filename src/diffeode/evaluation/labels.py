"""Label tables, which list the structures to evaluate, and the label maps that hold them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.files.io import read_labels
from diffeode.files.label_ids import MOST_IDS, shown
from diffeode.files.tables import ID, TEXT, one_of, read_table
from diffeode.geometry.image import Labels

SUBSET = "subset"
"""A column that a label table may have. It says ``yes`` of the structures that have a mean of their
own besides the mean of all structures, and ``no`` of the others.
"""
COLUMNS = {
    "id": ID,
    "name": TEXT,
    "abbreviation": TEXT,
    "hemisphere": one_of("left", "right", "none"),
    "group": TEXT,
    SUBSET: one_of("yes", "no"),
}
"""The columns of a label table and the kinds of their cells."""
_SIDE = re.compile(r"^(left|right|lh|rh)[\s_-]+|[\s_,-]+(left|right|lh|rh)$", re.IGNORECASE)


def read_label_table(path: Path | str) -> pd.DataFrame:
    """Return the structures to evaluate, one row each, with the columns ``id`` (int), ``name``,
    ``abbreviation``, ``hemisphere`` and ``group``, and ``subset`` (bool) where the table has it.

    Raises:
        InputError: the table cannot be read (:func:`diffeode.files.tables.read_table`) or has no
            rows; an id is no positive whole number or is there twice; a hemisphere is not left,
            right or none; or a subset is not yes or no, or is the same in all rows.
    """
    table = read_table(path, COLUMNS, "label table", unique=["id"], optional=[SUBSET])
    if table.empty:
        raise InputError(f"Label table {path} has no rows; list the structures to evaluate.")
    if SUBSET in table:
        table[SUBSET] = _chosen(table[SUBSET], path)
    return table


def structure_name(label_name: str) -> str:
    """Return a label's name without its side, in words.

    >>> structure_name("Left-Lateral-Ventricle")
    'Lateral ventricle'
    """
    words = _SIDE.sub("", label_name).replace("-", " ").replace("_", " ").split()
    joined = " ".join(word if _is_acronym(word) else word.lower() for word in words)
    return joined[:1].upper() + joined[1:]


def read_known_labels(path: Path | str, table: pd.DataFrame, table_path: Path | str) -> Labels:
    """Return the label map at ``path``.

    Ids that ``table`` lacks stay in the map and are not evaluated.

    Raises:
        InputError: the map cannot be read (:func:`diffeode.files.io.read_labels`), or holds none of
            the table's ids.
    """
    labels = read_labels(path)
    if not np.isin(labels.data, table["id"].to_numpy()).any():
        found = ", ".join(str(i) for i in np.unique(labels.data)[:8])
        raise InputError(
            f"Label map {path} holds none of the ids of label table {table_path} (it holds "
            f"{found}, ...); name the table of its atlas in the dataset's file."
        )
    return labels


def what_is_not_counted(fixed_labels: Labels, moving_labels: Labels, ids: np.ndarray) -> list[str]:
    """Return sentences about the labels that the means of Dice and HD95 over ``ids`` leave out or
    count as 0; an empty list where there are none.
    """
    here, there = (
        np.unique(labels.data[labels.data > 0]) for labels in (fixed_labels, moving_labels)
    )
    either = np.union1d(here, there)
    one_sided = "they count as Dice 0 and have no HD95"
    cases = (
        (
            f"are in the fixed label map only; {one_sided}",
            np.setdiff1d(np.intersect1d(here, ids), there),
        ),
        (
            f"are in the moving label map only; {one_sided}",
            np.setdiff1d(np.intersect1d(there, ids), here),
        ),
        (
            "of the label table are in neither label map and are not counted",
            np.setdiff1d(ids, either),
        ),
        (
            "of the label maps are not in the label table and are not counted",
            np.setdiff1d(either, ids),
        ),
    )
    return [f"ids {shown(labels)} {what}" for what, labels in cases if len(labels)]


def to_indices(data: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the label ids as positions in ``ids`` counted from 1, uint16, in the same shape; 0
    where the id is not among them.

    Raises:
        InputError: there are more ids than uint16 can number.
    """
    if len(ids) > MOST_IDS:
        raise InputError(
            f"{len(ids)} different labels are too many to compare; at most {MOST_IDS} are told "
            "apart."
        )
    order = np.argsort(ids)
    ordered = np.asarray(ids)[order]
    slot = np.minimum(np.searchsorted(ordered, data), len(ids) - 1)
    return np.where(ordered[slot] == data, order[slot] + 1, 0).astype(np.uint16)


def _is_acronym(word: str) -> bool:
    return any(letter.isupper() or letter.isdigit() for letter in word[1:])


def _chosen(column: pd.Series, path: Path | str) -> pd.Series:
    """Return which structures are in the subset, bool."""
    if column.nunique() < 2:
        raise InputError(
            f"Label table {path} says {SUBSET} {column.iloc[0]} in every row; a subset holds some "
            "structures and leaves others out. Remove the column."
        )
    return column == "yes"
