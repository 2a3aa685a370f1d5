"""The file of a descriptor's training, and the scans and label maps that it names.

The file is YAML; patterns are relative to the folder of the data::

    scans: [patterns of scans to train on]
    labels: [patterns of label maps without a scan to train on]
    validation: [patterns of scans of persons in two contrasts]
    test: [patterns of files of persons who must never be trained on]
    experiment: NAME               # an experiment, in place of all patterns
    validation_persons: 2          # number of its persons for the validation
    orientation: RAS               # of scans whose header does not say it
    are_scans: true                # where scans look like label maps
    recipe: {crop: 48, ...}        # diffeode.learning.descriptor.lesson.Recipe
    settings: {steps: 2000, ...}   # diffeode.learning.loop.Settings

With ``experiment`` a descriptor is trained on the scans of that experiment, as a study prepares
them (:mod:`diffeode.learning.descriptor.prepared`).
:func:`diffeode.files.headers.grid_of` says more about ``orientation``, and
:mod:`diffeode.prepare.recognised` about what looks like a label map. The label map of a scan is the
file beside it that ends in ``_dseg`` in place of its modality. It is used where it lies on the same
grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from diffeode.datasets.person import in_both, person_of_file
from diffeode.errors import InputError
from diffeode.files.checked_yaml import (
    BLOCK,
    FLAG,
    WHOLE,
    WORD,
    WORDS,
    Key,
    keys_of,
    or_null,
    read_mapping,
    require_keys,
)
from diffeode.files.headers import require_orientation
from diffeode.files.io import read_grid, read_image, read_labels, sha256
from diffeode.files.presence import without_hidden
from diffeode.geometry.image import Image, window_around
from diffeode.learning.descriptor.lesson import Recipe, Specimen, descriptor_lesson
from diffeode.learning.loop import Lesson, Settings, take_out, train_by_content
from diffeode.learning.training_files import BEST
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.intensity import robust
from diffeode.prepare.recognised import require_scan

_SUFFIX = ".nii.gz"
_OUTSIDE_BRAIN = range(500, 600)
"""The ids of SynthSeg's labels for what lies outside the brain, such as skull, skin and air."""

_PATTERNS = ("scans", "labels", "validation", "test")
_KEYS = {
    **dict.fromkeys(_PATTERNS, or_null(WORDS)),
    "experiment": Key("the name of an experiment", lambda value: WORD.fits(value) and value != ""),
    "validation_persons": Key(
        "a whole number from 1 on", lambda value: WHOLE.fits(value) and value >= 1
    ),
    "orientation": or_null(WORD),
    "are_scans": or_null(FLAG),
    "recipe": or_null(BLOCK),
    "settings": or_null(BLOCK),
}
"""The keys of a training's file, and what each holds."""
_OF_FILES = (*_PATTERNS, "orientation", "are_scans")
"""The keys that have no meaning beside an experiment."""
_DEFAULT_SETTINGS: dict[str, Any] = {"steps": 2000, "criterion": "validation_loss"}
_CRITERIA = ("validation_loss", "validation_alignment", "validation_uniformity", "loss")
"""The columns of the curves whose least value is the best; retrieval is better the larger it is."""
_LARGEST_SEED = 2**31 - 1
_SETTINGS_KEYS = {
    **keys_of(Settings),
    "criterion": Key(f"one of {', '.join(_CRITERIA)}", _CRITERIA.__contains__),
    "seed": Key(
        f"a whole number from 0 to {_LARGEST_SEED}",
        lambda value: WHOLE.fits(value) and 0 <= value <= _LARGEST_SEED,
    ),
}
"""The keys of ``settings``, and what each holds."""


@final
@dataclass(frozen=True)
class Training:
    """The content of a training's file, checked; the docstring of the module explains its keys."""

    scans: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    experiment: str = ""
    validation_persons: int = 2
    orientation: str | None = None
    are_scans: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    settings: Settings = field(default_factory=lambda: Settings(**_DEFAULT_SETTINGS))


