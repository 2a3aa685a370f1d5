"""Who was scanned: the one definition of a person.

A person has a name, dataset and subject. Two datasets may show the same persons under other names,
at another resolution or by way of links. So whether two scans show one person is asked of their
traces: the name, the folder ``sub-*`` that a file lies in, and the subject below the dataset's
folder, links followed.
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
        name: what messages and receipts call the person, ``<dataset>/<subject>``.
        traces: by which the person is known again; two persons with a trace in common are one.
    """

    name: str
    traces: frozenset[str] = field(repr=False)

    def is_same(self, other: Person) -> bool:
        """Whether both are one person."""
        return not self.traces.isdisjoint(other.traces)


@lru_cache(maxsize=100_000)
def person_of(scan: Scan) -> Person:
    """Whom ``scan`` shows."""
    name = "/".join(scan.person)
    traces = {name}
    if f"sub-{scan.subject}" in scan.image.parts:
        traces |= _folders_of(scan.image)
    if scan.root is not None:
        traces.add(f"{os.path.realpath(scan.root)}/sub-{scan.subject}")
    return Person(name, frozenset(traces))


@lru_cache(maxsize=100_000)
def person_of_file(file: Path) -> Person:
    """Whom a file shows that belongs to no dataset's list, by its path
    ``<dataset>/sub-<name>/...``.

    Raises:
        InputError: no folder of the path begins with ``sub-``.
    """
    folder = _folder_of(file)
    if folder is None or not folder.parent.name:
        raise InputError(
            f"{file} lies in no folder sub-<name>, so whose it is cannot be told; lay data out as "
            "BIDS does."
        )
    return Person(f"{folder.parent.name}/{folder.name}", frozenset(_folders_of(file)))


def is_one_person(one: Scan, other: Scan) -> bool:
    """Whether two scans show one person."""
    return one.person == other.person or person_of(one).is_same(person_of(other))


def in_both(some: Iterable[Person], others: Iterable[Person]) -> list[str]:
    """The names, sorted, of those among ``some`` who are also among ``others``."""
    traces = frozenset().union(*(person.traces for person in others))
    return sorted({person.name for person in some if not person.traces.isdisjoint(traces)})


def names_of_persons(scans: Iterable[Scan]) -> list[str]:
    """Return, for each scan, the name of the person it shows; a person who was scanned for several
    datasets has one name, that of the first.
    """
    shown = [person_of(scan) for scan in scans]
    known: list[Person] = []
    for person in shown:
        same = [other for other in known if other.is_same(person)]
        known = [other for other in known if other not in same]
        name = same[0].name if same else person.name
        known.append(Person(name, person.traces.union(*(other.traces for other in same))))
    return [next(k.name for k in known if k.is_same(person)) for person in shown]


def _folders_of(file: Path) -> set[str]:
    """The folder ``sub-*`` of ``file`` and that of the file it links to, links followed."""
    folders = (_folder_of(place) for place in (file.absolute(), Path(os.path.realpath(file))))
    return {os.path.realpath(folder) for folder in folders if folder}


def _folder_of(file: Path) -> Path | None:
    """The folder nearest above ``file`` whose name begins with ``sub-``."""
    return next((folder for folder in file.parents if folder.name.startswith("sub-")), None)
