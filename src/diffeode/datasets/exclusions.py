"""Lists of scans that are never used, and how the flags of a preparation come into them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.files.io import write_text
from diffeode.files.tables import NAME, TEXT, read_table

_COLUMNS = {"scan": NAME, "reason": NAME}
_WHAT = "list of excluded scans"
_HEADER = "scan\treason\n"


@final
@dataclass(frozen=True)
class Exclusion:
    """A scan that is never used.

    Attributes:
        scan: a subject, a visit (``01_ses-02``) or a scan (``01_T1w``), without ``sub-``.
        reason: why.
    """

    scan: str
    reason: str


def read_exclusions(path: Path) -> frozenset[str]:
    """Return the names in the column ``scan`` of a table, without ``sub-``: subjects, visits
    (``01_ses-02``) or scans (``01_T1w``).

    Raises:
        InputError: a row has no scan or no reason, or as
            :func:`diffeode.files.tables.read_table`.
    """
    table = read_table(path, _COLUMNS, _WHAT, comments=True)
    return frozenset(map(_without_prefix, table["scan"]))


def flagged(tables: Iterable[Path], spared: frozenset[str] = frozenset()) -> list[Exclusion]:
    """Return the scans that a preparation flagged, with its flags as reasons.

    Args:
        tables: ``preparation.tsv`` of a study's datasets, which say for each scan what is out of
            the ordinary (:func:`diffeode.evaluation.preparation.flag`).
        spared: subjects, visits or scans that are used though they are flagged, as
            :func:`read_exclusions` gives them.

    Raises:
        InputError: a table has no columns ``scan`` and ``flags``, or as
            :func:`diffeode.files.tables.read_table`.
    """
    return [
        Exclusion(scan, flags)
        for scan, flags in _prepared(tables)
        if flags and spared.isdisjoint(_meant_by(scan))
    ]


def names_of_nobody(names: Iterable[str], tables: Iterable[Path]) -> list[str]:
    """Return those of ``names`` that mean no scan in ``tables``, sorted.

    Args:
        names: subjects, visits or scans, as :func:`read_exclusions` gives them.
        tables: as for :func:`flagged`.

    Raises:
        InputError: as for :func:`flagged`.
    """
    known = set().union(*(_meant_by(scan) for scan, _ in _prepared(tables)))
    return sorted(set(names) - known)


def add_exclusions(path: Path, new: Sequence[Exclusion]) -> list[Exclusion]:
    """Add ``new`` below the rows of the list at ``path``, whose text stays as it is.

    Returns:
        the exclusions that the list did not have yet.

    Raises:
        InputError: there is a file that is no such list, or it cannot be written.
    """
    there = read_exclusions(path) if path.is_file() else frozenset()
    added = [exclusion for exclusion in new if exclusion.scan not in there]
    text = path.read_text(encoding="utf-8") if path.is_file() else _HEADER
    if not text.endswith("\n"):
        text += "\n"
    columns = _columns_of(text)
    rows = (_row({"scan": one.scan, "reason": one.reason}, columns) for one in added)
    if added:
        write_text(path, text + "".join(rows))
    return added


def _columns_of(text: str) -> list[str]:
    """Return the names of the columns of a list, in their order."""
    lines = text.removeprefix("\ufeff").splitlines()
    table = (line for line in lines if line.strip() and not line.startswith("#"))
    return next(csv.reader(table, delimiter="\t"))


def _row(cells: Mapping[str, str], columns: Sequence[str]) -> str:
    """Return a line of a list; it is empty in columns of which ``cells`` says nothing."""
    return "\t".join(cells.get(column, "") for column in columns) + "\n"


def _prepared(tables: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the name of each scan in ``tables``, without ``sub-``, and its flags."""
    columns = {"scan": NAME, "flags": TEXT}
    for path in tables:
        table = read_table(path, columns, "table of prepared scans", unique=["scan"])
        yield from zip(table["scan"].map(_without_prefix), table["flags"], strict=True)


def _meant_by(scan: str) -> set[str]:
    """Return the names by which a list may mean ``scan``: its subject, its visit and its own.

    >>> sorted(_meant_by("01_ses-02_T1w"))
    ['01', '01_ses-02', '01_ses-02_T1w']
    """
    parts = scan.split("_")
    return {"_".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _without_prefix(name: str) -> str:
    return name.removeprefix("sub-")
