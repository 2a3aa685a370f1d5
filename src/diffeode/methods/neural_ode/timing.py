"""The times and settings that a flow through a sequence of images can have.

A study checks them when it is planned, so nothing here imports torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffeode.errors import InputError
from diffeode.methods.neural_ode.velocity import FreeGrid

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE

_LEAST_PERIODIC_KNOTS = 3
_ON_A_STEP = 1e-6
"""The distance, in steps, by which a time may miss the end of a step."""


def require_times(times: Sequence[float]) -> None:
    """Raise :class:`InputError` where ``times`` do not rise from 0 to 1 at the latest."""
    rising = all(a < b for a, b in itertools.pairwise(times))
    if not all(map(math.isfinite, times)) or times[0] != 0 or not rising or times[-1] > 1:
        raise InputError(
            f"The times of a sequence must begin with 0, rise, and end at 1 at the latest; "
            f"{list(times)} do not."
        )


def require_settings(method: NeuralODE, periodic: bool) -> None:
    """Raise :class:`InputError` where the settings of ``method`` fit no flow through a sequence of
    images.

    Args:
        periodic: whether the velocity at time 1 equals that at time 0.
    """
    solver, gradient = method.flow.solver, method.flow.gradient
    if solver == "exponential":
        raise InputError(
            "Parameter flow.solver is exponential, which knows the end of a flow only; a sequence "
            "needs euler, midpoint, heun or rk4."
        )
    if gradient == "adjoint":
        raise InputError(
            "Parameter flow.gradient is adjoint, which knows the end of a flow only; a sequence "
            "needs exact or checkpoint."
        )
    time = method.flow.steps * method.flow.step_size
    if not math.isclose(time, 1, rel_tol=1e-9):
        raise InputError(
            f"Parameters flow.steps {method.flow.steps} and flow.step_size "
            f"{method.flow.step_size:g} make up a time of {time:g}; a sequence needs a time of 1."
        )
    if not isinstance(method.velocity.field, FreeGrid):
        raise InputError(
            f"Parameter velocity.field is {method.velocity.field.name}; a sequence needs grid."
        )
    if periodic and method.velocity.knots < _LEAST_PERIODIC_KNOTS:
        raise InputError(
            f"Parameter velocity.knots is {method.velocity.knots}; a periodic velocity needs "
            f"{_LEAST_PERIODIC_KNOTS} at least, since with fewer it is stationary."
        )


def stops_of(method: NeuralODE, times: Sequence[float]) -> tuple[int, ...]:
    """Return the number of steps of the solver to each of ``times`` but the first.

    Raises:
        InputError: a time is not the end of a step.
    """
    steps = method.flow.steps
    stops = tuple(round(time * steps) for time in times)
    for time, stop, before in zip(times[1:], stops[1:], stops[:-1], strict=True):
        if abs(time * steps - stop) > _ON_A_STEP or stop == before:
            raise InputError(
                f"The time {time:g} is not the end of one of the {steps} steps of the solver; "
                "change parameters flow.steps and flow.step_size, or the time."
            )
    return stops[1:]
