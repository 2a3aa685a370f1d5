"""Which sessions of a person are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import optimize

from diffeode.datasets.scan import Scan

ACROSS_GROUPS = "across_groups"
"""One session of each person, so that the persons together are in as many groups as can be."""


def of_sessions(scans: Iterable[Scan], sessions: str) -> list[Scan]:
    """Return the scans of the sessions that are asked for, sorted by session.

    Args:
        sessions: ``"all"``; ``"first"`` or ``"last"`` of each person, in the order of the sessions'
            names (:func:`natural`); or :data:`ACROSS_GROUPS`, which takes earlier sessions where it
            leaves a choice.
    """
    ordered = sorted(scans, key=lambda scan: (natural(scan.session or ""), scan.id))
    if sessions == "all":
        return ordered
    if sessions == ACROSS_GROUPS:
        return _across_groups(ordered)
    of_person: dict[tuple[str, str], Scan] = {}
    for scan in ordered if sessions == "last" else reversed(ordered):
        of_person[scan.person] = scan
    return list(of_person.values())


def _across_groups(ordered: Sequence[Scan]) -> list[Scan]:
    """Return one scan of each person, so that as many groups as possible have a person of their
    own.

    This is a maximum matching of persons and groups. Among the largest matchings the one is taken
    whose sessions come earliest in sum. A person who is matched to no group has the first session.
    """
    persons = sorted({scan.person for scan in ordered})
    groups = sorted({scan.group for scan in ordered} - {None})
    if not groups:
        return of_sessions(ordered, "first")
    of_person: dict[tuple[str, str], list[Scan]] = {person: [] for person in persons}
    for scan in ordered:
        of_person[scan.person].append(scan)
    # a group is worth more than all delays together, so that none is left out for an early session
    worth = 1 + sum(map(len, of_person.values()))
    gain = np.zeros((len(persons), len(groups)))
    for row, person in enumerate(persons):
        for delay, scan in reversed(list(enumerate(of_person[person]))):
            if scan.group is not None:
                gain[row, groups.index(scan.group)] = worth - delay
    chosen = {person: of_person[person][0] for person in persons}
    for row, column in zip(*optimize.linear_sum_assignment(gain, maximize=True), strict=True):
        if gain[row, column] > 0:
            person = persons[row]
            chosen[person] = next(s for s in of_person[person] if s.group == groups[column])
    return list(chosen.values())


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are sorted by their value.

    >>> sorted(["d10", "d9"], key=natural)
    ['d9', 'd10']
    """
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]
