"""Training at a desk: scans in, weights out; the workflow does the same by its rules."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from diffeode.datasets.bids import list_scans
from diffeode.datasets.scan import Scan, choose_scans
from diffeode.errors import InputError
from diffeode.learning.method_training import CURVES, train_to_folder, trained_method
from diffeode.learning.pairs import TrainingPair
from diffeode.prepare.pair import write_aligned_pair
from diffeode.prepare.scan import prepare_scan
from diffeode.prepare.units import Before
from diffeode.provenance.receipt import damage
from diffeode.registration.base import Machine
from diffeode.registration.runs import WEIGHTS, Run

_RECEIPT, _PREPARED, _PAIRS = "receipt.json", "prepared", "pairs"


@final
@dataclass(frozen=True)
class Trainee:
    """Somebody to train on: a scan for the fixed side of pairs and one for the moving side."""

    fixed: Scan
    moving: Scan

    @property
    def name(self) -> str:
        """What checks and messages know the person by."""
        return "/".join(self.fixed.person)


def persons_of_files(
    fixed: Sequence[Path],
    moving: Sequence[Path],
    fixed_labels: Sequence[Path],
    moving_labels: Sequence[Path],
    orientation: str | None = None,
) -> list[Trainee]:
    """One person per place of the lists.

    Args:
        orientation: how those files lie whose headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: lists of different lengths.
    """
    for what, files in (
        ("--moving", moving),
        ("--fixed-labels", fixed_labels),
        ("--moving-labels", moving_labels),
    ):
        if len(files) not in (len(fixed), *([] if what == "--moving" else [0])):
            raise InputError(
                f"{what} has {len(files)} files and --fixed {len(fixed)}; give one per person, in "
                "order."
            )
    absent: list[Path | None] = [None] * len(fixed)
    sides = (("fixed", fixed, fixed_labels or absent), ("moving", moving, moving_labels or absent))
    scans = [
        [
            Scan(
                "desk",
                f"{number:04d}",
                None,
                side,
                image,
                labels,
                None,
                None,
                orientation=orientation,
            )
            for number, (image, labels) in enumerate(zip(images, label_maps, strict=True), 1)
        ]
        for side, images, label_maps in sides
    ]
    return [Trainee(*both) for both in zip(*scans, strict=True)]


def persons_of_dataset(
    root: Path,
    fixed_modality: str,
    moving_modality: str,
    subjects: Sequence[str] | None,
    orientation: str | None = None,
    label_maps: bool = True,
) -> list[Trainee]:
    """Everybody under the BIDS folder ``root``, or the ``subjects`` named, who has both scans; the
    first visit of each.

    Args:
        orientation: as in :func:`persons_of_files`.
        label_maps: whether the run learns from any.

    Raises:
        InputError: no such folder, modality or subject.
    """
    modalities = tuple(dict.fromkeys((fixed_modality, moving_modality)))
    found = list_scans(root.resolve().name, root, modalities, label_maps)
    scans = [replace(scan, orientation=orientation) for scan in found]
    sides = [
        {scan.subject: scan for scan in reversed(choose_scans(scans, modality, subjects))}
        for modality in (fixed_modality, moving_modality)
    ]
    return [
        Trainee(sides[0][subject], sides[1][subject])
        for subject in sorted(sides[0].keys() & sides[1].keys())
    ]


def train_at_desk(
    run: Run,
    persons: Sequence[Trainee],
    folder: Path,
    machine: Machine,
    alignment: str = "affine",
    spacing_mm: float | None = None,
) -> None:
    """Prepare, align and train in ``folder``; what an earlier call finished there is kept.

    Raises:
        InputError: ``run`` is not trained, or scans or persons are unusable, or the training would
            replace a file that it reads.
        TrainingError: the loss was not finite.
    """
    method = trained_method(run)
    if len(persons) < 2 + method.validation_persons:
        raise InputError(
            f"{len(persons)} persons are too few: {run.name} holds {method.validation_persons} "
            "out to validate on and needs two more at least."
        )
    _require_apart(persons, folder)
    pairs = _prepared_pairs(persons, folder, machine, alignment, spacing_mm)
    train_to_folder(run, pairs, folder, machine, {"alignment": alignment, "spacing_mm": spacing_mm})
    shutil.rmtree(folder / _PREPARED)
    shutil.rmtree(folder / _PAIRS)


def _require_apart(persons: Sequence[Trainee], folder: Path) -> None:
    """Raise :class:`InputError` where a scan or label map lies where the training puts, and then
    removes, its own.
    """
    scans = [scan for person in persons for scan in (person.fixed, person.moving)]
    results = [folder / name for name in (WEIGHTS, CURVES, _RECEIPT)]
    for path in (path for scan in scans for path in (scan.image, scan.labels) if path is not None):
        for ours in (folder / _PREPARED, folder / _PAIRS):
            if path.resolve().is_relative_to(ours.resolve()):
                raise InputError(
                    f"{path} lies in {ours}, which the training fills and then removes; move it, "
                    "or choose another -o."
                )
        for result in results:
            if result.is_file() and path.is_file() and result.samefile(path):
                raise InputError(
                    f"{path} is read and would be replaced by the result {result}; move it, or "
                    "choose another -o."
                )


def _prepared_pairs(
    persons: Sequence[Trainee],
    folder: Path,
    machine: Machine,
    alignment: str,
    spacing_mm: float | None,
) -> list[TrainingPair]:
    scans = {scan.id: scan for person in persons for scan in (person.fixed, person.moving)}
    for name, scan in scans.items():
        unit = folder / _PREPARED / name
        if damage(unit / _RECEIPT):
            machine.progress(0.0, f"preparing {name}")
            prepare_scan(scan, Before(), unit, spacing_mm=spacing_mm, seed=machine.seed)
    planned = [(a, b) for a in persons for b in persons if a is not b]
    return [
        _aligned(fixed, moving, folder, machine, alignment, index / len(planned))
        for index, (fixed, moving) in enumerate(planned)
    ]


def _aligned(
    fixed: Trainee, moving: Trainee, folder: Path, machine: Machine, alignment: str, fraction: float
) -> TrainingPair:
    fixed_unit, moving_unit = (
        folder / _PREPARED / scan.id for scan in (fixed.fixed, moving.moving)
    )
    pair = folder / _PAIRS / f"{fixed.fixed.id}__{moving.moving.id}"
    if damage(pair / _RECEIPT):
        machine.progress(fraction, "aligning pairs")
        write_aligned_pair(
            fixed_unit, moving_unit, pair, alignment, "resample", machine.threads, machine.seed
        )
    return TrainingPair(pair, fixed.name, moving.name, fixed_unit, moving_unit)
