"""Who was scanned: tables of age, sex and Clinical Dementia Rating, joined to scans by subject and
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

GROUPS = {
    0.0: "healthy",
    0.5: "suspected dementia",
    1.0: "mild cognitive impairment",
    2.0: "dementia",
    3.0: "severe dementia",
}
"""The paper's five groups by Clinical Dementia Rating (arXiv 2512.22689, IV-A2, in its order)."""

WITHIN_DAYS = 365
"""How far a visit may lie from the scan it is joined to: the custom of OASIS
(NrgXnat/oasis-scripts, README).
"""

_SEXES = {"1": "M", "m": "M", "male": "M", "2": "F", "f": "F", "female": "F"}
_DAY = re.compile(r"(?:.*_d)?(-?\d+)(?:\.0)?")
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
    """What a table calls its columns; None where it has no such column.

    Attributes:
        day: days since entry into the study, or a label that ends in them
            (``OAS30001_ClinicalData_d0129``).
        sex: M, F, male, female, or 1 and 2.
        group: where it is None, the group follows from ``cdr``.
    """

    subject: str
    day: str | None = None
    age: str | None = None
    sex: str | None = None
    cdr: str | None = None
    group: str | None = None

    def named(self) -> list[str]:
        """The columns there must be."""
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
        """As the fields of a :class:`diffeode.datasets.scan.Scan`."""
        return dict(vars(self))


@final
@dataclass(frozen=True)
class Demographics:
    """Persons by subject and visit.

    Attributes:
        visits: of each subject (:func:`subject_key`), the day of a visit, or None, and what was
            known then.
        within_days: visits farther from a scan say nothing about it.
        source: where they were read, for messages.
    """

    visits: Mapping[str, Sequence[tuple[int | None, Known]]] = field(default_factory=dict)
    within_days: int = WITHIN_DAYS
    source: Path | None = None

    def of(self, subject: str, day: int | None = None) -> Known:
        """What is known of ``subject`` when scanned at ``day``: each value from the nearest visit
        that has it.

        Raises:
            InputError: several rows of the nearest visit, or of any where ``day`` is not known,
                tell different groups.
        """
        visits = sorted(
            (abs(day - seen) if day is not None and seen is not None else 0, position, seen, person)
            for position, (seen, person) in enumerate(self.visits.get(subject_key(subject), ()))
        )
        visits = [visit for visit in visits if visit[0] <= self.within_days]
        self._require_one_group(subject, day, [(seen, person.group) for *_, seen, person in visits])
        near = [person for *_, person in visits]
        values = {
            name: [getattr(p, name) for p in near if getattr(p, name) is not None]
            for name in vars(Known())
        }
        return Known(**{name: found[0] for name, found in values.items() if found})

    def _require_one_group(
        self, subject: str, day: int | None, groups: Sequence[tuple[int | None, str | None]]
    ) -> None:
        """``groups`` are those of each visit's day, the nearest first."""
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
    """``sub-BPDwPsy_065`` and ``BPDwPsy065`` are one person: letters and digits count."""
    return re.sub(r"[^A-Za-z0-9]", "", str(subject).removeprefix("sub-"))


def read_demographics(path: Path, columns: Columns, within_days: int = WITHIN_DAYS) -> Demographics:
    """The persons of a table.

    Raises:
        InputError: as :func:`diffeode.files.tables.read_words` and :func:`demographics_of`.
    """
    return demographics_of(read_words(path), columns, path, within_days)


def demographics_of(
    table: pd.DataFrame, columns: Columns, path: Path, within_days: int = WITHIN_DAYS
) -> Demographics:
    """The persons of ``table``, which was read from ``path``.

    An age or sex that cannot be read (``90+``) counts as unknown. Several rows of one visit
    complete each other; rows without subject or day are of no use.

    Raises:
        InputError: a column is missing, or a day or CDR is none; the message names it.
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
    """What ``row`` says, by the names of ``columns``; what is not known is left out."""
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
