"""Scans of a BIDS folder, raw or derivative:
``sub-<s>/[ses-<v>/]anat/sub-<s>[_ses-<v>]..._<modality>.nii[.gz]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from diffeode.datasets.demographics import Columns, Demographics, demographics_of
from diffeode.datasets.scan import Scan, first_run, person_prefix, require_folder
from diffeode.errors import InputError
from diffeode.files.presence import lies_at, require_file, without_hidden
from diffeode.files.tables import read_words
from diffeode.names import short

_KINDS = (".nii", ".nii.gz", ".mgz")
_ENTITY = re.compile(r"_space-([A-Za-z0-9]+)")
DESCRIPTION = "dataset_description.json"
"""Name of the file that says what a BIDS folder is."""


def list_scans(
    dataset: str, root: Path, modalities: Sequence[str] = ("T1w", "T2w"), label_maps: bool = True
) -> list[Scan]:
    """Return every scan of ``modalities`` under ``root``, sorted by name.

    Each comes with its label map, its landmarks, and what is known of the person. Scans and label
    maps may be FreeSurfer's ``.mgz``.

    Where a derivative holds a scan in its own space and in others (``space-<...>``), the one in its
    own space is taken. Of several runs the first is taken. The label map is ``<person>_dseg`` or,
    where there is none, the only ``<person>_<...>_dseg`` beside the scan; one that says
    ``space-<modality>`` belongs to that modality alone. Group, age, sex and CDR are those of
    ``participants.tsv``; where it has no column ``group``, the group follows from ``cdr``.

    Args:
        label_maps: whether label maps are wanted; if not, any number of them may be there.

    Raises:
        InputError: there is no such folder, no scan, two scans with one name, a file in another
            person's folder, several label maps where one is wanted, or two rows of one person with
            different groups; or ``participants.tsv`` cannot be read, lacks ``participant_id``, or
            holds an impossible CDR.
    """
    root = Path(root)
    require_folder(dataset, root)
    demographics = _participants(root / "participants.tsv")
    scans = [
        _scan(dataset, root, paths, modality, demographics, label_maps)
        for folder in anat_folders(root)
        for modality in modalities
        if (paths := volumes(folder, modality))
    ]
    if not scans:
        raise InputError(
            f"Dataset {dataset} has no scan sub-*/anat/*_({'|'.join(modalities)}).nii.gz under "
            f"{root}; put scans there, or correct the root of the dataset."
        )
    return sorted(scans, key=lambda scan: scan.id)


def list_readable(
    dataset: str, root: Path, modalities: Sequence[str], preferred: Collection[str] = ()
) -> tuple[list[Scan], dict[str, str]]:
    """Return the scans of ``modalities`` under ``root`` without their label maps, and why others
    cannot be used: a sentence by the name of the visit.

    Args:
        preferred: entities such as ``acq-mprage``. Where a visit has several scans of a contrast,
            those whose names have one of them are taken.

    Raises:
        InputError: as :func:`list_scans`, as far as no single visit is at fault.
    """
    root = Path(root)
    require_folder(dataset, root)
    demographics = _participants(root / "participants.tsv")
    scans, faults = [], {}
    for folder in anat_folders(root):
        for modality in modalities:
            paths = volumes(folder, modality)
            wanted = [path for path in paths if has_entity(path, preferred)] or paths
            try:
                if wanted:
                    scans.append(_scan(dataset, root, wanted, modality, demographics, False))
            except InputError as error:
                faults["_".join(folder.relative_to(root).parts[:-1])] = str(error)
    return sorted(scans, key=lambda scan: scan.id), faults


def read_description(root: Path) -> dict[str, Any]:
    """Return the content of ``dataset_description.json``; empty where there is no such file.

    Raises:
        InputError: the file is no JSON, or its name or kind is no text.
    """
    path = root / DESCRIPTION
    if not lies_at(path):
        return {}
    require_file(path)
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"{path} is not valid JSON; repair or remove it.") from None
    for key in ("Name", "DatasetType"):
        if not isinstance(content.get(key, ""), str):
            raise InputError(f"{path} has {key}: {short(content[key])}, which is no text.")
    return content


def anat_folders(root: Path) -> Iterator[Path]:
    """Yield the folder ``anat`` of each visit under ``root``, sorted."""
    yield from sorted([*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat")])


def volumes(folder: Path, suffix: str) -> list[Path]:
    """Return the volumes in ``folder`` whose names end in ``_<suffix>``, sorted."""
    return without_hidden(path for kind in _KINDS for path in folder.glob(f"*_{suffix}{kind}"))


def has_entity(path: Path, entities: Collection[str]) -> bool:
    """Return whether the name of ``path`` has one of ``entities``, such as ``acq-mprage``."""
    return not set(path.name.split("_")).isdisjoint(entities)


def _scan(
    dataset: str,
    root: Path,
    paths: list[Path],
    modality: str,
    demographics: Demographics,
    label_maps: bool,
) -> Scan:
    folder = paths[0].parent
    subject_folder, *session_folder = folder.relative_to(root).parts[:-1]
    subject = subject_folder.removeprefix("sub-")
    session = session_folder[0].removeprefix("ses-") if session_folder else None
    person = person_prefix(subject, session)
    for path in paths:
        if not path.name.startswith(f"{person}_"):
            raise InputError(
                f"{path} lies in the folder of {person} but is named otherwise; rename or move it."
            )
    landmarks = folder / f"{person}_landmarks.tsv"
    return Scan(
        dataset=dataset,
        subject=subject,
        session=session,
        modality=modality,
        image=first_run(_of_own_space(paths), f"{person}_{modality}"),
        labels=_label_map(folder, person, modality) if label_maps else None,
        landmarks=landmarks if lies_at(landmarks) else None,
        **demographics.of(subject).as_fields(),
    )


def _of_own_space(paths: list[Path]) -> list[Path]:
    """Return those of ``paths`` that lie in the scan's own space; where none does, all."""
    return [path for path in paths if space_of(path) is None] or paths


def _label_map(folder: Path, person: str, modality: str) -> Path | None:
    found = [path for path in volumes(folder, "dseg") if path.name.startswith(f"{person}_")]
    found = [path for path in found if space_of(path) in (None, modality)]
    plain = [path for path in found if path.name.split(".")[0] == f"{person}_dseg"]
    candidates = plain or found
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise InputError(
            f"{folder} has several label maps of {person} ({names}); keep one, or choose by a "
            "pattern (kind: folder)."
        )
    return candidates[0] if candidates else None


def space_of(path: Path) -> str | None:
    """Return the entity ``space`` in the name of ``path``, or None where it has none."""
    entity = _ENTITY.search(path.name)
    return entity.group(1) if entity else None


def _participants(path: Path) -> Demographics:
    if not lies_at(path):
        return Demographics()
    table = read_words(path)
    if "participant_id" not in table:
        raise InputError(
            f"{path} has no column participant_id; add it (values sub-01, sub-02, ...)."
        )
    known = {name: name for name in ("age", "sex", "cdr", "group") if name in table}
    return demographics_of(table, Columns("participant_id", **known), path)
