"""The virtual cohort: persons that are made from the ICBM152 template by known maps, so that the
true map of every pair is known.

No person was scanned. ``docs/virtual-cohort.md`` says how everything is made.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

from diffeode.datasets.scan import Scan, person_prefix
from diffeode.datasets.virtual_anatomy import (
    load_tissue_maps,
    template_labels,
    template_landmarks,
)
from diffeode.datasets.virtual_contrast import SEQUENCES, acquire, person_grid, person_labels
from diffeode.datasets.virtual_deformation import PersonMap, person_map
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.process.watch import die_with_parent
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.software import preparing_versions

_DEMENTIA_RATINGS = (0.5, 1.0, 2.0, 3.0)
_MOST_PERSONS = 99
_SPACINGS_MM = (1.0, 6.0)


def planned_scans(dataset: str, root: Path, persons: int) -> list[Scan]:
    """Return the scans that :func:`make_cohort` makes under ``root``, before it has made them.

    Raises:
        InputError: ``persons`` lies outside 2 to 99.
    """
    _require_persons(persons)
    return [
        _planned(dataset, Path(root), person, modality)
        for person in range(1, persons + 1)
        for modality in SEQUENCES
    ]


def make_cohort(root: Path, persons: int, spacing_mm: float, seed: int, processes: int = 1) -> None:
    """Write the cohort as a BIDS folder, with a receipt.

    Person ``n`` depends on ``seed`` and ``n`` alone: a larger cohort begins with the smaller one,
    and another spacing shows the same anatomy.

    Args:
        processes: number of processes that share the persons among them.

    Raises:
        InputError: ``persons`` lies outside 2 to 99, or ``spacing_mm`` outside 1 to 6 mm.
    """
    _require_persons(persons)
    if not _SPACINGS_MM[0] <= spacing_mm <= _SPACINGS_MM[1]:
        raise InputError(
            f"The virtual cohort's spacing_mm is {spacing_mm}; it must lie between 1 and 6 mm."
        )
    root = Path(root)
    write = partial(_write_person, root, spacing_mm=spacing_mm, seed=seed)
    files = [name for names in _of_all(write, persons, processes) for name in names]
    files += _write_tables(root, persons)
    about = {"virtual": True, "persons": persons, "spacing_mm": spacing_mm, "seed": seed}
    write_receipt(root, files, {**about, "software": preparing_versions()})


def person_transform(person: int, seed: int) -> PersonMap:
    """Return the map from points of virtual person ``person`` (1, 2, ...) to points of the
    template, RAS mm.

    Its ``inverse`` maps back, so the true map between two persons is
    ``moving.inverse(fixed(points))``.
    """
    return person_map(person, dementia_rating(person), seed)


def dementia_rating(person: int) -> float:
    """Return the Clinical Dementia Rating of a person.

    It is 0 for odd numbers; even numbers run through 0.5, 1, 2 and 3.

    >>> [dementia_rating(person) for person in range(1, 7)]
    [0.0, 0.5, 0.0, 1.0, 0.0, 2.0]
    """
    return 0.0 if person % 2 else _DEMENTIA_RATINGS[(person // 2 - 1) % len(_DEMENTIA_RATINGS)]


def _group(person: int) -> str:
    return "atrophy" if dementia_rating(person) else "healthy"


def _planned(dataset: str, root: Path, person: int, modality: str) -> Scan:
    subject = f"{person:02d}"
    stem = root / f"sub-{subject}" / "anat" / person_prefix(subject, None)
    return Scan(
        dataset=dataset,
        subject=subject,
        session=None,
        modality=modality,
        image=Path(f"{stem}_{modality}.nii.gz"),
        labels=Path(f"{stem}_dseg.nii.gz"),
        landmarks=Path(f"{stem}_landmarks.tsv"),
        group=_group(person),
        cdr=dementia_rating(person),
    )


def _write_person(root: Path, person: int, spacing_mm: float, seed: int) -> list[str]:
    """Write one person's scans, labels and landmarks; return their paths below ``root``."""
    to_template = person_transform(person, seed)
    grid = person_grid(to_template, spacing_mm)
    planned = [_planned("virtual", root, person, modality) for modality in SEQUENCES]
    scans = acquire(to_template, grid, person, seed)
    for plan in planned:
        io.write_image(plan.image, scans[plan.modality])
    io.write_labels(planned[0].labels, person_labels(to_template, grid))
    _write_table(planned[0].landmarks, person_landmarks(to_template))
    written = [*(plan.image for plan in planned), planned[0].labels, planned[0].landmarks]
    return [str(path.relative_to(root)) for path in written]


def _of_all(write: Callable[[int], list[str]], persons: int, processes: int) -> list[list[str]]:
    """Return what ``write`` returns for each person."""
    numbers = range(1, persons + 1)
    if processes == 1:
        return list(map(write, numbers))
    # made once, before the processes are forked
    load_tissue_maps()
    template_labels()
    fork = multiprocessing.get_context("fork")
    workers = min(processes, persons)
    with ProcessPoolExecutor(workers, fork, _work_alone, (os.getpid(),)) as pool:
        return list(pool.map(write, numbers))


def _work_alone(parent: int) -> None:
    """Let this process, one of several, end with the process ``parent`` and use one thread."""
    die_with_parent(parent)
    from diffeode.process.threads import use_threads

    use_threads(1)


def person_landmarks(to_template: PersonMap) -> pd.DataFrame:
    """Return the template's landmarks in the person, columns ``name x y z``, RAS mm."""
    landmarks = template_landmarks().copy()
    landmarks[["x", "y", "z"]] = to_template.inverse(landmarks[["x", "y", "z"]].to_numpy())
    return landmarks.round(4)


def _write_tables(root: Path, persons: int) -> list[str]:
    rows = [(f"sub-{p:02d}", _group(p), dementia_rating(p)) for p in range(1, persons + 1)]
    _write_table(
        root / "participants.tsv", pd.DataFrame(rows, columns=["participant_id", "group", "cdr"])
    )
    io.write_json(
        root / "dataset_description.json",
        {
            "Name": "Virtual cohort (virtual: no person was scanned)",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [
                {"Name": "diffeode", "Description": "ICBM152 template under known diffeomorphisms"}
            ],
        },
    )
    return ["participants.tsv", "dataset_description.json"]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with io.written_whole(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False)


def _require_persons(persons: int) -> None:
    if not 2 <= persons <= _MOST_PERSONS:
        raise InputError(
            f"The virtual cohort cannot have {persons} persons; it needs 2 to {_MOST_PERSONS}."
        )
