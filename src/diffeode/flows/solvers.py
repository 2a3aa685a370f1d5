"""Explicit Runge-Kutta solvers as Butcher tables, and the one loop that takes their steps.

The tables are those of Euler, Runge (1895, midpoint), Heun (1900, two stages) and Kutta (1901, the
classical method of order 4); see Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations
I, Springer, 1993, chapter II.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

State = tuple[Tensor | None, ...]
"""The tensors that are integrated together. None stands for zero, so a part that starts at zero
takes no memory before the first step.
"""

Slope = Callable[[float, State], tuple[Tensor, ...]]
"""A function from the fraction of the whole time that has gone by, 0 to 1, and from the state at
that time to the time derivative of each part of the state.
"""


@final
@dataclass(frozen=True)
class Tableau:
    """A Butcher table with coefficients ``a``, ``b`` and ``c``.

    A step of length ``h`` from the time ``t`` and the state ``y`` computes the stages::

        k_i = slope(t + c_i h, y + h sum_j a_ij k_j)

    and arrives at ``y + h sum_i b_i k_i``.

    Attributes:
        order: the power of ``h`` with which the error at a fixed time shrinks.
        a: for each stage the weights of the stages before it.
        b: the weight of each stage in the step.
        c: the time of each stage, in steps.
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
"""The solvers by name."""


def step(
    tableau: Tableau, slope: Slope, index: int, steps: int, step_size: float, state: State
) -> State:
    """Return the state after one step.

    Args:
        index: the number of the step, from 0.
        steps: the number of all steps.
        step_size: the length of each step.
        state: the state before the step.
    """
    slopes = stages(tableau, slope, index, steps, step_size, state)
    return _moved(state, step_size, tableau.b, slopes)


def stages(
    tableau: Tableau, slope: Slope, index: int, steps: int, step_size: float, state: State
) -> list[tuple[Tensor, ...]]:
    """Return the slopes at the stages of one step; the arguments are those of :func:`step`."""
    slopes: list[tuple[Tensor, ...]] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        slopes.append(slope((index + node) / steps, _moved(state, step_size, row, slopes)))
    return slopes


def march(
    tableau: Tableau,
    slope: Slope,
    state: State,
    steps: int,
    step_size: float,
    take: Callable[..., State] = step,
) -> State:
    """Return the state after ``steps`` steps of length ``step_size`` from ``state``.

    Args:
        take: the function that takes one step, :func:`step` or a wrapper around it.

    The solution of ``dy/dt = -y`` from 1 is ``exp(-1) = 0.3679`` at time 1:

    >>> def decay(fraction, state):
    ...     return (-state[0],)
    >>> import torch
    >>> (end,) = march(RK4, decay, (torch.ones(()),), steps=10, step_size=0.1)
    >>> round(end.item(), 4)
    0.3679
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
    """Yield the state after each of the steps ``indices``, which are some of all ``steps``.

    Args:
        state: the state before the first of these steps.
        take: as in :func:`march`.
    """
    for index in indices:
        state = take(tableau, slope, index, steps, step_size, state)
        yield state


def _moved(
    state: State, step_size: float, weights: Sequence[float], slopes: Sequence[tuple[Tensor, ...]]
) -> State:
    """Return ``state + step_size * sum_i weights_i slopes_i``."""
    parts = list(state)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            for index, rate in enumerate(slope):
                change = (weight * step_size) * rate
                parts[index] = change if parts[index] is None else parts[index] + change
    return tuple(parts)
