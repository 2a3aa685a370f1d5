"""Scans of a folder in the BIDS layout, ``sub-<s>/[ses-<v>/]anat/sub-<s>[_ses-<v>]..._<modality>.nii[.gz]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffeode.datasets.scan import Scan, person_prefix
from diffeode.errors import InputError

_ENTITY = re.compile(r"_space-([A-Za-z0-9]+)")


def list_scans(dataset: str, root: Path, modalities: Sequence[str] = ("T1w", "T2w")) -> list[Scan]:
    """Every scan of ``modalities`` under ``root``, sorted by name, with its label map, landmarks and group.

    A label map is ``<person>_dseg`` or, where there is none, the only ``<person>_<...>_dseg`` beside the scan; one that
    says ``space-<modality>`` belongs to that modality alone.

    Raises:
        InputError: no such folder, no scan, two scans with one name, a file in another person's folder, several label
            maps, or a ``participants.tsv`` without ``participant_id``.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"Dataset {dataset} has no folder {root}; set its root (or DIFFEODE_DATA) to where the scans lie."
        )
    groups = _groups(root / "participants.tsv")
    scans = [
        _scan(dataset, root, path, modality, groups)
        for folder in sorted([*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat")])
        for modality in modalities
        for path in _volumes(folder, modality)
    ]
    if not scans:
        raise InputError(f"Dataset {dataset} has no scan sub-*/anat/*_({'|'.join(modalities)}).nii.gz under {root}.")
    _require_distinct(scans)
    return sorted(scans, key=lambda scan: scan.id)


def _volumes(folder: Path, suffix: str) -> list[Path]:
    return sorted([*folder.glob(f"*_{suffix}.nii"), *folder.glob(f"*_{suffix}.nii.gz")])


def _scan(dataset: str, root: Path, path: Path, modality: str, groups: dict[str, str]) -> Scan:
    subject_folder, *session_folder = path.relative_to(root).parts[:-2]
    subject = subject_folder.removeprefix("sub-")
    session = session_folder[0].removeprefix("ses-") if session_folder else None
    person = person_prefix(subject, session)
    if not path.name.startswith(f"{person}_"):
        raise InputError(f"{path} lies in the folder of {person} but is named otherwise; rename or move it.")
    landmarks = path.parent / f"{person}_landmarks.tsv"
    return Scan(
        dataset=dataset,
        subject=subject,
        session=session,
        modality=modality,
        image=path,
        labels=_label_map(path.parent, person, modality),
        landmarks=landmarks if landmarks.is_file() else None,
        group=groups.get(subject),
    )


def _label_map(folder: Path, person: str, modality: str) -> Path | None:
    found = [path for path in _volumes(folder, "dseg") if path.name.startswith(f"{person}_")]
    found = [path for path in found if _space(path) in (None, modality)]
    plain = [path for path in found if path.name.split(".")[0] == f"{person}_dseg"]
    candidates = plain or found
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise InputError(f"{folder} has several label maps of {person} ({names}); keep one.")
    return candidates[0] if candidates else None


def _space(path: Path) -> str | None:
    entity = _ENTITY.search(path.name)
    return entity.group(1) if entity else None


def _groups(table: Path) -> dict[str, str]:
    if not table.is_file():
        return {}
    participants = pd.read_csv(table, sep="\t", dtype=str)
    if "participant_id" not in participants:
        raise InputError(f"{table} has no column participant_id; add it (values sub-01, sub-02, ...).")
    if "group" not in participants:
        return {}
    grouped = participants.dropna(subset=["group"])
    return dict(zip(grouped["participant_id"].str.removeprefix("sub-"), grouped["group"], strict=True))


def _require_distinct(scans: list[Scan]) -> None:
    seen: dict[str, Path] = {}
    for scan in scans:
        if scan.id in seen:
            raise InputError(
                f"Dataset {scan.dataset} has two scans named {scan.id}: {seen[scan.id]} and {scan.image}; keep one."
            )
        seen[scan.id] = scan.image
