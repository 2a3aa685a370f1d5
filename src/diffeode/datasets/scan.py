"""One scan of a dataset: whom it shows, its contrast, and where its files lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeode.errors import InputError
from diffeode.names import nearest, short

ANATOMICAL = "T1w"
"""The contrast through which the other scans of a visit reach a template, and whose label map they
take.
"""
_RUN = re.compile(r"_run-(\d+)")


@dataclass(frozen=True)
class Scan:
    """A scan and what belongs to it. The files need not exist yet.

    Attributes:
        subject: the person's name in the dataset without the ``sub-`` prefix, ``"01"``.
        session: the visit without the ``ses-`` prefix, or None where the dataset has no sessions.
        modality: the BIDS suffix, ``"T1w"``.
        image: file of the scan.
        labels: file of the label map on the scan's own grid, or None.
        landmarks: file of the table with columns ``name x y z``, RAS mm of the scan, or None.
        group: the person's group at the visit nearest to the scan, such as ``healthy``.
        age: age in years at that visit.
        sex: ``M`` or ``F``.
        cdr: Clinical Dementia Rating at that visit: 0, 0.5, 1, 2 or 3.
        orientation: orientation of the axes of scan and label map where their headers leave it
            open, as :func:`diffeode.files.headers.grid_of` takes it; None where it is not given.
        root: folder of the dataset, by which a person is known again in another dataset; None where
            there is no such folder.
    """

    dataset: str
    subject: str
    session: str | None
    modality: str
    image: Path
    labels: Path | None
    landmarks: Path | None
    group: str | None
    age: float | None = None
    sex: str | None = None
    cdr: float | None = None
    orientation: str | None = None
    root: Path | None = None

    @property
    def id(self) -> str:
        """The scan's name, ``sub-01[_ses-02]_T1w``."""
        return f"{person_prefix(self.subject, self.session)}_{self.modality}"

    @property
    def key(self) -> tuple[str, str]:
        """The key of the scan, which is unique over all datasets."""
        return self.dataset, self.id

    @property
    def person(self) -> tuple[str, str]:
        """The person's name. Another name may stand for the same person, so whether two scans show
        one person is told by :mod:`diffeode.datasets.person`.
        """
        return self.dataset, self.subject


def person_prefix(subject: str, session: str | None) -> str:
    """Return the beginning of the names of all files of one visit, ``sub-01[_ses-02]``.

    >>> person_prefix("01", "02")
    'sub-01_ses-02'
    """
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def require_folder(dataset: str, root: Path) -> None:
    """Raise :class:`InputError` where a dataset has no folder ``root``."""
    if not root.is_dir():
        raise InputError(
            f"Dataset {dataset} has no folder {root}; name the folder where its scans lie."
        )


def first_run(paths: Sequence[Path], name: str) -> Path:
    """Return the file of the first run among the ``paths`` that show scan ``name``.

    Raises:
        InputError: two of the names differ in more than the run, or do not tell the run.
    """
    by_run = {(_RUN.sub("", _stem(path)), _run(path)): path for path in paths}
    if len(by_run) < len(paths) or (
        len(paths) > 1 and len({(rest, run == 0) for rest, run in by_run}) > 1
    ):
        shown = " and ".join(str(path) for path in sorted(paths)[:2])
        raise InputError(
            f"There are two scans named {name}: {shown}; keep one, number them as runs (run-1, "
            "run-2), or choose by a pattern (kind: folder)."
        )
    return by_run[min(by_run)]


def require_distinct(scans: Iterable[Scan]) -> None:
    """Raise :class:`InputError` where two scans have one name, or one file has two names; its pairs
    would match by themselves.
    """
    seen: dict[str, Path] = {}
    files: dict[str, str] = {}
    for scan in scans:
        if scan.id in seen:
            raise InputError(
                f"Dataset {scan.dataset} has two scans named {scan.id}: {seen[scan.id]} and "
                f"{scan.image}; keep one."
            )
        seen[scan.id] = scan.image
        other = files.setdefault(os.path.realpath(scan.image), scan.id)
        if other != scan.id:
            raise InputError(
                f"Dataset {scan.dataset} has the file {scan.image} under two names, {other} and "
                f"{scan.id}; keep one."
            )


def choose_scans(
    scans: Sequence[Scan],
    modality: str,
    subjects: Iterable[str] | None = None,
    groups: Iterable[str] | None = None,
) -> list[Scan]:
    """Return the scans of one modality that show one of ``subjects`` in one of ``groups``.

    Args:
        subjects: names of persons; by default all persons.
        groups: names of groups; by default all scans, also those without a group.

    Raises:
        InputError: no scan has that modality, subject or group; the message suggests the nearest
            name.
    """
    chosen = _having(list(scans), "modality", [modality])
    if subjects is not None:
        chosen = _having(chosen, "subject", [str(s).removeprefix("sub-") for s in subjects])
    if groups is not None:
        chosen = _having(chosen, "group", list(groups))
    return chosen


def _having(scans: list[Scan], attribute: str, wanted: list[str]) -> list[Scan]:
    known = {getattr(scan, attribute) for scan in scans} - {None}
    for value in wanted:
        if value not in known:
            where = f"dataset {scans[0].dataset}" if scans else "the dataset"
            raise InputError(
                f"No chosen scan of {where} has {attribute} {short(value)}{nearest(value, known)}."
            )
    return [scan for scan in scans if getattr(scan, attribute) in wanted]


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _run(path: Path) -> int:
    run = _RUN.search(path.name)
    return int(run.group(1)) if run else 0
