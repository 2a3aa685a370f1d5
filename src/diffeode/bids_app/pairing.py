"""The pairs of a task: which scans of a BIDS folder are registered to which."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from diffeode.bids_app.tasks import LONGITUDINAL, OTHER_PERSONS, SAME_PERSON, TEMPLATE, Task
from diffeode.datasets.pairs import PlannedPair, draw_pairs
from diffeode.datasets.scan import Scan, person_prefix
from diffeode.datasets.selection import digest
from diffeode.datasets.sessions import natural
from diffeode.errors import InputError

Visit = tuple[str, str | None]
"""Subject and session of a visit."""


def pairs_of(
    task: Task,
    scans: Iterable[Scan],
    moving: str,
    fixed: str,
    *,
    template: Scan | None = None,
    one_session: bool = True,
    count: int | None = None,
    kept: Collection[str] = (),
    seed: int = 0,
) -> tuple[list[PlannedPair], dict[str, str]]:
    """Return the pairs of a task within a folder, and why visits or persons are left out: what is
    wrong, by their names.

    Args:
        scans: all usable scans of both contrasts.
        moving, fixed: the contrasts of the two sides.
        template: the template, for :data:`TEMPLATE`.
        one_session: whether only the first session of each person takes part in
            :data:`OTHER_PERSONS`.
        count: number of pairs to draw; None for all.
        kept: names of pairs that were drawn before, which are drawn first.
        seed: seed of the draw.

    Raises:
        InputError: more pairs are asked for than there are.
    """
    visits: dict[Visit, dict[str, Scan]] = {}
    for scan in scans:
        visits.setdefault((scan.subject, scan.session), {})[scan.modality] = scan
    ordered = {visit: visits[visit] for visit in sorted(visits, key=_order)}
    if task == LONGITUDINAL:
        chosen, left_out = _longitudinal(ordered, moving, fixed)
    elif task == TEMPLATE:
        complete, left_out = _complete(ordered, (moving,))
        chosen = [PlannedPair(template, scans[moving]) for scans in complete.values()]
    else:
        complete, left_out = _complete(ordered, (moving, fixed))
        if task == OTHER_PERSONS and one_session:
            complete = _first_of_each(complete)
        chosen = _all(task, complete, moving, fixed)
    if count is not None and chosen:
        chosen = _drawn(chosen, count, seed, kept)
    return sorted(chosen, key=lambda pair: pair.id), left_out


def _order(visit: Visit) -> tuple[str, list[tuple[int, str]]]:
    subject, session = visit
    return subject, natural(session or "")


def _complete(
    visits: Mapping[Visit, Mapping[str, Scan]], contrasts: Sequence[str]
) -> tuple[dict[Visit, Mapping[str, Scan]], dict[str, str]]:
    """Return the visits that have all ``contrasts``, and what the others lack."""
    lacking = {
        visit: [contrast for contrast in dict.fromkeys(contrasts) if contrast not in scans]
        for visit, scans in visits.items()
    }
    complete = {visit: scans for visit, scans in visits.items() if not lacking[visit]}
    left_out = {
        person_prefix(*visit): f"has no {' and no '.join(absent)}"
        for visit, absent in lacking.items()
        if absent
    }
    return complete, left_out


def _first_of_each(visits: Mapping[Visit, Mapping[str, Scan]]) -> dict[Visit, Mapping[str, Scan]]:
    first: dict[str, Visit] = {}
    for visit in visits:
        first.setdefault(visit[0], visit)
    return {visit: visits[visit] for visit in first.values()}


def _all(
    task: Task, visits: Mapping[Visit, Mapping[str, Scan]], moving: str, fixed: str
) -> list[PlannedPair]:
    if task == SAME_PERSON:
        return [PlannedPair(scans[fixed], scans[moving], True) for scans in visits.values()]
    fixed_scans = [scans[fixed] for scans in visits.values()]
    moving_scans = [scans[moving] for scans in visits.values()]
    if len({subject for subject, _ in visits}) < 2:
        return []
    return draw_pairs(fixed_scans, moving_scans, "all", 0)


def _longitudinal(
    visits: Mapping[Visit, Mapping[str, Scan]], moving: str, fixed: str
) -> tuple[list[PlannedPair], dict[str, str]]:
    of_person: dict[str, list[Mapping[str, Scan]]] = {}
    for (subject, _), scans in visits.items():
        of_person.setdefault(subject, []).append(scans)
    pairs, left_out = [], {}
    for subject, sessions in of_person.items():
        first = next((n for n, scans in enumerate(sessions) if fixed in scans), len(sessions))
        later = [scans[moving] for scans in sessions[first + 1 :] if moving in scans]
        pairs += [PlannedPair(sessions[first][fixed], scan, True) for scan in later]
        if not later:
            of_both = moving if moving == fixed else f"{fixed} and a later {moving}"
            left_out[f"sub-{subject}"] = f"has no two sessions with {of_both}"
    return pairs, left_out


def _drawn(
    pairs: Sequence[PlannedPair], count: int, seed: int, kept: Collection[str]
) -> list[PlannedPair]:
    """Return ``count`` pairs: those that were drawn before, then those whose hashes come first."""
    if count > len(pairs):
        raise InputError(
            f"{count} pairs are asked for, but there are {len(pairs)}; ask for 1 to {len(pairs)}."
        )
    ranked = sorted(pairs, key=lambda pair: (pair.id not in kept, digest(seed, pair.id)))
    return ranked[:count]
