"""Explicit Runge-Kutta solvers as Butcher tables, and the one loop that steps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

State = tuple[Tensor | None, ...]
"""What is integrated together. None is zero, so what starts at zero costs nothing until it moves.
"""

Slope = Callable[[float, State], tuple[Tensor, ...]]
"""The time derivative of each part of a state, given the fraction of the whole time that has gone
by, 0 to 1.
"""


@final
@dataclass(frozen=True)
class Tableau:
    """A Butcher table: stage ``i`` is the slope at time ``c_i`` and at the state moved by ``h sum_j
    a_ij k_j``.

    Attributes:
        order: of the error at a fixed time, as the step shrinks.
        a: the row of each stage, weights of the stages before it.
        b: weights of the stages in the step.
        c: time of each stage, in steps.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]


EULER = Tableau("euler", 1, ((),), (1,), (0,))
MIDPOINT = Tableau("midpoint", 2, ((), (1 / 2,)), (0, 1), (0, 1 / 2))
HEUN = Tableau("heun", 2, ((), (1,)), (1 / 2, 1 / 2), (0, 1))
RK4 = Tableau(
    "rk4",
    4,
    ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    (0, 1 / 2, 1 / 2, 1),
)

TABLEAUS = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4)}


def step(
    tableau: Tableau, slope: Slope, index: int, steps: int, step_size: float, state: State
) -> State:
    """``state`` after the step ``index`` (from 0) of ``steps``, each ``step_size`` long."""
    slopes: list[tuple[Tensor, ...]] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        slopes.append(slope((index + node) / steps, _moved(state, step_size, row, slopes)))
    return _moved(state, step_size, tableau.b, slopes)


def march(
    tableau: Tableau,
    slope: Slope,
    state: State,
    steps: int,
    step_size: float,
    take: Callable[..., State] = step,
) -> State:
    """``state`` after ``steps`` steps of ``step_size``.

    Args:
        take: what takes a single one; a way to wrap :func:`step`.
    """
    for reached in visited(tableau, slope, state, range(steps), steps, step_size, take):
        state = reached
    return state


def visited(
    tableau: Tableau,
    slope: Slope,
    state: State,
    indices: range,
    steps: int,
    step_size: float,
    take: Callable[..., State] = step,
) -> Iterator[State]:
    """The state after each of the steps ``indices`` of all ``steps``, one after the other.

    Args:
        state: before the first of them.
        take: as in :func:`march`.
    """
    for index in indices:
        state = take(tableau, slope, index, steps, step_size, state)
        yield state


def _moved(
    state: State, step_size: float, weights: Sequence[float], slopes: Sequence[tuple[Tensor, ...]]
) -> State:
    parts = list(state)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            for index, rate in enumerate(slope):
                change = (weight * step_size) * rate
                parts[index] = change if parts[index] is None else parts[index] + change
    return tuple(parts)
