"""Select the scans of one side of an experiment, and split persons into training and test.

Everything is drawn by hashes of a seed and names, never by the state of a random generator. So a
draw does not depend on the machine, on the order in which scans are listed, or on who else is in
the dataset.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from diffeode.datasets.person import Person, person_of
from diffeode.datasets.scan import Scan, choose_scans, person_prefix
from diffeode.datasets.sessions import natural, of_sessions
from diffeode.errors import InputError
from diffeode.names import short

PersonKey = tuple[str, str]
"""Dataset and subject: the name of a person."""
ScanKey = tuple[str, str]
"""Dataset and name of a scan."""


@dataclass(frozen=True)
class Split:
    """How the persons of a dataset are split into those to train on and those to test on.

    A person's part depends on ``seed`` and the subject's name alone. So it does not change when
    other persons come or go, and it is the same in two datasets in which the person has one name.

    Attributes:
        test: fraction of persons to test on, in [0, 1].
        always_test: subjects, without the ``sub-`` prefix, that are never trained on.
    """

    test: float
    seed: int
    always_test: frozenset[str] = frozenset()

    def part(self, scan: Scan) -> str:
        """Return the part of the person whom ``scan`` shows, ``"test"`` or ``"train"``."""
        drawn = int.from_bytes(digest(self.seed, "split", scan.subject)[:8], "big") / 2**64
        return "test" if scan.subject in self.always_test or drawn < self.test else "train"


@dataclass(frozen=True)
class Draw:
    """How many persons are drawn, and in which order.

    Attributes:
        persons: number of persons in all; None where ``per_group`` is given.
        per_group: number of persons of each group; None where ``persons`` is given.
        order: ``"random"``, which is the order of hashes, or ``"name"``.

    Raises:
        InputError: both numbers are given, or neither is.
    """

    persons: int | None = None
    per_group: int | None = None
    order: str = "random"

    def __post_init__(self) -> None:
        if (self.persons is None) == (self.per_group is None):
            raise InputError(
                "A draw says either how many persons or how many per_group; give one of the two."
            )


@dataclass(frozen=True)
class Selection:
    """The scans of a dataset that one side of an experiment asks for.

    Attributes:
        modality: the BIDS suffix, ``"T1w"``.
        subjects: names of persons without the ``sub-`` prefix; None for all persons.
        groups: names of groups; None for any group.
        part: part of the dataset's split, ``"train"`` or ``"test"``; None for both.
        sessions: which sessions of each person are taken
            (:func:`diffeode.datasets.sessions.of_sessions`). Where groups are asked for, only
            sessions count in which the person was in such a group.
        draw: how many persons are drawn; None takes everybody.
    """

    modality: str
    subjects: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    part: str | None = None
    sessions: str = "all"
    draw: Draw | None = None


def select(
    scans: Sequence[Scan],
    selection: Selection,
    *,
    split: Split | None,
    seed: int,
    side: str,
    kept: Collection[ScanKey] = (),
    spared: Collection[PersonKey] = (),
    apart_from: Iterable[Scan] = (),
) -> list[Scan]:
    """Return the scans that ``selection`` chooses, sorted by name.

    Args:
        split: the split of the dataset; None where it has none.
        seed: the seed of the draw.
        side: ``"fixed"`` or ``"moving"``; the two sides are drawn independently.
        kept: scans that were drawn before. Their persons are drawn first, so that new persons only
            fill up the number.
        spared: persons who are drawn last, because the other side had drawn them before.
        apart_from: scans whose persons are left out.

    Raises:
        InputError: a modality, subject or group is unknown; a part is asked for of a dataset
            without a split; persons are asked for by name whom another choice leaves out; or fewer
            persons are left than are to be drawn.
    """
    groups = (
        selection.groups if selection.draw is None or selection.draw.per_group is None else None
    )
    chosen = choose_scans(scans, selection.modality, selection.subjects, groups)
    chosen = _apart(chosen, selection, {person_of(scan) for scan in apart_from})
    chosen = _of_part(chosen, selection, split, scans[0].dataset)
    if selection.draw is None:
        chosen = of_sessions(chosen, selection.sessions)
    else:
        chosen = _Drawing(
            selection, scans[0].dataset, seed, side, frozenset(kept), frozenset(spared)
        ).drawn(chosen)
    return sorted(chosen, key=lambda scan: scan.id)


def without_excluded(scans: Iterable[Scan], excluded: Collection[str]) -> list[Scan]:
    """Return ``scans`` without those whose subject, visit or own name is excluded.

    Args:
        excluded: names without the ``sub-`` prefix, as
            :func:`diffeode.datasets.exclusions.read_exclusions` returns them.
    """
    return [scan for scan in scans if names_of(scan).isdisjoint(excluded)]


def names_of(scan: Scan) -> set[str]:
    """Return the names by which a table of exclusions may mean ``scan``: its subject, its visit and
    its own, without the ``sub-`` prefix.
    """
    names = {scan.subject, person_prefix(scan.subject, scan.session), scan.id}
    return {name.removeprefix("sub-") for name in names}


def digest(seed: int, *words: str) -> bytes:
    """Return the SHA-256 of a seed and words, by which everything is drawn."""
    return hashlib.sha256(" ".join([str(seed), *words]).encode()).digest()


def person_named(key: ScanKey) -> PersonKey:
    """Return the name of the person whom a scan shows, from the key of the scan.

    >>> person_named(("ixi", "sub-IXI012_ses-1_T1w"))
    ('ixi', 'IXI012')
    """
    dataset, name = key
    return dataset, name.split("_")[0].removeprefix("sub-")


def _apart(scans: list[Scan], selection: Selection, persons: set[Person]) -> list[Scan]:
    taken = frozenset().union(*(person.traces for person in persons))
    left = [scan for scan in scans if person_of(scan).traces.isdisjoint(taken)]
    if selection.subjects is not None and len(left) < len(scans):
        names = ", ".join(
            sorted({scan.subject for scan in scans} - {scan.subject for scan in left})
        )
        raise InputError(
            f"Subjects {names} are named on both sides of an experiment whose sides share no "
            "person (disjoint: true); name each of them on one side only."
        )
    return left


def _of_part(
    scans: list[Scan], selection: Selection, split: Split | None, dataset: str
) -> list[Scan]:
    if selection.part is None:
        return scans
    if split is None:
        raise InputError(
            f"A side asks for the {selection.part} persons of dataset {dataset}, which has no "
            "split; add split: {test: 0.2, seed: 0} to the dataset's file."
        )
    left = [scan for scan in scans if split.part(scan) == selection.part]
    if selection.subjects is not None and len(left) < len(scans):
        names = ", ".join(
            sorted({scan.subject for scan in scans} - {scan.subject for scan in left})
        )
        raise InputError(
            f"Subjects {names} of dataset {dataset} are named as {selection.part} persons, which "
            "they are not; list test persons under split.always_test of the dataset."
        )
    return left


@dataclass(frozen=True)
class _Drawing:
    """Draws persons and returns their scans."""

    selection: Selection
    dataset: str
    seed: int
    side: str
    kept: frozenset[ScanKey]
    spared: frozenset[PersonKey]

    def drawn(self, scans: list[Scan]) -> list[Scan]:
        draw = self.selection.draw
        if draw.per_group is None:
            _require_persons(scans, draw.persons, self.dataset)
            return self.first(scans, draw.persons)
        chosen: list[Scan] = []
        for group in self.groups(scans):
            taken = {scan.person for scan in chosen}
            of_group = [scan for scan in scans if scan.group == group and scan.person not in taken]
            if len({scan.person for scan in of_group}) < draw.per_group:
                raise InputError(_too_few(scans, group, draw.per_group, self.dataset))
            chosen += self.first(of_group, draw.per_group)
        return chosen

    def groups(self, scans: list[Scan]) -> list[str]:
        """Return the groups that are asked for; where none are, all groups of ``scans``."""
        groups = self.selection.groups or sorted({scan.group for scan in scans} - {None})
        if not groups:
            raise InputError(
                f"Persons of dataset {self.dataset} are to be drawn by group, but no scan says its "
                "group; draw persons."
            )
        return list(groups)

    def first(self, scans: list[Scan], count: int) -> list[Scan]:
        """Return the scans of the first ``count`` persons.

        Persons who were drawn before come first, the others in the order of hashes or names.
        """
        offered = of_sessions(scans, self.selection.sessions)
        known = {scan.person for scan in offered if scan.key in self.kept}
        order = sorted(
            {scan.person for scan in offered},
            key=lambda person: (person not in known, self.turn(person)),
        )
        return [scan for scan in offered if scan.person in order[:count]]

    def turn(self, person: PersonKey) -> Any:
        by_name = self.selection.draw.order == "name"
        own = natural(person[1]) if by_name else digest(self.seed, self.side, person[1])
        return person in self.spared, own


def _require_persons(scans: list[Scan], count: int, dataset: str) -> None:
    persons = len({scan.person for scan in scans})
    if persons < count:
        raise InputError(
            f"{count} persons are to be drawn from dataset {dataset}, but {persons} are left to "
            "choose from; draw fewer or choose more widely."
        )


def _too_few(scans: list[Scan], group: str, count: int, dataset: str) -> str:
    """Return the message that ``group`` has too few persons, with the number of each group."""
    in_groups = {(scan.group or "no group", scan.person) for scan in scans}
    persons = Counter(group for group, _ in in_groups)
    found = ", ".join(f"{name} {number}" for name, number in sorted(persons.items()))
    return (
        f"Too few persons of dataset {dataset} are in group {short(group)} to draw {count}, not "
        f"counting those drawn for groups before it; found {found}; draw fewer, or name other "
        "groups."
    )
