"""Demographics: tables of age, sex and Clinical Dementia Rating, joined to scans by subject and
nearest day.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import pandas as pd

from diffeode.errors import InputError
from diffeode.files.presence import require_file
from diffeode.names import nearest

GROUPS = {
    0.0: "healthy",
    0.5: "suspected dementia",
    1.0: "mild cognitive impairment",
    2.0: "dementia",
    3.0: "severe dementia",
}
"""The paper's five groups by Clinical Dementia Rating (arXiv 2512.22689, IV-A2, in its order)."""

WITHIN_DAYS = 365
"""Largest number of days between a visit and a scan that it is joined to. This is the custom of
OASIS (NrgXnat/oasis-scripts, README).
"""

_WORKBOOKS = (".xls", ".xlsx")
SUFFIXES = (".csv", ".tsv", *_WORKBOOKS)
"""Suffixes of the tables that can be read."""

_SEXES = {"1": "M", "m": "M", "male": "M", "2": "F", "f": "F", "female": "F"}
_DAY = re.compile(r"(?:.*_d)?(-?\d+)(?:\.0)?")
_MISSING = [".", "#N/A"]


@final
@dataclass(frozen=True)
class Columns:
    """The names of a table's columns; None where it has no such column.

    Attributes:
        day: column with the days since entry into the study, or with a label that ends in them
            (``OAS30001_ClinicalData_d0129``).
        sex: column with M and F, male and female, or 1 and 2.
        group: column with the group; with None the group follows from ``cdr``.
    """

    subject: str
    day: str | None = None
    age: str | None = None
    sex: str | None = None
    cdr: str | None = None
    group: str | None = None

    def named(self) -> list[str]:
        """Return the names of the columns that the table must have."""
        return [name for name in vars(self).values() if name is not None]


