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
from diffeode.files.tables import read_words, require_columns
from diffeode.names import short

_LONGEST_NAME = 80
"""Characters of a name that messages show."""

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

_SEXES = {"1": "M", "m": "M", "male": "M", "2": "F", "f": "F", "female": "F"}
_DAY = re.compile(r"(?:.*_d)?(-?\d{1,9})(?:\.0)?")
_NOBODY = frozenset({"", ".", "n/a", "#N/A"})
"""Cells that name no subject: empty, and as OASIS, BIDS and Excel leave them. ``NA`` and ``None``
may be names.
"""
_UNKNOWN = _NOBODY | {
    *("#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "nan", "null"),
}
"""Cells that say that a value is not known: those above, and as statistical programs write them."""


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
        within_days: largest number of days between a scan and a visit whose values it takes.
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
    """Return the letters and digits of a subject's name, of any script, without ``sub-``.

    >>> subject_key("sub-BPDwPsy_065"), subject_key("sub-李_1")
    ('BPDwPsy065', '李1')
    """
    return "".join(filter(str.isalnum, str(subject).removeprefix("sub-")))


def read_demographics(path: Path, columns: Columns, within_days: int = WITHIN_DAYS) -> Demographics:
    """Return the demographics in a table's file.

    Raises:
        InputError: as :func:`diffeode.files.tables.read_words` and :func:`demographics_of`.
    """
    return demographics_of(read_words(path), columns, path, within_days)


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
    visits: dict[str, list[tuple[int | None, Known]]] = {}
    asked_for = list(dict.fromkeys(columns.named()))
    for row in table[asked_for].to_dict("records"):
        values = _values(row, columns)
        if "subject" in values and ("day" in values or columns.day is None):
            visits.setdefault(subject_key(values["subject"]), []).append(
                (_day(values, path), _person(values, path))
            )
    return Demographics(visits, within_days, path)


def _values(row: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Return the cells of ``row`` by the names of ``columns``; unknown ones are left out."""
    values = {}
    for name, column in vars(columns).items():
        missing = _NOBODY if name == "subject" else _UNKNOWN
        if column is not None and row[column] not in missing:
            values[name] = row[column]
    return values


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
            f"{path} has the CDR {short(text)} of {values['subject'][:_LONGEST_NAME]}; it must be "
            "0, 0.5, 1, 2 or 3, or empty if unknown."
        )
    return _number(text)


def _day(values: Mapping[str, str], path: Path) -> int | None:
    text = values.get("day")
    if text is None:
        return None
    day = _DAY.fullmatch(text.strip())
    if day is None:
        raise InputError(
            f"{path} has the day {short(text)} of {values['subject'][:_LONGEST_NAME]}; give days "
            "since entry, such as 129."
        )
    return int(day.group(1))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