def read_training(path: Path | str) -> Training:
    """Read and check the training's file at ``path``.

    Raises:
        InputError: the file is missing, is no YAML, or holds an unknown key or an unusable value.
    """
    where = str(path)
    parts = read_mapping(path, "training file")
    require_keys(parts, _KEYS, where)
    _require_one_source(parts, where)
    recipe, settings = parts.get("recipe") or {}, parts.get("settings") or {}
    require_keys(recipe, keys_of(Recipe), where, "recipe")
    settings = {**_DEFAULT_SETTINGS, **settings}
    require_keys(settings, _SETTINGS_KEYS, where, "settings")
    if parts.get("orientation") is not None:
        require_orientation(parts["orientation"])
    of_experiment = ("experiment", "validation_persons")
    return Training(
        **{name: tuple(parts.get(name) or ()) for name in _PATTERNS},
        **{name: parts[name] for name in of_experiment if name in parts},
        orientation=parts.get("orientation"),
        are_scans=bool(parts.get("are_scans")),
        recipe=Recipe(**recipe),
        settings=Settings(**settings),
    )


def _require_one_source(parts: Mapping[str, Any], where: str) -> None:
    """Raise :class:`InputError` where files are named beside an experiment, or persons are counted
    without one.
    """
    both = [key for key in _OF_FILES if parts.get(key)]
    if "experiment" in parts and both:
        raise InputError(
            f"{where} names an experiment, whose prepared scans are trained on, and has the key "
            f"{both[0]!r} besides; remove one of the two."
        )
    if "validation_persons" in parts and "experiment" not in parts:
        raise InputError(
            f"{where} has validation_persons, which counts persons of an experiment, and names no "
            "experiment; name scans of persons by validation instead."
        )


def train_descriptor(file: Path, data: Path, folder: Path, device: str = "cpu") -> Path:
    """Train a descriptor as ``file`` says, on the scans below ``data``.

    The best weights and their curves are written to ``folder``. A training that was killed there is
    resumed. Checkpoints lie in a folder below it that is named after settings, data and code, so a
    training that differs in one of them begins anew.

    Returns:
        the path of the best weights.
    Raises:
        InputError: as for :func:`read_training` and :func:`lesson_from`.
        TrainingError: the loss or a gradient was not finite.
    """
    training, best = read_training(file), folder / BEST
    take_out(train_by_content(lesson_from(training, data), training.settings, folder, device), best)
    return best


def lesson_from(training: Training, data: Path) -> Lesson:
    """Return the lesson of ``training`` on the scans below ``data``.

    Raises:
        InputError: the training names an experiment; a pattern finds nothing; a scan cannot be
            used, or looks like a label map although ``are_scans`` is not set; a person to test or
            to validate on is trained on; or a person to validate on has a single contrast, or two
            copies of one image.
    """
    if training.experiment:
        raise InputError(
            "This descriptor is trained on the prepared scans of the experiment "
            f"{training.experiment}; run a study that has a run with its weights."
        )
    scans, labels = _found(training.scans, data), _found(training.labels, data)
    validation, test = _found(training.validation, data), _found(training.test, data)
    _require_apart([*scans, *labels], validation, "validated on")
    _require_apart([*scans, *labels, *validation], test, "tested on")
    specimens = [_with_scan(file, training) for file in scans]
    specimens += [_with_labels(file, training.orientation) for file in labels]
    checksums = {
        str(file.relative_to(data)): sha256(file) for file in trained_files(training, data)
    }
    contrasts = _contrasts(validation, training)
    return descriptor_lesson(
        specimens, contrasts, training.recipe, checksums, training.settings.seed
    )


def trained_files(training: Training, data: Path) -> list[Path]:
    """Return every file that is read for a training.

    These are the scans, the label maps beside them, the label maps without a scan and the scans of
    the validation.

    Raises:
        InputError: a pattern finds nothing.
    """
    scans = _found(training.scans, data)
    beside = {_label_map_of(file, training.orientation) for file in scans} - {None}
    others = (*_found(training.labels, data), *_found(training.validation, data))
    return sorted({*scans, *beside, *others})


