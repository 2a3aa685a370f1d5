"""What a descriptor is trained on: a training's file, and the scans and label maps it names.

A training's file is YAML::

    scans: [patterns of scans to train on, below the data's folder]
    labels: [patterns of label maps without a scan]
    validation: [patterns of scans of persons in two contrasts]
    test: [patterns of files of persons who must never be trained on]
    experiment: NAME               # in place of these: an experiment, its scans as a study prepares
                                   # them (diffeode.learning.descriptor.prepared)
    validation_persons: 2          # how many of its persons are held out
    orientation: RAS               # how they lie where headers leave it open
    (diffeode.files.headers.grid_of)
    recipe: {crop: 48, ...}        # Recipe
    settings: {steps: 2000, ...}   # diffeode.learning.loop.Settings

A scan's label map is the file beside it that ends in ``_dseg`` instead of its modality, where it
lies on the same grid.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml

from diffeode.datasets.person import in_both, person_of_file
from diffeode.errors import InputError
from diffeode.files.headers import require_orientation
from diffeode.files.io import read_grid, read_image, read_labels, sha256
from diffeode.files.presence import without_hidden
from diffeode.geometry.image import Image, bounding_box
from diffeode.learning.descriptor.lesson import Recipe, Specimen, descriptor_lesson
from diffeode.learning.loop import BEST, Lesson, Settings, take_out, train_by_content
from diffeode.names import nearest
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.intensity import robust

_SUFFIX = ".nii.gz"
_OUTSIDE_BRAIN = range(500, 600)
"""SynthSeg's own numbers for skull, skin, air and what else lies outside."""


@final
@dataclass(frozen=True)
class Training:
    """A training's file, read and checked; see the module."""

    scans: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    experiment: str = ""
    validation_persons: int = 2
    orientation: str | None = None
    recipe: Recipe = field(default_factory=Recipe)
    settings: Settings = field(
        default_factory=lambda: Settings(steps=2000, criterion="validation_loss")
    )


