"""Scans that a table lists one by one, with all that is known of each.

``diffeode study`` writes such a table for a folder that a user gives it, so that a study reads
exactly the files that the command said it would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffeode.datasets.scan import Scan, require_distinct, require_folder
from diffeode.errors import InputError
from diffeode.files.presence import lies_at
from diffeode.files.tables import NAME, NUMBER_OR_EMPTY, TEXT, one_of, read_table, write_rows
from diffeode.names import short

COLUMNS = {
    **{"subject": NAME, "session": TEXT, "modality": NAME, "image": NAME},
    **{"labels": TEXT, "landmarks": TEXT, "group": TEXT},
    **{"age": NUMBER_OR_EMPTY, "sex": one_of("M", "F", ""), "cdr": NUMBER_OR_EMPTY},
}
"""The columns of the table and the kinds of their cells; an empty cell says that there is none."""
_FILES = ("image", "labels", "landmarks")


def read_list(
    dataset: str, root: Path, table: Path, modalities: Sequence[str], label_maps: bool = True
) -> list[Scan]:
    """Return every scan of ``modalities`` in ``table``, sorted by name.

    Args:
        root: the folder of the dataset, where the paths in the table start.
        label_maps: whether label maps are wanted.

    Raises:
        InputError: there is no such folder or table, the table cannot be read
            (:func:`diffeode.files.tables.read_table`), a name holds other characters than letters
            and digits, a file that it lists is not there, two rows have one scan, or no row has one
            of ``modalities``.
    """
    require_folder(dataset, root)
    rows = read_table(table, COLUMNS, "table of scans")
    scans = [_scan(dataset, root, table, row) for row in rows.to_dict("records")]
    require_distinct(scans)
    chosen = [scan for scan in scans if scan.modality in modalities]
    if not chosen:
        raise InputError(f"{table} lists no scan of {' or '.join(modalities)}; add one.")
    if not label_maps:
        chosen = [Scan(**{**vars(scan), "labels": None}) for scan in chosen]
    return sorted(chosen, key=lambda scan: scan.id)


def write_list(table: Path, root: Path, scans: Iterable[Scan]) -> None:
    """Write the ``table`` that :func:`read_list` reads; paths below ``root`` start there."""
    write_rows(table, list(COLUMNS), [_row(scan, root) for scan in scans])


def _scan(dataset: str, root: Path, table: Path, row: dict[str, Any]) -> Scan:
    for column in ("subject", "session", "modality"):
        if row[column] and not row[column].isalnum():
            raise InputError(
                f"{table} has the {column} {short(row[column])}; such names have letters and "
                "digits only."
            )
    files = {column: root / row[column] if row[column] else None for column in _FILES}
    for column, file in files.items():
        if file is None or (file.is_file() if column == "image" else lies_at(file)):
            # a label map behind a link to nowhere costs metrics, which its preparation says
            continue
        raise InputError(
            f"{table} lists {file} as {column}, which is not there; put the file there, or correct "
            "the table."
        )
    return Scan(
        dataset=dataset,
        subject=row["subject"],
        session=row["session"] or None,
        modality=row["modality"],
        group=row["group"] or None,
        age=_known(row["age"]),
        sex=row["sex"] or None,
        cdr=_known(row["cdr"]),
        **files,
    )


def _known(number: float) -> float | None:
    return None if pd.isna(number) or math.isnan(number) else float(number)


def _row(scan: Scan, root: Path) -> dict[str, Any]:
    row = {column: getattr(scan, column) for column in COLUMNS}
    row |= {column: _below(root, row[column]) for column in _FILES}
    return {column: "" if value is None else str(value) for column, value in row.items()}


def _below(root: Path, file: Path | None) -> Path | None:
    """Return the path of ``file`` from ``root``, or ``file`` itself where it lies elsewhere."""
    return file.relative_to(root) if file and file.is_relative_to(root) else file
