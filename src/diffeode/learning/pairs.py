"""The pairs on which registration networks are trained: on disk, both ways, split by persons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, final

import numpy as np

from diffeode.datasets.person import Person, in_both
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels, Window, foreground, window_around
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.units.pair import PairUnit
from diffeode.units.scan import ScanUnit

_MARGIN_VOX = 4
"""Width of the background that is kept around the two brains."""


@final
@dataclass(frozen=True, eq=False)
class Example:
    """A pair on the box of both brains; every array is ``(X, Y, Z)``.

    Attributes:
        fixed, moving: the images, float32 in [0, 1].
        fixed_labels, moving_labels: the label maps, int32, or None where they were not asked for.
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
        folder: the folder of the pair's unit (:func:`diffeode.prepare.pair.write_aligned_pair`).
        fixed_person, moving_person: the names of the persons.
        fixed_labels, moving_labels: the folders of the prepared scans, which hold their label maps.
        turned: whether fixed and moving image change places; both stay on the grid of the pair.
    """

    folder: Path
    fixed_person: str
    moving_person: str
    fixed_labels: Path
    moving_labels: Path
    turned: bool = False

    @property
    def persons(self) -> frozenset[str]:
        """The names of both persons."""
        return frozenset((self.fixed_person, self.moving_person))

    def example(self, with_labels: bool) -> Example:
        """Read the pair, with its label maps where ``with_labels`` asks for them.

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
        """Return the label maps of both scans on the grid of the pair."""
        to_scan = PairUnit(self.folder).moving_to_scan()
        return tuple(
            warp_labels(_read_labels(unit), way, fixed.grid)
            for unit, way in ((self.fixed_labels, Affine()), (self.moving_labels, to_scan))
        )


def both_ways(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """Return every pair twice, as it is and turned."""
    directed = []
    for pair in pairs:
        directed += [replace(pair, turned=False), replace(pair, turned=True)]
    return directed


class _OfPersons(Protocol):
    """A pair that knows the names of its persons."""

    @property
    def persons(self) -> frozenset[str]: ...


_Pair = TypeVar("_Pair", bound=_OfPersons)


def split_by_person(
    pairs: Sequence[_Pair], held_out: int, seed: int
) -> tuple[list[_Pair], list[_Pair]]:
    """Return the pairs to train on, and the pairs of other persons to validate on.

    Both persons of a pair are held out together, so that few pairs of many persons leave some to
    validate on, too. Who is held out depends on ``seed`` and the names alone. A pair of one person
    who is held out and one who is not belongs to neither part.

    Args:
        held_out: the least number of persons to validate on.
    Raises:
        InputError: too few persons for a pair in both parts.
    """
    persons = frozenset().union(*(pair.persons for pair in pairs))
    apart = _held_out(pairs, held_out, seed)
    training = [pair for pair in pairs if not pair.persons & apart]
    validation = [pair for pair in pairs if pair.persons <= apart]
    if not training or not validation:
        raise InputError(
            f"The {len(pairs)} training pairs of {len(persons)} persons leave none to train on or "
            f"none to validate on with {held_out} persons held out; give pairs of more persons, "
            "or change validation_persons (at least 2)."
        )
    return training, validation


def _held_out(pairs: Sequence[_OfPersons], at_least: int, seed: int) -> frozenset[str]:
    """Return the persons of pairs until there are enough; persons with a low rank go first."""

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed} {name}".encode()).digest()

    def ranks(pair: _OfPersons) -> list[bytes]:
        return sorted(map(rank, pair.persons), reverse=True)

    apart: frozenset[str] = frozenset()
    for pair in sorted(pairs, key=ranks):
        if len(apart) >= at_least:
            break
        apart |= pair.persons
    return apart


def require_no_test_person(training: Iterable[Person], tested: Iterable[Person]) -> None:
    """Raise :class:`InputError` where a person is in both."""
    common = in_both(training, tested)
    if common:
        raise InputError(
            f"{len(common)} of the persons to test on are among those to train on "
            f"({', '.join(common[:5])}); choose other subjects for the training, or leave their "
            "experiment out of the study."
        )


def brain_box(fixed: Image, moving: Image) -> Window:
    """Return the box of both brains, with a margin, as a slice of each axis.

    Raises:
        InputError: a brain is empty or constant.
    """
    masks = [_textured(image, side) for image, side in ((fixed, "fixed"), (moving, "moving"))]
    return window_around(masks[0] | masks[1], _MARGIN_VOX)


def _textured(image: Image, side: str) -> np.ndarray:
    """Return the brain of ``image``, bool; raise :class:`InputError` where it is constant."""
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
