"""The description of datasets in words: what is here, what is missing, and how to get it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.datasets.demographics import GROUPS
from diffeode.datasets.ixi_download import ARCHIVES
from diffeode.datasets.oasis3 import clinical_table
from diffeode.datasets.scan import Scan, person_prefix
from diffeode.errors import InputError
from diffeode.files.presence import without_hidden
from diffeode.names import in_columns
from diffeode.provenance.receipt import damage, read_receipt
from diffeode.study.files import load_dataset
from diffeode.study.model import Dataset
from diffeode.study.unmatched import unmatched_exclusions

_SHOWN_NAMES = 5
_MADE_HERE = "virtual"


@final
@dataclass(frozen=True)
class Inventory:
    """The scans of a dataset, or why there are none."""

    dataset: Dataset
    scans: tuple[Scan, ...]
    problem: str | None


def dataset_names(repository: Path) -> list[str]:
    """Return the names of all datasets that have a file."""
    return sorted(
        path.stem for path in without_hidden((repository / "config" / "datasets").glob("*.yaml"))
    )


def take_inventory(name: str, repository: Path) -> Inventory:
    """Return the scans of a dataset, or why they cannot be listed.

    Raises:
        InputError: there is no such dataset, or its file is wrong; unusable scans or tables are the
            inventory's ``problem``.
    """
    dataset = load_dataset(name, repository)
    try:
        return Inventory(dataset, tuple(dataset.scans()), None)
    except InputError as error:
        return Inventory(dataset, (), str(error))


def overview_of_all(repository: Path) -> list[str]:
    """Return the :func:`overview` of every dataset, and below it what is wrong in the files of
    datasets that cannot be read.
    """
    inventories, wrong = [], []
    for name in dataset_names(repository):
        try:
            inventories.append(take_inventory(name, repository))
        except InputError as error:
            wrong.append(str(error))
    return [*overview(inventories), *(["", *wrong] if wrong else [])]


def overview(inventories: Sequence[Inventory]) -> list[str]:
    """Return a line for each dataset, and below them what is missing and how to get it."""
    lines = in_columns([("DATASET", "KIND", "THERE", "ROOT"), *map(_row, inventories)])
    problems = [inventory.problem for inventory in inventories if inventory.problem]
    return [*lines, *(["", *problems] if problems else [])]


def description(inventory: Inventory) -> list[str]:
    """Return lines about one dataset, with counts of persons, sessions, contrasts and groups."""
    dataset, scans = inventory.dataset, inventory.scans
    lines = [
        f"{dataset.title} ({dataset.name}): {dataset.population}",
        _line("root", _root(dataset)),
    ]
    lines += [_line(key, text) for key, text in dataset.about.items() if key != "access"]
    if inventory.problem:
        return [*lines, "", inventory.problem]
    lines += ["", *_counts(scans), *_demographics(scans), *_kept_beside(dataset)]
    concern = unmatched_exclusions(dataset)
    return [*lines, *(["", concern] if concern else [])]


def _row(inventory: Inventory) -> tuple[str, str, str, str]:
    dataset = inventory.dataset
    there = (
        "no" if inventory.problem else f"{_persons(inventory.scans)}: {_contrasts(inventory.scans)}"
    )
    if dataset.kind == _MADE_HERE:
        there += " (made by the study)"
    return dataset.name, dataset.kind, there, _root(dataset)


def _root(dataset: Dataset) -> str:
    return os.path.relpath(dataset.root)


def _persons(scans: Sequence[Scan]) -> str:
    return f"{len({scan.person for scan in scans})} persons"


def _contrasts(scans: Sequence[Scan]) -> str:
    return ", ".join(
        f"{count} {modality}" for modality, count in sorted(_by_modality(scans).items())
    )


def _by_modality(scans: Sequence[Scan]) -> Counter[str]:
    return Counter(scan.modality for scan in scans)


def _counts(scans: Sequence[Scan]) -> list[str]:
    lines = [
        _line("persons", str(len({scan.person for scan in scans}))),
        _line("sessions", str(len(_visits(scans)))),
        *(_line(modality, str(count)) for modality, count in sorted(_by_modality(scans).items())),
        _line("label maps", str(sum(scan.labels is not None for scan in scans))),
    ]
    visits = _visits(scans)
    for modality in sorted(_by_modality(scans)):
        seen = _visits(scan for scan in scans if scan.modality == modality)
        if lacking := sorted(visits - seen):
            share = f"{len(lacking)} of {len(visits)} sessions"
            lines.append(_line(f"no {modality}", f"{share}: {_some(lacking)}"))
    return lines


def _visits(scans: Iterable[Scan]) -> set[str]:
    return {person_prefix(scan.subject, scan.session) for scan in scans}


def _demographics(scans: Sequence[Scan]) -> list[str]:
    groups = Counter(scan.group for scan in scans if scan.group)
    order = [
        *(group for group in GROUPS.values() if group in groups),
        *sorted(groups.keys() - set(GROUPS.values())),
    ]
    lines = []
    if groups:
        counts = [f"{group} {groups[group]}" for group in order]
        lines.append(_line("groups", ", ".join(counts)))
    ungrouped = sorted(scan.id for scan in scans if not scan.group)
    if ungrouped:
        lines.append(
            _line("no group", f"{len(ungrouped)} of {len(scans)} scans: {_some(ungrouped)}")
        )
    ages = [scan.age for scan in scans if scan.age is not None]
    if ages:
        lines.append(
            _line("age", f"{min(ages):.0f} to {max(ages):.0f} years, of {len(ages)} scans")
        )
    persons = {(scan.person, scan.sex) for scan in scans if scan.sex}
    sexes = Counter(sex for _, sex in persons)
    if sexes:
        counts = [f"{count} {sex}" for sex, count in sorted(sexes.items())]
        lines.append(_line("sex", ", ".join(counts)))
    return lines


def _kept_beside(dataset: Dataset) -> list[str]:
    """Return a line on OASIS-3's clinical table, or on whether IXI's files are still complete."""
    if dataset.kind == "oasis3" and "demographics" not in dataset.layout:
        return [_line("table", os.path.relpath(clinical_table(dataset.name, dataset.root)))]
    if dataset.kind != "ixi":
        return []
    lines = []
    for name in ARCHIVES:
        receipt = dataset.root / name / "receipt.json"
        if receipt.is_file():
            lines.append(_line(name, damage(receipt) or _complete(receipt)))
    return lines


def _complete(receipt: Path) -> str:
    files = read_receipt(receipt)["outputs"]
    return f"complete, {len(files)} files as in its tar file"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")


def _line(key: str, text: str) -> str:
    return f"  {key:<11} {text}"
