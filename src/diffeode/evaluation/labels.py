"""Label tables (which structures are evaluated) and the label maps they are looked up in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.files.io import read_labels
from diffeode.files.label_ids import MOST_IDS, shown
from diffeode.files.presence import require_file
from diffeode.geometry.image import Labels
from diffeode.names import nearest

COLUMNS = ("id", "name", "abbreviation", "hemisphere", "group")
SUBSET = "subset"
"""A column that a label table may have: ``yes`` at the structures that have a mean of their own
besides, else ``no``.
"""
_HEMISPHERES = ("left", "right", "none")


def read_label_table(path: Path | str) -> pd.DataFrame:
    """The structures to evaluate: one row each, columns ``id`` (int) ``name abbreviation hemisphere
    group``, and ``subset`` (bool) where the table has one.

    Raises:
        InputError: missing file, missing column, an id that is no positive whole number or comes
            twice, no rows, a hemisphere other than left, right, none, or a subset that is neither
            yes nor no, or holds nothing or everything.
    """
    require_file(path, "label table")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not a table of tab-separated columns ({str(error).strip()})."
        ) from None
    for column in COLUMNS:
        if column not in table:
            raise InputError(
                f"Label table {path} has no column {column!r}{nearest(column, table.columns)}."
            )
    table["id"] = _ids(table["id"], path)
    _require_hemispheres(table["hemisphere"], path)
    if SUBSET not in table:
        return table[list(COLUMNS)]
    table[SUBSET] = _chosen(table[SUBSET], path)
    return table[[*COLUMNS, SUBSET]]


def read_known_labels(path: Path | str, table: pd.DataFrame, table_path: Path | str) -> Labels:
    """The label map at ``path``; ids that ``table`` does not hold are left in it and never
    evaluated.

    Raises:
        InputError: as :func:`diffeode.files.io.read_labels`, or the map holds none of the table's
            ids.
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
    """Sentences on labels that the means of Dice and HD95 over ``ids`` leave out or count as 0;
    empty without any.
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
    """Label ids as positions in ``ids`` counted from 1, uint16, same shape; 0 where the id is not
    among them.

    Raises:
        InputError: more ids than uint16 holds.
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


def _ids(column: pd.Series, path: Path | str) -> pd.Series:
    if column.empty:
        raise InputError(f"Label table {path} has no rows; list the structures to evaluate.")
    bad = column[~column.str.fullmatch("[1-9][0-9]*")]
    if not bad.empty:
        raise InputError(
            f"Label table {path} has the id {bad.iloc[0]!r}; ids are whole numbers from 1 on."
        )
    ids = column.astype(int)
    if ids.duplicated().any():
        raise InputError(
            f"Label table {path} lists id {ids[ids.duplicated()].iloc[0]} twice; keep one row."
        )
    return ids


def _require_hemispheres(column: pd.Series, path: Path | str) -> None:
    bad = column[~column.isin(_HEMISPHERES)]
    if not bad.empty:
        raise InputError(
            f"Label table {path} has the hemisphere "
            f"{bad.iloc[0]!r}{nearest(bad.iloc[0], _HEMISPHERES)}."
        )


def _chosen(column: pd.Series, path: Path | str) -> pd.Series:
    bad = column[~column.isin(("yes", "no"))]
    if not bad.empty:
        raise InputError(
            f"Label table {path} has the {SUBSET} {bad.iloc[0]!r}; it must be yes or no."
        )
    if column.nunique() < 2:
        raise InputError(
            f"Label table {path} says {SUBSET} {column.iloc[0]} everywhere; a subset holds some "
            "structures and not others. Leave the column out."
        )
    return column == "yes"
