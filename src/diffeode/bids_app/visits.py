"""The scans of a BIDS folder that can be used, and why others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from diffeode.bids_app.request import Request
from diffeode.datasets.bids import anat_folders, has_entity, list_readable, volumes
from diffeode.datasets.demographics import subject_key
from diffeode.datasets.scan import Scan, person_prefix
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.presence import lies_at
from diffeode.files.tables import read_words
from diffeode.names import nearest, short

DATASET = "bids"
"""The name of the folder's scans in the study's file."""
_NO_SCANS = ("dseg", "mask", "probseg")
"""Suffixes of volumes that are no scans."""


def usable_scans(
    request: Request, contrasts: Sequence[str]
) -> tuple[list[Scan], dict[str, str], list[str]]:
    """Return the scans of ``contrasts`` that the request asks for and that can be used; what is
    wrong with the others, by the names of their visits or persons; and those of these names that
    have a scan which cannot be used.

    Only headers are read.

    Raises:
        InputError: a person or a session is asked for that is not there, no scan has one of
            ``contrasts``, or an entity that is to choose among scans is in none of their names.
    """
    listed, faults = list_readable(DATASET, request.source, contrasts, request.filters)
    persons = _persons(request)
    _require_contrasts(request, contrasts, listed, faults)
    _require_filters(request, contrasts)
    asked = [scan for scan in listed if scan.subject in persons]
    asked = _of_sessions(asked, request)
    left_out = {
        visit: fault for visit, fault in faults.items() if _is_asked(visit, persons, request)
    }
    unusable = list(left_out)
    for person in persons:
        mine = f"sub-{person}"
        shown = [scan for scan in asked if scan.subject == person]
        if not shown and not any(name.split("_")[0] == mine for name in left_out):
            left_out[mine] = _why_nothing(request, person, contrasts)
    usable = []
    for scan in asked:
        visit = person_prefix(scan.subject, scan.session)
        if fault := _fault(scan):
            left_out[visit] = fault
            unusable.append(visit)
        else:
            usable.append(scan)
    kept = [scan for scan in usable if person_prefix(scan.subject, scan.session) not in left_out]
    return kept, left_out, list(dict.fromkeys(unusable))


def _persons(request: Request) -> list[str]:
    """Return the names of the persons who are asked for, those without a folder included."""
    folders = {
        folder.name.removeprefix("sub-")
        for folder in request.source.glob("sub-*")
        if folder.is_dir()
    }
    if request.participants is None:
        return sorted(folders | _in_table(request.source / "participants.tsv"))
    for person in request.participants:
        if person not in folders:
            raise InputError(
                f"{request.source} has no participant {person!r} (no folder "
                f"sub-{person}){nearest(person, folders)}."
            )
    return sorted(set(request.participants))


def _in_table(table: Path) -> set[str]:
    """Return the names of the persons in ``participants.tsv``."""
    if not lies_at(table):
        return set()
    names = read_words(table)["participant_id"].str.strip()
    return {name.removeprefix("sub-") for name in names if subject_key(name)} - {"n/a"}


def _require_contrasts(
    request: Request, contrasts: Sequence[str], listed: Iterable[Scan], faults: dict[str, str]
) -> None:
    there = {scan.modality for scan in listed}
    for contrast in contrasts:
        if contrast not in there and not faults:
            known = _contrasts_of(request.source)
            raise InputError(
                f"{request.source} has no scan of contrast {contrast} (sub-*/[ses-*/]anat/"
                f"*_{contrast}.nii.gz){nearest(contrast, known)}."
            )


def _require_filters(request: Request, contrasts: Sequence[str]) -> None:
    """Raise :class:`InputError` where a filter fits no scan, and so would choose nothing."""
    folders = list(anat_folders(request.source)) if request.filters else []
    paths = [path for folder in folders for one in contrasts for path in volumes(folder, one)]
    for entity in request.filters:
        if not any(has_entity(path, [entity]) for path in paths):
            known = {part for path in paths for part in path.name.split("_")[1:-1]}
            raise InputError(
                f"No {' or '.join(contrasts)} of {request.source} has {short(entity)} (--filter) "
                f"in its name{nearest(entity, known)}."
            )


def _contrasts_of(source: Path) -> set[str]:
    found = (path for folder in anat_folders(source) for path in volumes(folder, "*"))
    return {path.name.split(".")[0].rpartition("_")[2] for path in found} - set(_NO_SCANS)


def _of_sessions(scans: list[Scan], request: Request) -> list[Scan]:
    if request.sessions is None:
        return scans
    known = {scan.session for scan in scans if scan.session}
    for session in request.sessions:
        if not known:
            raise InputError(
                f"{request.source} has no sessions (folders ses-*), and session {session!r} is "
                "asked for; leave --session-label out."
            )
        if session not in known:
            raise InputError(
                f"No participant asked for has scans in session {session!r}"
                f"{nearest(session, known)}."
            )
    return [scan for scan in scans if scan.session in request.sessions]


def _is_asked(visit: str, persons: Sequence[str], request: Request) -> bool:
    subject, _, session = visit.partition("_ses-")
    wanted = request.sessions is None or session in request.sessions
    return subject.removeprefix("sub-") in persons and wanted


def _why_nothing(request: Request, person: str, contrasts: Sequence[str]) -> str:
    if not (request.source / f"sub-{person}").is_dir():
        return "is in participants.tsv and has no folder"
    wanted = " or ".join(dict.fromkeys(contrasts))
    sessions = request.sessions
    where = f" in session {' or '.join(sessions)}" if sessions else ""
    return f"has no {wanted}{where}"


def _fault(scan: Scan) -> str | None:
    """Return why a scan cannot be used as far as its name and its header tell, or None."""
    for kind, name in (("person", scan.subject), ("session", scan.session)):
        if name is not None and not (name.isascii() and name.isalnum()):
            return f"has the {kind} {name!r}, and BIDS names have letters and digits only"
    try:
        io.read_grid(scan.image)
    except InputError as error:
        return str(error)
    return None