def read_training(path: Path | str) -> Training:
    """The training described at ``path``.

    Raises:
        InputError: it is missing, no YAML, or holds an unknown key or an unusable value.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} is no readable training file: {str(error).splitlines()[0]}."
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must say scans or labels to train on, and validation.")
    parts = _known(content, Training, path)
    for name in ("scans", "labels", "validation", "test"):
        parts[name] = tuple(parts.get(name) or ())
    _require_one_source(parts, path)
    if parts.get("orientation") is not None:
        require_orientation(str(parts["orientation"]))
    parts["recipe"] = Recipe(**_known(parts.get("recipe") or {}, Recipe, path))
    parts["settings"] = Settings(
        **{"criterion": "validation_loss", **_known(parts["settings"], Settings, path)}
    )
    return Training(**parts)


def _require_one_source(parts: dict[str, Any], path: Path | str) -> None:
    """Raise :class:`InputError` where files are named beside an experiment, or what stands for an
    experiment cannot be one.
    """
    named = parts.get("experiment", "")
    if not isinstance(named, str) or ("experiment" in parts and not named):
        raise InputError(f"{path} has the experiment {named!r}, which is no name.")
    of_files = ("scans", "labels", "validation", "test", "orientation")
    both = [key for key in of_files if parts.get(key)]
    if named and both:
        raise InputError(
            f"{path} names an experiment, whose prepared scans are trained on, and {both[0]} "
            "besides; leave one of the two out."
        )
    held_out = parts.get("validation_persons", 1)
    if isinstance(held_out, bool) or not isinstance(held_out, int) or held_out < 1:
        raise InputError(
            f"{path} has validation_persons: {held_out!r}; it must be a whole number from 1 on."
        )
    if "validation_persons" in parts and not named:
        raise InputError(
            f"{path} has validation_persons, which is for the scans of an experiment; name persons "
            "by validation instead."
        )


def train_descriptor(file: Path, data: Path, folder: Path, device: str = "cpu") -> Path:
    """Train as ``file`` says on the scans below ``data``, going on where an earlier call in
    ``folder`` was killed.

    The best weights and their curves come to lie in ``folder``, checkpoints in a folder below it
    that is named after settings, data and code, so what differs in one of them begins anew.

    Returns:
        the file of the best weights.
    Raises:
        InputError: as :func:`read_training` and :func:`lesson_from`.
        TrainingError: the loss or a gradient was not finite.
    """
    training, best = read_training(file), folder / BEST
    take_out(train_by_content(lesson_from(training, data), training.settings, folder, device), best)
    return best


def lesson_from(training: Training, data: Path) -> Lesson:
    """The lesson of ``training`` on the scans below ``data``.

    Raises:
        InputError: a pattern finds nothing, a scan is unusable, a test person or a person of the
            validation is among those trained on, or a person of the validation has but one
            contrast.
    """
    if training.experiment:
        raise InputError(
            f"This descriptor is trained on the prepared scans of the experiment "
            f"{training.experiment}; run a study that has a run with its weights."
        )
    scans, labels = _found(training.scans, data), _found(training.labels, data)
    validation, test = _found(training.validation, data), _found(training.test, data)
    _require_apart([*scans, *labels], validation, "validated on")
    _require_apart([*scans, *labels, *validation], test, "tested on")
    how = training.orientation
    specimens = [
        *(_with_scan(file, how) for file in scans),
        *(_with_labels(file, how) for file in labels),
    ]
    checksums = {
        str(file.relative_to(data)): sha256(file) for file in trained_files(training, data)
    }
    return descriptor_lesson(
        specimens, _contrasts(validation, how), training.recipe, checksums, training.settings.seed
    )


def trained_files(training: Training, data: Path) -> list[Path]:
    """Every file that decides what is learned: scans, the label maps beside them, label maps and
    validation.

    Raises:
        InputError: a pattern finds nothing.
    """
    scans = _found(training.scans, data)
    companions = [
        beside
        for file in scans
        if (beside := _label_map_of(file, training.orientation)) is not None
    ]
    others = (*_found(training.labels, data), *_found(training.validation, data))
    return sorted({*scans, *companions, *others})


def prepared(file: Path, orientation: str | None = None) -> Image:
    """A skull-stripped scan with intensities in [0, 1] and background 0.

    Args:
        orientation: how it lies, where its header leaves that open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: it is empty, constant or largely negative.
    """
    image = without_negatives(read_image(file, orientation), file.name)
    return robust(image, nonzero(image, file.name), file.name)


def _known(content: dict[str, Any], kind: type, path: Path | str) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(kind)]
    for key in content:
        if key not in names:
            raise InputError(f"{path} has an unknown key {key!r}{nearest(key, names)}.")
    return dict(content)


def _found(patterns: Sequence[str], data: Path) -> list[Path]:
    files = []
    for pattern in patterns:
        matches = without_hidden(data.glob(pattern))
        if not matches:
            raise InputError(
                f"Nothing below {data} fits {pattern!r}; correct the pattern or the folder of the "
                "data."
            )
        files += matches
    return files


def _require_apart(trained: Sequence[Path], others: Sequence[Path], what: str) -> None:
    shared = in_both(map(person_of_file, trained), map(person_of_file, others))
    if shared:
        raise InputError(
            f"{', '.join(shared)} would be trained on and {what}; take them out of one of the two."
        )


def _label_map_of(scan: Path, orientation: str | None) -> Path | None:
    beside = scan.with_name(scan.name.rpartition("_")[0] + f"_dseg{_SUFFIX}")
    if not beside.is_file() or not read_grid(beside, orientation).matches(
        read_grid(scan, orientation)
    ):
        return None
    return beside


def _with_scan(file: Path, orientation: str | None) -> Specimen:
    image, beside = prepared(file, orientation), _label_map_of(file, orientation)
    labels = None if beside is None else read_labels(beside, orientation).data
    return _cropped(person_of_file(file).name, image.data, labels)


def _with_labels(file: Path, orientation: str | None) -> Specimen:
    labels = read_labels(file, orientation).data
    labels = np.where(np.isin(labels, _OUTSIDE_BRAIN), 0, labels)
    if not labels.any():
        raise InputError(f"{file} holds no label of the brain; leave it out.")
    return _cropped(person_of_file(file).name, None, labels)


def _cropped(person: str, image: np.ndarray | None, labels: np.ndarray | None) -> Specimen:
    lower, upper = bounding_box((labels if image is None else image) > 0, margin=8)
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    return Specimen(
        person, *(None if a is None else np.ascontiguousarray(a[window]) for a in (image, labels))
    )


def _contrasts(
    files: Sequence[Path], orientation: str | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The scans of every person, by twos."""
    return [
        pair
        for _, group in itertools.groupby(files, person_of_file)
        for pair in _twos(list(group), orientation)
    ]


def _twos(files: list[Path], orientation: str | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if len(files) < 2:
        raise InputError(
            f"{files[0]} has no second contrast beside it; validate on persons scanned in two."
        )
    images = [prepared(file, orientation) for file in files]
    for first, second in itertools.combinations(images, 2):
        if not first.grid.matches(second.grid):
            raise InputError(
                f"The contrasts of {person_of_file(files[0]).name} lie on different grids; "
                "resample one to the other."
            )
        yield first.data, second.data