@final
@dataclass(frozen=True)
class Known:
    """What is known of a person at a visit; None where it is not known."""

    group: str | None = None
    age: float | None = None
    sex: str | None = None
    cdr: float | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the values as fields of a :class:`diffeode.datasets.scan.Scan`."""
        return dict(vars(self))


@final
@dataclass(frozen=True)
class Demographics:
    """What is known of persons at their visits.

    Attributes:
        visits: for each subject (:func:`subject_key`), its visits: the day, or None where it is not
            known, and what was known then.
        within_days: largest number of days between a scan and a visit that tells of it.
        source: the file that this was read from, for messages.
    """

    visits: Mapping[str, Sequence[tuple[int | None, Known]]] = field(default_factory=dict)
    within_days: int = WITHIN_DAYS
    source: Path | None = None

    def of(self, subject: str, day: int | None = None) -> Known:
        """Return what is known of ``subject`` at a scan on ``day``.

        Each value comes from the nearest visit that has it.

        Raises:
            InputError: rows of the nearest visit tell different groups; where ``day`` is None, rows
                of any visits do.
        """
        visits = sorted(
            (abs(day - seen) if day is not None and seen is not None else 0, position, seen, person)
            for position, (seen, person) in enumerate(self.visits.get(subject_key(subject), ()))
        )
        visits = [visit for visit in visits if visit[0] <= self.within_days]
        self._require_one_group(subject, day, [(seen, person.group) for *_, seen, person in visits])
        nearest_last = [person for *_, person in reversed(visits)]
        values: dict[str, Any] = {}
        for person in nearest_last:
            values |= {name: value for name, value in vars(person).items() if value is not None}
        return Known(**values)

    def _require_one_group(
        self, subject: str, day: int | None, groups: Sequence[tuple[int | None, str | None]]
    ) -> None:
        """Raise :class:`InputError` where the nearest visit tells several groups.

        Args:
            groups: the day and the group of each visit, the nearest first.
        """
        told = [(seen, group) for seen, group in groups if group is not None]
        of_visit = dict.fromkeys(group for seen, group in told if day is None or seen == told[0][0])
        if len(of_visit) > 1:
            when = "" if day is None else f" at the visit nearest to day {day}"
            shown = " and ".join(map(repr, of_visit))
            raise InputError(
                f"{self.source} has several rows of {subject} with different groups{when} "
                f"({shown}); keep the row that belongs to the scan."
            )


def subject_key(subject: str) -> str:
    """Return the letters and digits of a subject's name, without ``sub-``.

    >>> subject_key("sub-BPDwPsy_065")
    'BPDwPsy065'
    """
    return re.sub(r"[^A-Za-z0-9]", "", str(subject).removeprefix("sub-"))


def read_table(path: Path) -> pd.DataFrame:
    """Return a table, all values as text, from ``.csv``, ``.tsv``, ``.xls`` or ``.xlsx``.

    Of a workbook the first sheet is read.

    Raises:
        InputError: the file is missing, of another kind, or unreadable.
    """
    require_file(path, "table")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no table that can be read; give one of {', '.join(SUFFIXES)}.")
    try:
        if path.suffix.lower() in _WORKBOOKS:
            return pd.read_excel(path, dtype=str, na_values=_MISSING)
        return pd.read_csv(
            path, sep="\t" if path.suffix.lower() == ".tsv" else ",", dtype=str, na_values=_MISSING
        )
    except Exception as error:  # a damaged workbook can raise any error in its readers
        raise InputError(
            f"{path} cannot be read as a table ({_first_line(error)}); export it again."
        ) from None


def read_demographics(path: Path, columns: Columns, within_days: int = WITHIN_DAYS) -> Demographics:
    """Return the demographics in a table's file.

    Raises:
        InputError: as :func:`read_table` and :func:`demographics_of`.
    """
    return demographics_of(read_table(path), columns, path, within_days)


def demographics_of(
    table: pd.DataFrame, columns: Columns, path: Path, within_days: int = WITHIN_DAYS
) -> Demographics:
    """Return the demographics in ``table``, which was read from ``path``.

    An age or sex that cannot be read (``90+``) counts as unknown. Several rows of one visit
    complete each other. Rows without a subject, or without a day where there is a column for it,
    are left out.

    Raises:
        InputError: a column is missing, or a value is no day or no CDR; the message names it.
    """
    require_columns(table, columns.named(), path)
    placed = table.dropna(subset=[columns.subject, *([columns.day] if columns.day else [])])
    visits: dict[str, list[tuple[int | None, Known]]] = {}
    for row in placed.to_dict("records"):
        values = {
            name: row[column]
            for name, column in vars(columns).items()
            if column and not pd.isna(row[column])
        }
        visits.setdefault(subject_key(values["subject"]), []).append(
            (_day(values, path), _person(values, path))
        )
    return Demographics(visits, within_days, path)


def require_columns(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise :class:`InputError` where ``table`` lacks one of ``columns``; the message lists those
    that it has.
    """
    for column in columns:
        if column not in table:
            found = ", ".join(str(name) for name in table.columns)
            raise InputError(
                f"{path} has no column {column!r}{nearest(column, table.columns)}; it has: {found}."
            )


def _person(values: Mapping[str, str], path: Path) -> Known:
    cdr = _cdr(values, path)
    return Known(
        group=values.get("group") or (None if cdr is None else GROUPS[cdr]),
        age=_number(values.get("age")),
        sex=_SEXES.get(values.get("sex", "").strip().lower().removesuffix(".0")),
        cdr=cdr,
    )


def _cdr(values: Mapping[str, str], path: Path) -> float | None:
    text = values.get("cdr")
    if text is None:
        return None
    if _number(text) not in GROUPS:
        raise InputError(
            f"{path} has the CDR {text!r} of {values['subject']}; it must be 0, 0.5, 1, 2 or 3, or "
            "empty if unknown."
        )
    return _number(text)


def _day(values: Mapping[str, str], path: Path) -> int | None:
    text = values.get("day")
    if text is None:
        return None
    day = _DAY.fullmatch(text.strip())
    if day is None:
        raise InputError(
            f"{path} has the day {text!r} of {values['subject']}; give days since entry, such as "
            "129."
        )
    return int(day.group(1))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
