"""The one definition of a person, by which training and test are kept apart.

A person's name consists of the dataset and the subject. But two datasets may show the same persons
under other names, at another resolution, or by way of links. So two scans show one person where
they share a trace: the name, the folder ``sub-*`` that a file lies in, or the subject below the
dataset's folder, links followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, final

from diffeode.errors import InputError

if TYPE_CHECKING:
    from diffeode.datasets.scan import Scan


@final
@dataclass(frozen=True)
class Person:
    """Somebody who was scanned.

    Attributes:
        name: the name in messages and receipts, ``<dataset>/<subject>``.
        traces: the marks by which the person is known again; two persons with a common trace are
            one.
    """

    name: str
    traces: frozenset[str] = field(repr=False)

    def is_same(self, other: Person) -> bool:
        """Return whether both are one person.

        >>> one = Person("albert/01", frozenset({"albert/01", "/data/albert/sub-01"}))
        >>> coarse = Person("albert2mm/01", frozenset({"albert2mm/01", "/data/albert/sub-01"}))
        >>> one.is_same(coarse)
        True
        """
        return not self.traces.isdisjoint(other.traces)


@lru_cache(maxsize=100_000)
def person_of(scan: Scan) -> Person:
    """Return the person whom ``scan`` shows."""
    name = "/".join(scan.person)
    traces = {name}
    if f"sub-{scan.subject}" in scan.image.parts:
        traces |= _folders_of(scan.image)
    if scan.root is not None:
        traces.add(f"{os.path.realpath(scan.root)}/sub-{scan.subject}")
    return Person(name, frozenset(traces))


@lru_cache(maxsize=100_000)
def person_of_file(file: Path) -> Person:
    """Return the person whom a file shows that belongs to no dataset's list.

    Its path ``<dataset>/sub-<name>/...`` tells.

    >>> person_of_file(Path("/data/albert/sub-01/anat/sub-01_T1w.nii.gz")).name
    'albert/sub-01'

    Raises:
        InputError: no folder of the path begins with ``sub-``.
    """
    folder = _folder_of(file)
    if folder is None or not folder.parent.name:
        raise InputError(
            f"{file} lies in no folder sub-<name>, which would tell whom it shows; lay the data "
            "out as BIDS does."
        )
    return Person(f"{folder.parent.name}/{folder.name}", frozenset(_folders_of(file)))


def is_one_person(one: Scan, other: Scan) -> bool:
    """Return whether two scans show one person."""
    return one.person == other.person or person_of(one).is_same(person_of(other))


def in_both(some: Iterable[Person], others: Iterable[Person]) -> list[str]:
    """Return the sorted names of all persons of ``some`` who are also among ``others``."""
    traces = frozenset().union(*(person.traces for person in others))
    return sorted({person.name for person in some if not person.traces.isdisjoint(traces)})


def names_of_persons(scans: Iterable[Scan]) -> list[str]:
    """Return, for each scan, the name of the person it shows.

    A person who has scans in several datasets has one name, the one in the first of them.
    """
    shown = [person_of(scan) for scan in scans]
    known: list[Person] = []
    for person in shown:
        same = [other for other in known if other.is_same(person)]
        known = [other for other in known if other not in same]
        name = same[0].name if same else person.name
        known.append(Person(name, person.traces.union(*(other.traces for other in same))))
    return [_name_among(known, person) for person in shown]


def _name_among(known: Iterable[Person], person: Person) -> str:
    """Return the name under which ``person`` is among ``known``."""
    return next(other.name for other in known if other.is_same(person))


def _folders_of(file: Path) -> set[str]:
    """Return the folder ``sub-*`` of ``file``, and that of the file that it links to, with links in
    them followed.
    """
    folders = (_folder_of(place) for place in (file.absolute(), Path(os.path.realpath(file))))
    return {os.path.realpath(folder) for folder in folders if folder}


def _folder_of(file: Path) -> Path | None:
    """Return the nearest folder above ``file`` whose name begins with ``sub-``, or None."""
    return next((folder for folder in file.parents if folder.name.startswith("sub-")), None)
