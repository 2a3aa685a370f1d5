"""Judge whether a registration moved nothing although its two images differ, and note that in its
receipt.

The harness does not do so, because its code is part of the identity of every registration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffeode.evaluation.stillness import (
    LEAST_MOVED_VOXELS,
    signs_of_stillness,
    suspicious_stillness,
    with_stillness,
)
from diffeode.evaluation.verdict import Verdict, judge
from diffeode.geometry.image import foreground
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import DisplacementField, Transform
from diffeode.provenance.receipt import note_verdict, read_receipt
from diffeode.registration.harness import Task, recorded
from diffeode.units.registration import RegistrationUnit

_BEND_NOTHING = ("identity", "affine")
"""Methods that are not meant to bend an image, by their names."""


def judged_stillness(
    verdict: Verdict, method: str, warp: DisplacementField, start: Transform, task: Task
) -> Verdict:
    """Return ``verdict`` with whether the registration moved nothing although its images differ
    (:mod:`diffeode.evaluation.stillness`); unchanged where the method is not meant to bend.

    Args:
        method: the name of the method.
        warp: the whole map.
        start: the map from which the method started.
        task: the pair; its ``moving`` image lies where ``start`` brings it.
    """
    if method in _BEND_NOTHING:
        return verdict
    signs = signs_of_stillness(warp, start, task.fixed, task.moving, task.counts)
    return with_stillness(verdict, signs)


def note_stillness(folder: Path, task: Task) -> None:
    """Note in the receipt of a finished registration that it moved nothing although its images
    differ; leave the receipt as it is where that is not so.

    The map is read only where the receipt does not tell that it moved something.

    Args:
        folder: the unit of the registration, which holds its maps.
        task: the pair that was registered.

    Raises:
        DamagedFileError: the receipt is missing or damaged.
    """
    unit = RegistrationUnit(folder)
    content = read_receipt(unit.receipt)
    if _moved_something(content["signs"], task):
        return
    found = _verdict_in(content)
    warp, start = unit.warp(), task.moving_to_scan
    judged = judged_stillness(found, content["method"], warp, start, task)
    if suspicious_stillness(judged.signs):
        note_verdict(unit.receipt, recorded(judged))


def _moved_something(signs: dict[str, Any], task: Task) -> bool:
    """Return whether a twentieth of the foreground was moved by more than a map that moves nothing
    moves any point.
    """
    shown, spacing = foreground(task.fixed), task.fixed.grid.spacing
    axes = 2 if is_slice(task.fixed.grid) else 3
    width = float(shown.sum() * np.prod(spacing[:axes])) ** (1 / axes)
    moved_mm = float(signs["displacement_share"] or 0) * width
    return moved_mm > LEAST_MOVED_VOXELS * float(max(spacing))


def _verdict_in(content: dict[str, Any]) -> Verdict:
    signs = content["signs"].items()
    return judge({name: float("nan") if value is None else value for name, value in signs})
