"""The ways in which the visits of a person are registered to the first one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from diffeode.datasets.virtual_ageing import true_map
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.longitudinal.design import Design
from diffeode.longitudinal.person import AgeingPerson
from diffeode.methods.neural_ode.sequence import flow_through


@final
@dataclass(frozen=True, eq=False)
class Found:
    """The result of one way to register the visits of a person.

    Attributes:
        maps: the maps from points of the first visit to points at each time, RAS mm.
        trajectory: how smooth the trajectories of a flow are: ``speed_mm`` (mm per unit time) and
            ``acceleration_mm`` (mm per squared unit time) from step to step of the solver, and
            ``squared_change_mm2`` (:func:`diffeode.flows.velocity.squared_change`).
    """

    maps: Mapping[float, DisplacementField]
    trajectory: Mapping[str, float] = field(default_factory=dict)


def unregistered(person: AgeingPerson, design: Design) -> Found:
    """Return maps that move nothing."""
    rest = np.zeros((*person.grid.shape, 3), dtype=np.float32)
    return Found({time: DisplacementField(rest, person.grid) for time in person.times[1:]})


def truth(person: AgeingPerson, design: Design) -> Found:
    """Return the known maps, sampled at the voxels."""
    first, *others = person.visits
    points = person.grid.points_mm()
    maps = {
        visit.time: DisplacementField(
            (true_map(first, visit, points) - points).astype(np.float32), person.grid
        )
        for visit in others
    }
    return Found(maps)


def free(person: AgeingPerson, design: Design) -> Found:
    """Return the maps of one velocity that is free in time."""
    return _by_one_flow(person, design, design.knots)


def periodic(person: AgeingPerson, design: Design) -> Found:
    """Return the maps of one velocity that is the same at the times 0 and 1."""
    return _by_one_flow(person, design, design.knots, periodic=True)


def stationary(person: AgeingPerson, design: Design) -> Found:
    """Return the maps of one velocity that does not depend on time."""
    return _by_one_flow(person, design, 1)


def pairs(person: AgeingPerson, design: Design) -> Found:
    """Return the maps of a registration of each visit by itself, with a stationary velocity."""
    method = design.method(1)
    first, *others = person.images
    spacing = person.grid.spacing.tolist()
    found = [method.velocity_between(first, other, spacing).forward for other in others]
    maps = [_in_mm(one, person.grid) for one in found]
    return Found(dict(zip(person.times[1:], maps, strict=True)))


WAYS: Mapping[str, Callable[[AgeingPerson, Design], Found]] = {
    "before": unregistered,
    "free": free,
    "periodic": periodic,
    "stationary": stationary,
    "pairs": pairs,
    "truth": truth,
}
"""The ways by their names in tables, in the order in which they are measured."""


def _by_one_flow(person: AgeingPerson, design: Design, knots: int, periodic: bool = False) -> Found:
    """Return the maps of one velocity to every step of the solver, the visits among them."""
    method = design.method(knots)
    spacing = person.grid.spacing.tolist()
    found = flow_through(method, person.images, person.times, spacing, periodic)
    steps = method.flow.steps
    maps = {step / steps: _in_mm(one, person.grid) for step, one in enumerate(found.path, start=1)}
    smooth = found.smoothness(torch.from_numpy(person.brain)[None, None])
    return Found(
        maps,
        {
            "speed_mm": smooth.speed,
            "acceleration_mm": smooth.acceleration,
            "squared_change_mm2": found.squared_change,
        },
    )


def _in_mm(displacement: Tensor, grid: Grid) -> DisplacementField:
    """Return a displacement ``(1, 3, X, Y, Z)``, voxels, as a map of points in RAS mm."""
    return DisplacementField(
        grid.vectors_to_world(np.moveaxis(displacement[0].numpy(), 0, -1)), grid
    )
