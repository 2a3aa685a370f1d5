"""What the maps of one way are worth: errors against the truth at each visit, and the smoothness of
the trajectories.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from diffeode.evaluation.jacobian import jacobian_determinant, jacobian_metrics
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.landmarks import shared_landmarks, target_registration_errors_mm
from diffeode.evaluation.overlap import dice_by_label
from diffeode.flows.trajectory import path_smoothness
from diffeode.geometry.image import Labels
from diffeode.geometry.transform import DisplacementField, densify, warp_labels
from diffeode.longitudinal.design import Design
from diffeode.longitudinal.person import AgeingPerson
from diffeode.longitudinal.ways import WAYS, Found
from diffeode.statistics.longitudinal import ALL_TIMES, REGISTERED

LATERAL_VENTRICLES = (4, 43)
"""Ids of the left and the right lateral ventricle in ``config/labels/virtual.tsv``."""

Row = dict[str, object]
"""Values by the names of their columns (:data:`diffeode.statistics.longitudinal.COLUMNS`)."""


def rows_of(person: AgeingPerson, way: str, design: Design) -> list[Row]:
    """Return a row for each time to which ``way`` has a map, and one for its whole trajectory."""
    started = time.process_time()
    found = WAYS[way](person, design)
    seconds = time.process_time() - started
    rows = [{"time": at, **measures_at(person, at, one)} for at, one in found.maps.items()]
    whole = {"time": ALL_TIMES, **between_visits(person, found), **found.trajectory}
    if way in REGISTERED:
        whole["cpu_seconds"] = seconds
    return [*rows, whole]


def measures_at(person: AgeingPerson, at: float, field: DisplacementField) -> Row:
    """Return the volume of the lateral ventricles under ``field`` and, at the time of a visit, the
    errors of ``field`` against the truth.
    """
    labels = person.labels[0]
    fine = densify(field, labels.grid)
    inside = np.isin(labels.data, LATERAL_VENTRICLES)
    voxels = float(jacobian_determinant(fine)[inside].sum())
    row: Row = {"ventricles_ml": _millilitres(voxels, labels)}
    if at not in person.times:
        return row
    number = person.times.index(at)
    visit, there = person.visits[number], person.labels[number]
    errors = target_registration_errors_mm(
        *shared_landmarks(person.visits[0].landmarks(), visit.landmarks()), field
    )
    folds = jacobian_metrics(field, person.brain)
    true_voxels = float(np.isin(there.data, LATERAL_VENTRICLES).sum())
    dice = _dice(labels, warp_labels(there, fine, labels.grid))
    return row | {
        "cdr": visit.cdr,
        "ventricles_true_ml": _millilitres(true_voxels, there),
        "tre_mm": float(errors.mean()),
        "tre_max_mm": float(errors.max()),
        "landmarks": len(errors),
        "dice": float(dice.mean()),
        "structures": len(dice),
        "folds_percent": folds["folds_onesided_percent"],
        "min_jacobian": folds["min_jacobian"],
    }


def between_visits(person: AgeingPerson, found: Found) -> Row:
    """Return speed and acceleration of the brain's voxels from visit to visit."""
    rest = person.grid.points_mm()[person.brain]
    moved = [rest + found.maps[at].displacement_mm[person.brain] for at in person.times[1:]]
    smooth = path_smoothness(torch.from_numpy(np.stack([rest, *moved])), person.times)
    return {"visit_speed_mm": smooth.speed, "visit_acceleration_mm": smooth.acceleration}


def _millilitres(voxels: float, labels: Labels) -> float:
    return voxels * float(np.prod(labels.grid.spacing)) / 1000


def _dice(fixed: Labels, warped: Labels) -> np.ndarray:
    """Return the Dice of each structure of ``fixed``."""
    ids = np.unique(fixed.data[fixed.data > 0])
    indices = (to_indices(labels.data, ids) for labels in (fixed, warped))
    return dice_by_label(*indices, len(ids))
