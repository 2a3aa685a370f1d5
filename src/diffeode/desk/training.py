"""Train a run at a desk: read the scans of persons, write weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from diffeode.datasets.bids import list_scans
from diffeode.datasets.scan import Scan, choose_scans
from diffeode.datasets.sessions import of_sessions
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.learning.method_training import train_to_folder, trained_method
from diffeode.learning.pairs import TrainingPair
from diffeode.learning.training_files import CURVES
from diffeode.prepare.pair import write_aligned_pair
from diffeode.prepare.recognised import require_scan
from diffeode.prepare.scan import prepare_scan
from diffeode.prepare.units import Before
from diffeode.provenance.receipt import RECEIPT, damage
from diffeode.registration.base import Machine
from diffeode.registration.runs import WEIGHTS, Run

_PREPARED, _PAIRS = "prepared", "pairs"


@final
@dataclass(frozen=True)
class Trainee:
    """A person to train on, with a scan for the fixed side of pairs and one for the moving side."""

    fixed: Scan
    moving: Scan

    @property
    def name(self) -> str:
        """The person's name in checks and messages."""
        return "/".join(self.fixed.person)


def persons_of_files(
    fixed: Sequence[Path],
    moving: Sequence[Path],
    fixed_labels: Sequence[Path],
    moving_labels: Sequence[Path],
    orientation: str | None = None,
) -> list[Trainee]:
    """Return one person for each position in the lists.

    Args:
        fixed, moving: one scan per person, in the same order.
        fixed_labels, moving_labels: their label maps, or empty lists.
        orientation: the orientation of the axes of those files whose headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: the lists have different lengths, or one of them has a file twice.
    """
    for what, files in (("--fixed", fixed), ("--moving", moving)):
        _require_once(what, files)
    for what, files in (
        ("--moving", moving),
        ("--fixed-labels", fixed_labels),
        ("--moving-labels", moving_labels),
    ):
        if len(files) not in (len(fixed), *([] if what == "--moving" else [0])):
            raise InputError(
                f"{what} has {len(files)} files and --fixed has {len(fixed)}; give one file per "
                "person, in the same order."
            )
    fixed_scans = _scans_of_files("fixed", fixed, fixed_labels, orientation)
    moving_scans = _scans_of_files("moving", moving, moving_labels, orientation)
    return [Trainee(*both) for both in zip(fixed_scans, moving_scans, strict=True)]


def _require_once(what: str, files: Sequence[Path]) -> None:
    """Raise :class:`InputError` where a scan stands for two persons, who would be registered to
    each other.
    """
    seen: dict[str, Path] = {}
    for file in files:
        place = os.path.realpath(file)
        if place in seen:
            raise InputError(
                f"{what} has one scan for two persons ({seen[place]} and {file}); give each person "
                "once."
            )
        seen[place] = file


def _scans_of_files(
    side: str, images: Sequence[Path], label_maps: Sequence[Path], orientation: str | None
) -> list[Scan]:
    maps: Sequence[Path | None] = label_maps or [None] * len(images)
    return [
        Scan(
            "desk", f"{number:04d}", None, side, image, labels, None, None, orientation=orientation
        )
        for number, (image, labels) in enumerate(zip(images, maps, strict=True), start=1)
    ]


def persons_of_dataset(
    root: Path,
    fixed_modality: str,
    moving_modality: str,
    subjects: Sequence[str] | None,
    orientation: str | None = None,
    label_maps: bool = True,
) -> list[Trainee]:
    """Return the persons of a BIDS folder who have a scan of both modalities.

    Of each person the first visit is taken, separately for each modality.

    Args:
        root: the BIDS folder.
        subjects: names of persons; by default all persons.
        orientation: as for :func:`persons_of_files`.
        label_maps: whether the run learns from label maps.

    Raises:
        InputError: there is no such folder, modality or subject.
    """
    modalities = tuple(dict.fromkeys((fixed_modality, moving_modality)))
    found = list_scans(root.resolve().name, root, modalities, label_maps)
    scans = [replace(scan, orientation=orientation) for scan in found]
    fixed = _first_visits(choose_scans(scans, fixed_modality, subjects))
    moving = _first_visits(choose_scans(scans, moving_modality, subjects))
    both = sorted(fixed.keys() & moving.keys())
    return [Trainee(fixed[subject], moving[subject]) for subject in both]


def _first_visits(scans: Sequence[Scan]) -> dict[str, Scan]:
    """Return the scan of each subject's first session, by the numbers in the sessions' names."""
    return {scan.subject: scan for scan in of_sessions(scans, "first")}


def train_at_desk(
    run: Run,
    persons: Sequence[Trainee],
    folder: Path,
    machine: Machine,
    alignment: str = "affine",
    spacing_mm: float | None = None,
    *,
    are_scans: bool = False,
) -> None:
    """Prepare the scans, align all pairs and train ``run``, all in ``folder``.

    Work that an earlier call finished there is not done again.

    Args:
        are_scans: whether the scans of ``persons`` are scans even where their values look like
            those of a label map, which is refused otherwise.

    Raises:
        InputError: ``run`` is not one that is trained, scans are unusable or look like label maps,
            there are too few persons, or the training would replace a file that it reads.
        TrainingError: the loss was not finite.
    """
    method = trained_method(run)
    if len(persons) < 2 + method.validation_persons:
        raise InputError(
            f"{len(persons)} persons are too few: {run.name} keeps {method.validation_persons} "
            "of them for validation and needs at least two more; give "
            f"{2 + method.validation_persons} persons or more."
        )
    _require_apart(persons, folder)
    pairs = _prepared_pairs(persons, folder, machine, alignment, spacing_mm, are_scans)
    train_to_folder(run, pairs, folder, machine, {"alignment": alignment, "spacing_mm": spacing_mm})
    shutil.rmtree(folder / _PREPARED)
    shutil.rmtree(folder / _PAIRS)


def _require_apart(persons: Sequence[Trainee], folder: Path) -> None:
    """Raise :class:`InputError` where the training would remove or replace a file that it reads."""
    scans = [scan for person in persons for scan in (person.fixed, person.moving)]
    results = [folder / name for name in (WEIGHTS, CURVES, RECEIPT)]
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
    are_scans: bool,
) -> list[TrainingPair]:
    scans = {scan.id: scan for person in persons for scan in (person.fixed, person.moving)}
    for name, scan in scans.items():
        unit = folder / _PREPARED / name
        if damage(unit / RECEIPT):
            machine.progress(0.0, f"preparing {name}")
            if not are_scans:
                image = io.read_image(scan.image, scan.orientation)
                require_scan(image.data, str(scan.image), "--are-scans")
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
    if damage(pair / RECEIPT):
        machine.progress(fraction, "aligning pairs")
        write_aligned_pair(
            fixed_unit, moving_unit, pair, alignment, "resample", machine.threads, machine.seed
        )
    return TrainingPair(pair, fixed.name, moving.name, fixed_unit, moving_unit)
