"""Training of a descriptor on the prepared scans of an experiment of a study.

The two contrasts may come from different persons (arXiv 2512.22689, section III-D3: one network is
trained on a partition of OASIS-3). The best weights are chosen by persons who are held out. These
have scans in two contrasts of one visit that lie on one grid.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from diffeode.errors import InputError
from diffeode.files.io import read_grid, sha256
from diffeode.geometry.image import bounding_box
from diffeode.learning.descriptor.lesson import Specimen, descriptor_lesson
from diffeode.learning.descriptor.material import Training, read_training
from diffeode.learning.loop import Lesson, take_out, train_by_content
from diffeode.learning.training_files import BEST
from diffeode.units.scan import ScanUnit

_MARGIN_VOX = 8


@final
@dataclass(frozen=True)
class PreparedScan:
    """A prepared scan and the person it shows.

    Attributes:
        folder: the folder of the scan's unit.
        person: the name of the person, which is the same in all datasets that hold scans of the
            person (:func:`diffeode.datasets.person.names_of_persons`).
        visit: the name of the visit on which the scan was made; other persons may have visits of
            the same name.
        contrast: the contrast, such as ``T1w``.
    """

    folder: Path
    person: str
    visit: str
    contrast: str

    @property
    def unit(self) -> ScanUnit:
        """The files of the scan."""
        return ScanUnit(self.folder)


def train_on_prepared(
    file: Path, scans: Sequence[PreparedScan], folder: Path, device: str = "cpu"
) -> Path:
    """Train a descriptor as ``file`` says, on ``scans``.

    :func:`diffeode.learning.descriptor.material.train_descriptor` does the same with files, and
    says what is written to ``folder``.

    Returns:
        the path of the best weights.
    Raises:
        InputError: as for :func:`lesson_of`.
        DamagedFileError: a scan is not what its receipt says.
        TrainingError: the loss or a gradient was not finite.
    """
    training, best = read_training(file), folder / BEST
    lesson = lesson_of(training, scans)
    take_out(train_by_content(lesson, training.settings, folder, device), best)
    return best


def lesson_of(training: Training, scans: Sequence[PreparedScan]) -> Lesson:
    """Return the lesson of ``training`` on ``scans``; label maps are not used.

    Raises:
        InputError: too few persons have two contrasts, or no other person is left to train on.
        DamagedFileError: a scan is not what its receipt says.
    """
    for scan in scans:
        scan.unit.require_intact()
    held_out = _held_out(training, scans)
    pairs = [pair for person in held_out.values() for pair in person]
    specimens = [_specimen(scan) for scan in scans if scan.person not in held_out]
    checksums = {
        f"{scan.folder.parent.name}/{scan.folder.name}": sha256(scan.unit.image_file)
        for scan in scans
    }
    validation = [(one.unit.image().data, other.unit.image().data) for one, other in pairs]
    return descriptor_lesson(
        specimens, validation, training.recipe, checksums, training.settings.seed
    )


_Pair = tuple[PreparedScan, PreparedScan]


def _held_out(training: Training, scans: Sequence[PreparedScan]) -> dict[str, list[_Pair]]:
    """Return the pairs of scans for the validation, by the name of the person.

    The choice of the persons depends on the seed and the names alone.
    """
    pairs: dict[str, list[_Pair]] = {}
    for pair in _pairs(scans):
        pairs.setdefault(pair[0].person, []).append(pair)
    seed, wanted = training.settings.seed, training.validation_persons
    ranked = sorted(pairs, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    if len(ranked) < wanted or len({scan.person for scan in scans}) <= wanted:
        raise InputError(
            f"The experiment {training.experiment} has {len({s.person for s in scans})} persons, "
            f"{len(ranked)} of whom have two contrasts of one visit on one grid; {wanted} such "
            "persons are held out to validate on and others are needed to train on. Draw more "
            "persons, prepare them in one space, or change validation_persons."
        )
    return {name: pairs[name] for name in ranked[:wanted]}


def _pairs(scans: Sequence[PreparedScan]) -> Iterator[_Pair]:
    """Yield every two scans of one visit that have different contrasts and lie on one grid."""
    ordered = sorted(scans, key=lambda scan: (scan.person, scan.visit, scan.contrast))
    for _, visit in itertools.groupby(ordered, key=lambda scan: (scan.person, scan.visit)):
        for one, other in itertools.combinations(visit, 2):
            grids = (read_grid(scan.unit.image_file) for scan in (one, other))
            if one.contrast != other.contrast and next(grids).matches(next(grids)):
                yield one, other


def _specimen(scan: PreparedScan) -> Specimen:
    data = scan.unit.image().data
    lower, upper = bounding_box(data > 0, _MARGIN_VOX)
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    return Specimen(scan.person, np.ascontiguousarray(data[window]), None)
