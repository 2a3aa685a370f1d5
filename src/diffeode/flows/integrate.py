"""Flows of velocity fields: ``d phi / dt = v(t, phi)``, ``phi(0) = id``, taken at the end of the
time.

Velocities are ``(K, d, *size)`` (:mod:`diffeode.flows.velocity`), displacements ``(1, d, *size)``,
both in voxels of their own grid; the flow of the reversed velocity is the inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffeode.flows.adjoint import flow_by_adjoint
from diffeode.flows.solvers import TABLEAUS, State, Tableau, step, visited
from diffeode.flows.velocity import still_border, velocity_along
from diffeode.geometry.warp import twice

SOLVERS = ("exponential", *TABLEAUS)
GRADIENTS = ("exact", "checkpoint", "adjoint")


@final
@dataclass(frozen=True)
class Flow:
    """From a velocity ``(K, d, *size)`` to the displacement ``(1, d, *size)`` of its flow.

    Attributes:
        solver: ``exponential`` (``steps`` squarings, to time 1; one knot only) or the name of a
            tableau (``steps`` steps of ``step_size``).
        gradient: ``exact``, back-propagation through every step, all of which are kept;
            ``checkpoint``, the same gradient, keeping one displacement a step and computing each
            step twice; ``adjoint``, two fields kept however many steps, the gradient exact only as
            steps shrink, and none for the exponential.
        fixed_border: the outermost voxels neither move nor are moved to.
    """

    solver: str = "exponential"
    steps: int = 4
    step_size: float = 0.25
    gradient: str = "exact"
    fixed_border: bool = False

    @property
    def time(self) -> float:
        """How long the velocity acts."""
        return 1.0 if self.solver == "exponential" else self.steps * self.step_size

    def __call__(self, velocity: Tensor) -> Tensor:
        if not self.fixed_border:
            return self._flow(velocity)
        # Held at the end too: where a point on the border is looked up in the velocity, rounding
        # may move it a little.
        return still_border(self._flow(still_border(velocity)))

    def through(self, velocity: Tensor, stops: Sequence[int], start: int = 0) -> list[Tensor]:
        """Displacements ``(1, d, *size)`` of the flow from step ``start`` to each of ``stops``, all
        from one march.

        Args:
            stops: numbers of steps since time 0, which rise from above ``start`` to ``steps`` at
                most.
        Raises:
            ValueError: the stops are others, or the solver or the gradient knows the end of the
                flow only.
        """
        if self.solver == "exponential" or self.gradient == "adjoint":
            raise ValueError(
                f"Solver {self.solver} with gradient {self.gradient} has no stops on its way."
            )
        if not stops or list(stops) != sorted({*stops}) or not start < stops[0]:
            raise ValueError(f"Stops must rise from above {start}, not {list(stops)}.")
        if not 0 <= start < stops[-1] <= self.steps:
            raise ValueError(f"Steps go from 0 to {self.steps}, not from {start} to {stops[-1]}.")
        found = _displacements(
            still_border(velocity) if self.fixed_border else velocity,
            TABLEAUS[self.solver],
            self.steps,
            self.step_size,
            self.gradient,
            stops,
            start,
        )
        return [still_border(one) for one in found] if self.fixed_border else found

    def _flow(self, velocity: Tensor) -> Tensor:
        if self.solver == "exponential":
            return exponential(velocity, self.steps, self.gradient)
        return runge_kutta(
            velocity, TABLEAUS[self.solver], self.steps, self.step_size, self.gradient
        )


def exponential(velocity: Tensor, squarings: int, gradient: str = "exact") -> Tensor:
    """Displacement of ``exp(v)`` of a stationary ``v`` by scaling and squaring: ``exp(v) = exp(v /
    2^n)^(2^n)``.

    Arsigny et al., MICCAI 2006, algorithm 2.
    """
    displacement = velocity * 2.0**-squarings
    for _ in range(squarings):
        displacement = (
            _recomputed(twice, displacement) if gradient == "checkpoint" else twice(displacement)
        )
    return displacement


def runge_kutta(
    velocity: Tensor, tableau: Tableau, steps: int, step_size: float, gradient: str = "exact"
) -> Tensor:
    """Displacement after ``steps`` steps ``phi <- phi + h sum_i b_i v(t_i, phi_i)``; one Euler step
    is ``h v``.

    arXiv 2512.22689, equation 8, where the tableau is Euler's.
    """
    if gradient == "adjoint":
        return flow_by_adjoint(velocity, tableau, steps, step_size)
    return _displacements(velocity, tableau, steps, step_size, gradient, (steps,))[0]


def _displacements(
    velocity: Tensor,
    tableau: Tableau,
    steps: int,
    step_size: float,
    gradient: str,
    stops: Sequence[int],
    start: int = 0,
) -> list[Tensor]:
    """The displacements from step ``start`` of ``steps`` to each of ``stops``."""

    def slope(fraction: float, state: State) -> tuple[Tensor]:
        return (velocity_along(velocity, fraction, *state),)

    def recomputed_step(*arguments: Any) -> State:
        return _recomputed(step, *arguments)

    take = recomputed_step if gradient == "checkpoint" else step
    states = visited(tableau, slope, (None,), range(start, stops[-1]), steps, step_size, take)
    return [state[0] for index, state in enumerate(states, start + 1) if index in stops]


def _recomputed(function: Any, *arguments: Any) -> Any:
    """``function(*arguments)``, computed anew in the backward pass instead of kept."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
