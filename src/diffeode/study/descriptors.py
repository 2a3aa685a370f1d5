"""Descriptors that are trained for a study: which runs use them, and on which scans they are
trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.datasets.person import names_of_persons
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_mapping
from diffeode.registration.knobs import dotted
from diffeode.registration.runs import Run

_WEIGHTS = "{results}/descriptors/{descriptor}/best.safetensors"
_HELD_OUT = 2
"""The default of ``validation_persons``, see
:class:`diffeode.learning.descriptor.material.Training`, which a plan does not import because it
needs torch."""

_STEPS = 2000
"""The default of the number of steps, see the same module."""
_PATTERNS = ("scans", "labels", "validation")
"""The keys of a training on files that name them."""


@final
@dataclass(frozen=True)
class Taught:
    """The experiment on whose prepared scans a descriptor is trained.

    Attributes:
        path: the file of the training.
        experiment: the name of the experiment.
        held_out: the number of persons for the validation.
    """

    path: Path
    experiment: str
    held_out: int

    def require_persons(self, scans: list[Scan]) -> None:
        """Raise :class:`InputError` where ``scans`` show too few persons to validate on, or nobody
        besides them to train on.
        """
        contrasts: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
        persons = names_of_persons(scans)
        for person, scan in zip(persons, scans, strict=True):
            contrasts[person, scan.dataset, scan.session].add(scan.modality)
        twice = {person for (person, *_), found in contrasts.items() if len(found) > 1}
        if len(twice) < self.held_out or len(set(persons)) <= self.held_out:
            raise InputError(
                f"{self.path} holds {self.held_out} persons out to validate on, who need two "
                f"contrasts of one visit, and trains on the others; of the {len(set(persons))} "
                f"persons in the pairs of the experiment {self.experiment}, {len(twice)} have two "
                "contrasts. Draw more persons, or change validation_persons."
            )


@final
@dataclass(frozen=True)
class TrainedDescriptor:
    """A descriptor that is trained for the study.

    Attributes:
        name: the name of its file in ``config/descriptors``.
        runs: the names of the runs that use it.
        steps: number of steps of the training.
        held_out: number of persons for the validation, where it is trained on an experiment.
        settings: the other settings that its file gives, by dotted names.
        files: where it is trained on files, the patterns of its file by their keys.
    """

    name: str
    runs: tuple[str, ...]
    steps: int
    held_out: int
    settings: Mapping[str, Any]
    files: Mapping[str, tuple[str, ...]]


def trained_descriptors(
    runs: Iterable[Run], repository: Path, results: Path
) -> tuple[TrainedDescriptor, ...]:
    """Return the descriptors that are trained for ``runs``, each once.

    Raises:
        InputError: a file cannot be read.
    """
    used: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        if name := descriptor_of(run, repository, results):
            used[name].append(run.name)
    return tuple(
        _trained(name, tuple(names), read_mapping(_description(name, repository), "training file"))
        for name, names in used.items()
    )


def _trained(name: str, runs: tuple[str, ...], content: Mapping[str, Any]) -> TrainedDescriptor:
    blocks = {key: content.get(key) or {} for key in ("recipe", "settings")}
    settings = dotted({key: block for key, block in blocks.items() if block})
    return TrainedDescriptor(
        name,
        runs,
        settings.pop("settings.steps", _STEPS),
        content.get("validation_persons", _HELD_OUT),
        settings,
        {key: tuple(content[key]) for key in _PATTERNS if content.get(key)},
    )


def descriptor_of(run: Run, repository: Path, results: Path) -> str | None:
    """Return the name of the descriptor of ``config/descriptors`` that ``run`` uses, where it is
    trained for the study; else None.
    """
    weights = run.build().descriptor_weights
    name = Path(weights).parent.name
    ours = weights == _WEIGHTS.format(results=results, descriptor=name)
    return name if ours and _description(name, repository).is_file() else None


def taught(name: str, repository: Path) -> Taught | None:
    """Return the experiment on which the descriptor called ``name`` is trained; None where it is
    trained on files.

    A plan needs no more of the file than this. All of it is read and checked by
    :func:`diffeode.learning.descriptor.material.read_training`.

    Raises:
        InputError: the file cannot be read (:func:`diffeode.files.checked_yaml.read_mapping`).
    """
    path = _description(name, repository)
    content = read_mapping(path, "training file")
    experiment, held_out = content.get("experiment"), content.get("validation_persons", _HELD_OUT)
    if not isinstance(experiment, str) or not isinstance(held_out, int):
        return None
    return Taught(path, experiment, held_out)


def _description(name: str, repository: Path) -> Path:
    return repository / "config" / "descriptors" / f"{name}.yaml"
