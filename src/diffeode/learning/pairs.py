"""What registration networks are trained on: aligned pairs on disk, both ways, split by persons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from diffeode.datasets.person import Person, in_both
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels, Window, foreground, window_around
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.units.pair import PairUnit
from diffeode.units.scan import ScanUnit

_MARGIN_VOX = 4
"""Background kept around the two brains."""


@final
@dataclass(frozen=True, eq=False)
class Example:
    """A pair on the box of both brains, ``(X, Y, Z)`` each.

    Attributes:
        fixed, moving: float32 in [0, 1].
        fixed_labels, moving_labels: int32, or None where they were not asked for.
    """

    fixed: np.ndarray
    moving: np.ndarray
    fixed_labels: np.ndarray | None = None
    moving_labels: np.ndarray | None = None


@final
@dataclass(frozen=True)
class TrainingPair:
    """An aligned pair on disk, in one of its two directions.

    Attributes:
        folder: the pair's unit (:func:`diffeode.prepare.pair.write_aligned_pair`).
        fixed_person, moving_person: who was scanned.
        fixed_labels, moving_labels: units that hold the labels of the prepared scans.
        turned: the two change places; both stay on the grid of the pair.
    """

    folder: Path
    fixed_person: str
    moving_person: str
    fixed_labels: Path
    moving_labels: Path
    turned: bool = False

    @property
    def persons(self) -> frozenset[str]:
        """Both."""
        return frozenset((self.fixed_person, self.moving_person))

    def example(self, with_labels: bool) -> Example:
        """What a network sees.

        Raises:
            InputError: labels are asked for and a scan has none, or a brain is empty or constant.
            DamagedFileError: the pair is not what its receipt says.
        """
        pair = PairUnit(self.folder)
        pair.require_intact()
        fixed, moving = pair.fixed(), pair.moving()
        window = brain_box(fixed, moving)
        images = [fixed.data[window], moving.data[window]]
        labels = (
            [part.data[window] for part in self._labels(fixed)] if with_labels else [None, None]
        )
        order = -1 if self.turned else 1
        return Example(*images[::order], *labels[::order])

    def _labels(self, fixed: Image) -> tuple[Labels, Labels]:
        """Of both scans, on the grid of the pair."""
        to_scan = PairUnit(self.folder).moving_to_scan()
        return tuple(
            warp_labels(_read_labels(unit), way, fixed.grid)
            for unit, way in ((self.fixed_labels, Affine()), (self.moving_labels, to_scan))
        )


def both_ways(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """Every pair as it is, and turned."""
    return [replace(pair, turned=turned) for pair in pairs for turned in (False, True)]


def split_by_person(
    pairs: Sequence[TrainingPair], held_out: int, seed: int
) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Pairs to train on, and pairs of ``held_out`` other persons to choose the best weights by.

    Who is held out depends on ``seed`` and the names alone. Pairs of one person on either side are
    left out.

    Raises:
        InputError: too few persons for a pair in both parts.
    """
    persons = sorted(frozenset().union(*(pair.persons for pair in pairs)))
    ranked = sorted(persons, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    apart = frozenset(ranked[:held_out])
    training = [pair for pair in pairs if not pair.persons & apart]
    validation = [pair for pair in pairs if pair.persons <= apart]
    if not training or not validation:
        raise InputError(
            f"The {len(pairs)} training pairs of {len(persons)} persons leave none to train on or "
            f"none to validate on with {held_out} persons held out; give pairs of more persons, "
            "or change validation_persons (at least 2)."
        )
    return training, validation


def require_no_test_person(training: Iterable[Person], tested: Iterable[Person]) -> None:
    """Raise :class:`InputError` where somebody is in both."""
    common = in_both(training, tested)
    if common:
        raise InputError(
            f"{len(common)} of the persons to test on are among those to train on "
            f"({', '.join(common[:5])}); choose other subjects for the training, or leave their "
            "experiment out of the study."
        )


def brain_box(fixed: Image, moving: Image) -> Window:
    """The voxels around both brains, with a margin.

    Raises:
        InputError: a brain is empty or constant.
    """
    masks = [_textured(image, side) for image, side in ((fixed, "fixed"), (moving, "moving"))]
    return window_around(masks[0] | masks[1], _MARGIN_VOX)


def _textured(image: Image, side: str) -> np.ndarray:
    mask = foreground(image)
    if np.ptp(image.data[mask]) == 0:
        raise InputError(
            f"The {side} brain is constant; a network finds nothing in it, give a scan with "
            "contrast."
        )
    return mask


def _read_labels(folder: Path) -> Labels:
    unit = ScanUnit(folder)
    unit.require_intact()
    if not unit.labels_file.is_file():
        raise InputError(
            f"The prepared scan {folder} has no labels, which this method is trained with; add a "
            "label map, and where a study makes it, its dataset's key labels."
        )
    return io.read_labels(unit.labels_file)
