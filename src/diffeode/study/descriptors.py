"""Descriptors that are trained for a study: which runs use them, and on which scans they are
trained.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.datasets.person import names_of_persons
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_mapping
from diffeode.registration.runs import Run

_WEIGHTS = "{results}/descriptors/{descriptor}/best.safetensors"
_HELD_OUT = 2
"""The default of ``validation_persons``, see
:class:`diffeode.learning.descriptor.material.Training`, which a plan does not import because it
needs torch."""


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
