"""One scan of a dataset: who, which contrast, and where its files lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeode.errors import InputError
from diffeode.names import nearest


@dataclass(frozen=True)
class Scan:
    """A scan and what belongs to it. The files need not exist yet.

    Attributes:
        subject: without the ``sub-`` prefix, ``"01"``.
        session: without the ``ses-`` prefix, or None where the dataset has no sessions.
        modality: the BIDS suffix, ``"T1w"``.
        labels: label map on the scan's own grid.
        landmarks: table with columns ``name x y z``, RAS mm of the scan.
        group: the person's group in ``participants.tsv``.
    """

    dataset: str
    subject: str
    session: str | None
    modality: str
    image: Path
    labels: Path | None
    landmarks: Path | None
    group: str | None

    @property
    def id(self) -> str:
        """The scan's name, ``sub-01[_ses-02]_T1w``."""
        return f"{person_prefix(self.subject, self.session)}_{self.modality}"

    @property
    def key(self) -> tuple[str, str]:
        """The scan's name among those of all datasets."""
        return self.dataset, self.id

    @property
    def person(self) -> tuple[str, str]:
        """Who was scanned: subjects of different datasets are different persons."""
        return self.dataset, self.subject


def person_prefix(subject: str, session: str | None) -> str:
    """What the names of all files of one visit begin with, ``sub-01[_ses-02]``."""
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def choose_scans(
    scans: Sequence[Scan], modality: str, subjects: Iterable[str] | None = None, groups: Iterable[str] | None = None
) -> list[Scan]:
    """The scans of one ``modality``, of ``subjects`` (all where None) and of ``groups`` (any where None).

    Raises:
        InputError: no scan has that modality, subject or group; the message names the nearest one.
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
            raise InputError(f"No chosen scan of {where} has {attribute} {value!r}{nearest(value, known)}.")
    return [scan for scan in scans if getattr(scan, attribute) in wanted]
