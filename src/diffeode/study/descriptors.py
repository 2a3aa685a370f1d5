"""Descriptors that are trained for a study: which of its runs use one, and on whose scans."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.datasets.person import names_of_persons
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_yaml
from diffeode.registration.runs import Run

_WEIGHTS = "{results}/descriptors/{descriptor}/best.safetensors"
_HELD_OUT = 2


@final
@dataclass(frozen=True)
class Taught:
    """What a descriptor is trained on that is trained on prepared scans.

    Attributes:
        path: the file that says so.
        experiment: the name of the experiment whose scans they are.
        held_out: number of persons to validate on.
    """

    path: Path
    experiment: str
    held_out: int

    def require_persons(self, scans: list[Scan]) -> None:
        """Raise :class:`InputError` where ``scans`` leave nobody to train on or to validate on."""
        contrasts: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
        persons = names_of_persons(scans)
        for person, scan in zip(persons, scans, strict=True):
            contrasts[person, scan.dataset, scan.session].add(scan.modality)
        twice = {person for (person, *_), found in contrasts.items() if len(found) > 1}
        if len(twice) < self.held_out or len(set(persons)) <= self.held_out:
            raise InputError(
                f"{self.path} holds {self.held_out} persons out to validate on, who need two "
                f"contrasts of one visit, and trains on the others; of the {len(set(persons))} "
                f"persons in the pairs of the experiment {self.experiment}, {len(twice)} have two. "
                "Draw more persons, or change validation_persons."
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
    """Return what the descriptor called ``name`` is trained on; None where it is trained on files.

    :func:`diffeode.learning.descriptor.material.read_training` reads and checks the whole file; a
    plan needs no more of it than this.

    Raises:
        InputError: the file is not a mapping.
    """
    path = _description(name, repository)
    content: Any = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must say scans, labels or an experiment to train on.")
    experiment, held_out = content.get("experiment"), content.get("validation_persons", _HELD_OUT)
    if not isinstance(experiment, str) or not isinstance(held_out, int):
        return None
    return Taught(path, experiment, held_out)


def _description(name: str, repository: Path) -> Path:
    return repository / "config" / "descriptors" / f"{name}.yaml"
