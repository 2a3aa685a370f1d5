"""The trainings of the search for the lost numbers of the descriptor's training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import final

from _cases import REPOSITORY, albert_scan_at
from _search_plan import HELD_OUT, TAUGHT, THIRD_MM

from diffeode.learning.descriptor.material import Training, read_training
from diffeode.learning.descriptor.prepared import PreparedScan, lesson_of
from diffeode.learning.loop import train_by_content
from diffeode.units.scan import ScanUnit, write_scan

_RECIPE, _SETTINGS = "recipe.", "settings."
_CONTRASTS = ("T1w", "T2w")


def training_file(name: str) -> Path:
    """Return the file of the training called ``name``."""
    return REPOSITORY / "config" / "descriptors" / f"{name}.yaml"


@final
class Trainings:
    """Trainings of one file with changed settings, on prepared scans of :data:`TAUGHT`.

    Args:
        name: the name of the file in ``config/descriptors``.
        data: the folder of the scans.
        work: the folder to which prepared scans and weights are written.
    Raises:
        InputError: the file or a scan is missing or unusable.
    """

    def __init__(self, name: str, data: Path, work: Path) -> None:
        self.training = replace(read_training(training_file(name)), validation_persons=HELD_OUT)
        self.folder = work / f"descriptor-{THIRD_MM:g}mm"
        self.scans = [
            _prepared(data, self.folder / "scans", person, contrast)
            for person in TAUGHT
            for contrast in _CONTRASTS
        ]
        lesson = lesson_of(self.training, self.scans)
        self.sources = lesson.code, dict(lesson.data)

    def weights(self, changes: Mapping[str, float], steps: int) -> Path:
        """Train with ``changes`` for ``steps`` steps, unless that was done, and return the path of
        the best weights; a training that was killed goes on.

        Args:
            changes: the values that are changed, by their dotted names in the training's file.
        Raises:
            TrainingError: the loss or a gradient was not finite.
        """
        training = self._changed(changes, steps)
        return train_by_content(
            lesson_of(training, self.scans), training.settings, self.folder / "weights"
        )

    def code(self, run_code: str, changes: Mapping[str, float], steps: int) -> str:
        """Return twelve hexadecimal digits of everything but the pair that can change a row: that
        of the registration, ``run_code``, and all of the training.

        The weights themselves are no part of it, so it is known before they are trained.
        """
        training = self._changed(changes, steps)
        parts = [run_code, *self.sources, asdict(training.recipe), asdict(training.settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def _changed(self, changes: Mapping[str, float], steps: int) -> Training:
        recipe, settings = _below(_RECIPE, changes), _below(_SETTINGS, changes)
        return replace(
            self.training,
            recipe=replace(self.training.recipe, **recipe),
            settings=replace(self.training.settings, **settings, steps=steps),
        )


def _below(prefix: str, changes: Mapping[str, float]) -> dict[str, float]:
    """Return the values whose dotted names begin with ``prefix``, under the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in changes.items()
        if name.startswith(prefix)
    }


def _prepared(data: Path, folder: Path, person: str, contrast: str) -> PreparedScan:
    image = albert_scan_at(data / "albert" / f"sub-{person}" / "anat", contrast, THIRD_MM)
    unit = ScanUnit(folder / f"sub-{person}" / contrast)
    write_scan(unit, image, image.data > 0, None, None, None, {})
    return PreparedScan(unit.folder, f"sub-{person}", "", contrast)