def prepared(file: Path, orientation: str | None = None, is_scan: bool = False) -> Image:
    """Read a skull-stripped scan and scale its intensities to [0, 1], background 0.

    Args:
        orientation: the directions of its axes, where its header does not say them
            (:func:`diffeode.files.headers.grid_of`).
        is_scan: whether it is a scan even where its values look like those of a label map.

    Raises:
        InputError: the scan is empty, constant or largely negative, or looks like a label map.
    """
    image = read_image(file, orientation)
    if not is_scan:
        require_scan(image.data, str(file), "are_scans: true in the training's file")
    image = without_negatives(image, file.name)
    return robust(image, nonzero(image, file.name), file.name)


def _found(patterns: Sequence[str], data: Path) -> list[Path]:
    """Return the files below ``data`` that fit ``patterns``, each once, sorted; every pattern must
    fit one.
    """
    files: set[Path] = set()
    for pattern in patterns:
        matches = without_hidden(data.glob(pattern))
        if not matches:
            raise InputError(
                f"Nothing below {data} fits {pattern!r}; correct the pattern or the folder of the "
                "data."
            )
        files.update(matches)
    return sorted(files)


def _require_apart(trained: Sequence[Path], others: Sequence[Path], what: str) -> None:
    """Raise :class:`InputError` where a person has files in both lists.

    Args:
        what: what is done with ``others``, for the message.
    """
    shared = in_both(map(person_of_file, trained), map(person_of_file, others))
    if shared:
        raise InputError(
            f"{', '.join(shared)} would be trained on and {what}; take them out of one of the two."
        )


def _label_map_of(scan: Path, orientation: str | None) -> Path | None:
    """Return the label map beside ``scan``; None where there is none on the same grid."""
    beside = scan.with_name(scan.name.rpartition("_")[0] + f"_dseg{_SUFFIX}")
    if not beside.is_file() or not read_grid(beside, orientation).matches(
        read_grid(scan, orientation)
    ):
        return None
    return beside


def _with_scan(file: Path, training: Training) -> Specimen:
    orientation = training.orientation
    image, beside = _prepared(file, training), _label_map_of(file, orientation)
    labels = None if beside is None else read_labels(beside, orientation).data
    return _cropped(person_of_file(file).name, image.data, labels)


def _prepared(file: Path, training: Training) -> Image:
    return prepared(file, training.orientation, training.are_scans)


def _with_labels(file: Path, orientation: str | None) -> Specimen:
    labels = read_labels(file, orientation).data
    labels = np.where(np.isin(labels, _OUTSIDE_BRAIN), 0, labels)
    if not labels.any():
        raise InputError(f"{file} holds no label of the brain; leave it out.")
    return _cropped(person_of_file(file).name, None, labels)


def _cropped(person: str, image: np.ndarray | None, labels: np.ndarray | None) -> Specimen:
    """Return the specimen on the box of its brain, which saves memory."""
    window = window_around((labels if image is None else image) > 0, margin=8)
    if image is not None:
        image = np.ascontiguousarray(image[window])
    if labels is not None:
        labels = np.ascontiguousarray(labels[window])
    return Specimen(person, image, labels)


def _contrasts(files: Sequence[Path], training: Training) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return every two scans of one person."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _, group in itertools.groupby(files, person_of_file):
        pairs += _twos(list(group), training)
    return pairs


def _twos(files: list[Path], training: Training) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield every two of the scans of one person."""
    if len(files) < 2:
        raise InputError(
            f"{files[0]} has no second contrast beside it; validate on persons scanned in two."
        )
    images = [_prepared(file, training) for file in files]
    for (file, first), (other, second) in itertools.combinations(
        zip(files, images, strict=True), 2
    ):
        if np.array_equal(first.data, second.data):
            raise InputError(
                f"{file} and {other} hold the same image, so that every descriptor would be right; "
                "validate on two contrasts."
            )
        if not first.grid.matches(second.grid):
            raise InputError(
                f"The contrasts of {person_of_file(files[0]).name} lie on different grids; "
                "resample one to the other."
            )
        yield first.data, second.data
