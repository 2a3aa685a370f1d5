"""Flows of velocity fields: the solution ``phi`` of ``d phi / dt = v(t, phi)``, ``phi(0) = id``.

The flow is taken at the end of the time of integration. The flow of the reversed velocity
(:func:`diffeode.flows.velocity.reverse`) is its inverse. Shapes are those of
:mod:`diffeode.geometry.shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffeode.flows.adjoint import flow_by_adjoint
from diffeode.flows.solvers import TABLEAUS, State, Tableau, step, visited
from diffeode.flows.velocity import kinetic_energy, still_border, velocity_along
from diffeode.geometry.shapes import DisplacementTensor, LossTensor, VelocityTensor
from diffeode.geometry.warp import twice

SOLVERS = ("exponential", *TABLEAUS)
"""Names of the solvers that :class:`Flow` knows."""
GRADIENTS = ("exact", "checkpoint", "adjoint")
"""Names of the ways in which :class:`Flow` computes its gradient."""


@final
@dataclass(frozen=True)
class Flow:
    """The way from a velocity to the displacement of its flow.

    Attributes:
        solver: ``exponential`` takes ``steps`` squarings to time 1, for one knot only; the name of
            a tableau takes ``steps`` steps of length ``step_size``.
        gradient: how the gradient is computed. ``exact`` is back-propagation and keeps what every
            step computed. ``checkpoint`` gives the same gradient, keeps one displacement a step and
            computes each step twice. ``adjoint`` keeps two fields whatever the number of steps; its
            gradient is exact only as the steps shrink, and the exponential has none.
        fixed_border: whether the outermost voxels stay where they are.

    >>> import torch
    >>> shift = torch.ones(1, 2, 5, 5)
    >>> Flow(solver="euler", steps=3, step_size=0.5)(shift).unique().tolist()
    [1.5]
    >>> Flow(solver="exponential", steps=3)(shift).unique().tolist()
    [1.0]
    """

    solver: str = "exponential"
    steps: int = 4
    step_size: float = 0.25
    gradient: str = "exact"
    fixed_border: bool = False

    @property
    def time(self) -> float:
        """The length of the time for which the velocity acts."""
        return 1.0 if self.solver == "exponential" else self.steps * self.step_size

    @property
    def inverts_exactly(self) -> bool:
        """Whether the flow of the reversed velocity is the inverse, up to the solver's error.

        After a single step it is not: the step back starts elsewhere and takes another velocity.
        """
        return self.solver == "exponential" or self.steps > 1

    def __call__(self, velocity: VelocityTensor) -> DisplacementTensor:
        if not self.fixed_border:
            return self._flow(velocity)
        # The displacement is set to 0 on the border, too: rounding can place a point of the border
        # slightly inside, where the velocity is not 0.
        return still_border(self._flow(still_border(velocity)))

    def through(
        self, velocity: VelocityTensor, stops: Sequence[int], start: int = 0
    ) -> list[DisplacementTensor]:
        """Return the displacements of the flow from step ``start`` to each of ``stops``, all from
        one march.

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

    def carried_on(self, velocity: VelocityTensor) -> VelocityTensor:
        """Return the velocity from which a finer level starts: ``velocity`` itself."""
        return velocity

    def mean_square(self, velocity: VelocityTensor) -> LossTensor:
        """Return the mean over voxels and time of the squared length of ``velocity``."""
        return kinetic_energy(velocity)

    def _flow(self, velocity: VelocityTensor) -> DisplacementTensor:
        if self.solver == "exponential":
            return exponential(velocity, self.steps, self.gradient)
        return runge_kutta(
            velocity, TABLEAUS[self.solver], self.steps, self.step_size, self.gradient
        )


def exponential(
    velocity: VelocityTensor, squarings: int, gradient: str = "exact"
) -> DisplacementTensor:
    """Return the displacement of ``exp(v)``, the flow of a stationary ``v`` at time 1.

    Scaling and squaring uses ``exp(v) = exp(v / 2^n)^(2^n)``: the flow of ``v / 2^n`` is taken as
    ``id + v / 2^n``, and the map is composed with itself ``n`` times (Arsigny et al., MICCAI 2006,
    algorithm 2).

    Args:
        squarings: ``n``.
        gradient: ``exact`` or ``checkpoint``, see :class:`Flow`.
    """
    displacement = velocity * 2.0**-squarings
    for _ in range(squarings):
        displacement = (
            _recomputed(twice, displacement) if gradient == "checkpoint" else twice(displacement)
        )
    return displacement


def runge_kutta(
    velocity: VelocityTensor,
    tableau: Tableau,
    steps: int,
    step_size: float,
    gradient: str = "exact",
) -> DisplacementTensor:
    """Return the displacement after ``steps`` steps ``phi <- phi + h sum_i b_i v(t_i, phi_i)``.

    Here ``h`` is the ``step_size`` and ``phi_i`` is the map at stage ``i`` of the ``tableau``
    (:mod:`diffeode.flows.solvers`). With Euler's tableau this is equation 8 of arXiv 2512.22689,
    and one step gives the displacement ``h v``.

    Args:
        gradient: see :class:`Flow`.
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
    """Return the displacements of the flow from step ``start`` to each of ``stops``."""

    def slope(fraction: float, state: State) -> tuple[Tensor]:
        return (velocity_along(velocity, fraction, *state),)

    def recomputed_step(*arguments: Any) -> State:
        return _recomputed(step, *arguments)

    take = recomputed_step if gradient == "checkpoint" else step
    states = visited(tableau, slope, (None,), range(start, stops[-1]), steps, step_size, take)
    return [state[0] for index, state in enumerate(states, start + 1) if index in stops]


def _recomputed(function: Any, *arguments: Any) -> Any:
    """Return ``function(*arguments)``; the backward pass computes it again instead of keeping it.

    Nothing here draws at random, so the state of torch's generators need not be kept either.
    """
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
