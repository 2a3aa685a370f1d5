"""Compare one time-dependent flow through the visits of an ageing virtual person with pairs.

    python benchmarks/sequence.py            # measure, and write page and figure
    python benchmarks/sequence.py --page     # page and figure alone, from what was measured before

writes ``benchmarks/results/sequence.tsv``, ``sequence.md``, ``sequence.png`` and ``sequence.svg``;
some two minutes of CPU time. The persons are virtual: nobody was scanned.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _command import add_results, explains_errors
from _machine import provenance
from _sequence_figure import draw_ventricles
from _sequence_page import ALL_TIMES, write_sequence_page
from _tables import Table

from diffeode.datasets.virtual_ageing import Visit, ageing_person, true_map
from diffeode.evaluation.jacobian import jacobian_determinant, jacobian_metrics
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.landmarks import shared_landmarks, target_registration_errors_mm
from diffeode.evaluation.overlap import dice_by_label
from diffeode.flows.trajectory import path_smoothness
from diffeode.geometry.image import Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField, densify, warp_labels
from diffeode.methods.neural_ode import NeuralODE
from diffeode.methods.neural_ode.sequence import flow_through
from diffeode.prepare.brain import nonzero
from diffeode.prepare.scan import prepare_image
from diffeode.process.threads import use_threads
from diffeode.provenance.source import code_hash
from diffeode.registration.knobs import changed

PERSONS = (2, 3, 4)
"""Settings were chosen on person 1."""
SEED = 7
SPACING_MM = 5.0
LABELS_MM = 2.0
VENTRICLES = (4, 43)
SETTINGS = {
    "similarity": {"local_correlation": {"weight": 1, "window": 9, "squared": False}},
    "penalties": {"gradient": {"weight": 1}, "magnitude": {"weight": 0.1}},
    "flow": {"solver": "midpoint", "steps": 8, "step_size": 0.125},
    "levels": {"factors": [2, 1], "iterations": [40, 20]},
}
KNOTS = 5
"""The number of knots of the free flow, one at each visit."""
_KEYS = ("person", "way", "time")
_MODULES = (
    "diffeode.datasets.virtual_ageing",
    "diffeode.evaluation.jacobian",
    "diffeode.evaluation.overlap",
    "diffeode.flows.trajectory",
    "diffeode.methods.neural_ode.sequence",
)


@dataclass(frozen=True)
class Found:
    """The result of one way to register.

    Attributes:
        maps: the maps from points of the first visit to points at each time, RAS mm.
        trajectory: the columns of the row of the whole trajectory.
    """

    maps: dict[float, DisplacementField]
    trajectory: dict[str, object]


@dataclass(frozen=True)
class Person:
    """The visits of one person, ready to be registered.

    Attributes:
        images: the T1w of each visit in [0, 1], ``(1, 1, X, Y, Z)``, on ``grid``.
        brain: the brain mask of the first visit, ``(X, Y, Z)`` bool.
        labels: the structures at each visit, on a finer grid.
    """

    visits: tuple[Visit, ...]
    grid: Grid
    images: list[torch.Tensor]
    brain: np.ndarray
    labels: list[Labels]

    @property
    def times(self) -> list[float]:
        """The times of the visits."""
        return [visit.time for visit in self.visits]


def person_of(number: int) -> Person:
    """Return virtual person ``number``, ready to be registered."""
    visits = ageing_person(number, SEED)
    grid = visits[0].grid(SPACING_MM)
    scans = [visit.scans(grid)["T1w"] for visit in visits]
    prepared = [prepare_image(scan, "a visit", nonzero(scan, "a visit")) for scan in scans]
    images = [torch.from_numpy(image.data)[None, None] for image, _ in prepared]
    fine = grid.resample(LABELS_MM)
    return Person(visits, grid, images, prepared[0][1], [visit.labels(fine) for visit in visits])


# --------------------------------------------------------------------------------------------- ways


def unregistered(person: Person) -> Found:
    """Return maps that move nothing."""
    rest = np.zeros((*person.grid.shape, 3), dtype=np.float32)
    return Found({time: DisplacementField(rest, person.grid) for time in person.times[1:]}, {})


def truth(person: Person) -> Found:
    """Return the known maps, sampled at the voxels."""
    first, *others = person.visits
    points = person.grid.points_mm()
    maps = {
        visit.time: DisplacementField(
            (true_map(first, visit, points) - points).astype(np.float32), person.grid
        )
        for visit in others
    }
    return Found(maps, {})


def by_one_flow(person: Person, knots: int, periodic: bool = False) -> Found:
    """Return the maps of one velocity to all visits."""
    method = changed(NeuralODE(), SETTINGS | {"velocity": {"knots": knots}})
    found = flow_through(
        method, person.images, person.times, person.grid.spacing.tolist(), periodic
    )
    size = method.flow.step_size
    maps = {step * size: _in_mm(one, person.grid) for step, one in enumerate(found.path, start=1)}
    smooth = found.smoothness(torch.from_numpy(person.brain)[None, None])
    return Found(
        maps,
        {
            "speed_mm": smooth.speed,
            "acceleration_mm": smooth.acceleration,
            "squared_change_mm2": found.squared_change,
        },
    )


def by_pairs(person: Person) -> Found:
    """Return the maps of a registration of each visit by itself, with a stationary velocity."""
    method = changed(NeuralODE(), SETTINGS)
    first, *others = person.images
    spacing = person.grid.spacing.tolist()
    found = [method.velocity_between(first, other, spacing).forward for other in others]
    maps = [_in_mm(one, person.grid) for one in found]
    return Found(dict(zip(person.times[1:], maps, strict=True)), {})


WAYS: dict[str, Callable[[Person], Found]] = {
    "before": unregistered,
    "free": lambda person: by_one_flow(person, KNOTS),
    "periodic": lambda person: by_one_flow(person, KNOTS, periodic=True),
    "stationary": lambda person: by_one_flow(person, 1),
    "pairs": by_pairs,
    "truth": truth,
}


def _in_mm(displacement: torch.Tensor, grid: Grid) -> DisplacementField:
    return DisplacementField(
        grid.vectors_to_world(np.moveaxis(displacement[0].numpy(), 0, -1)), grid
    )


# ----------------------------------------------------------------------------------------- measures


def rows_of(person: Person, way: str) -> list[dict[str, object]]:
    """Return a row for each time to which ``way`` has a map, and one for its whole trajectory."""
    started = time.process_time()
    found = WAYS[way](person)
    seconds = time.process_time() - started
    rows = [{"time": at, **_at(person, at, found.maps[at])} for at in found.maps]
    whole = {"time": ALL_TIMES, **_between_visits(person, found), **found.trajectory}
    if way not in ("before", "truth"):
        whole["cpu_seconds"] = seconds
    return [*rows, whole]


def _at(person: Person, at: float, field: DisplacementField) -> dict[str, object]:
    """Return the volume of the lateral ventricles under ``field`` and, at the time of a visit, the
    errors of ``field`` against the truth.
    """
    labels = person.labels[0]
    fine = densify(field, labels.grid)
    inside = np.isin(labels.data, VENTRICLES)
    millilitres = float(jacobian_determinant(fine)[inside].sum()) * LABELS_MM**3 / 1000
    row: dict[str, object] = {"ventricles_ml": millilitres}
    if at not in person.times:
        return row
    visit = person.visits[person.times.index(at)]
    errors = target_registration_errors_mm(
        *shared_landmarks(person.visits[0].landmarks(), visit.landmarks()), field
    )
    there = person.labels[person.times.index(at)]
    folds = jacobian_metrics(field, person.brain)
    return row | {
        "cdr": visit.cdr,
        "ventricles_true_ml": _millilitres(there),
        "tre_mm": float(errors.mean()),
        "tre_max_mm": float(errors.max()),
        "dice": _mean_dice(labels, warp_labels(there, fine, labels.grid)),
        "folds_percent": folds["folds_onesided_percent"],
        "min_jacobian": folds["min_jacobian"],
    }


def _millilitres(labels: Labels) -> float:
    return float(np.isin(labels.data, VENTRICLES).sum()) * LABELS_MM**3 / 1000


def _mean_dice(fixed: Labels, warped: Labels) -> float:
    ids = np.unique(fixed.data[fixed.data > 0])
    indices = (to_indices(labels.data, ids) for labels in (fixed, warped))
    return float(dice_by_label(*indices, len(ids)).mean())


def _between_visits(person: Person, found: Found) -> dict[str, object]:
    """Return speed and acceleration of the brain's voxels from visit to visit."""
    rest = person.grid.points_mm()[person.brain]
    moved = [rest + found.maps[at].displacement_mm[person.brain] for at in person.times[1:]]
    smooth = path_smoothness(torch.from_numpy(np.stack([rest, *moved])), person.times)
    return {"visit_speed_mm": smooth.speed, "visit_acceleration_mm": smooth.acceleration}


def measure(table: Table) -> None:
    """Put the rows of each person and way that were not measured by today's code into ``table``.

    Progress is reported on standard error.
    """
    code = code_hash(Path(__file__), *_MODULES)[:12]
    for number in PERSONS:
        missing = [
            way
            for way in WAYS
            if not table.has({"person": number, "way": way, "time": ALL_TIMES, "code": code})
        ]
        person = person_of(number) if missing else None
        for way in missing:
            for row in rows_of(person, way):
                stamp = {"code": code} | provenance()
                table.put({"person": number, "way": way} | row | stamp)
            print(f"person {number}, {way}", file=sys.stderr, flush=True)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_results(parser)
    parser.add_argument(
        "--page", action="store_true", help="write page and figure from what was measured before"
    )
    options = parser.parse_args(arguments)
    use_threads(1)
    table = Table(options.results / "sequence.tsv", _KEYS)
    if not options.page:
        measure(table)
    for suffix in ("png", "svg"):
        draw_ventricles(table.rows, options.results / f"sequence.{suffix}")
    write_sequence_page(table.rows, options.results / "sequence.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
