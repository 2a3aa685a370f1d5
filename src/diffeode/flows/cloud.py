"""The flow of a cloud of voxels: ``dq / dt = v(q, t)``, where the velocity of a voxel depends on
where all voxels are.

NODEO (Wu et al., CVPR 2022, equations 3 and 4) and arXiv 2512.22689, equations 1 to 3 and 8. The
velocity is that of each voxel along its way, so nothing is sampled between voxels. What follows one
voxel is no field in space: the flow back of a cloud is no inverse of the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from diffeode.flows.solvers import TABLEAUS, State, stages, step
from diffeode.flows.velocity import still_border
from diffeode.losses.regularisers import magnitude

Rate = Callable[[float, Tensor | None], Tensor]
"""Velocity of every voxel ``(1, d, *size)``, in voxels, after a fraction of the time, 0 to 1, when
the voxels have moved by a displacement ``(1, d, *size)`` (None: not at all)."""


@final
@dataclass(frozen=True)
class CloudFlow:
    """From the velocities of a cloud ``(K, d, *size)`` to the displacement ``(1, d, *size)`` of its
    voxels.

    The K velocities belong to K parts of the time that are equally long, and are constant in each.

    Attributes:
        solver: the name of a tableau.
        gradient: ``exact``, back-propagation through every step; ``checkpoint``, the same gradient,
            each step computed twice; ``adjoint``, the gradient of the equation (equations 5 to 7 of
            arXiv 2512.22689), which is evaluated at the far end of each step, as in NODEO's code.
        fixed_border: the outermost voxels do not move.
    """

    solver: str
    steps: int
    step_size: float
    gradient: str = "exact"
    fixed_border: bool = False
    inverts_exactly: ClassVar[bool] = False

    @property
    def time(self) -> float:
        """How long the cloud moves."""
        return self.steps * self.step_size

    def __call__(self, velocities: Tensor) -> Tensor:
        displacement = self.time * self.carried_on(velocities)
        return still_border(displacement) if self.fixed_border else displacement

    def carried_on(self, velocities: Tensor) -> Tensor:
        """The constant velocity ``(1, d, *size)`` that leads to the same place."""
        return velocities.mean(dim=0, keepdim=True)

    def mean_square(self, velocities: Tensor) -> Tensor:
        """Mean over voxels and time of the squared length."""
        return magnitude(velocities)

    def velocities(self, rate: Rate, weights: Iterable[Tensor]) -> Tensor:
        """The velocities ``(steps, d, *size)`` of a cloud that moves by ``rate``: for each step,
        the mean velocity over the step.

        Args:
            weights: the parameters of ``rate``, for which a gradient is wanted.
        """

        def held(fraction: float, displacement: Tensor | None) -> Tensor:
            found = rate(fraction, displacement)
            return still_border(found) if self.fixed_border else found

        if self.gradient == "adjoint":
            return _Adjoint.apply(held, self, *weights)
        return self.march(held)

    def march(self, rate: Rate) -> Tensor:
        """:meth:`velocities` whose gradient is that of the computation."""
        displacement, found = None, []
        for index in range(self.steps):
            if self.gradient == "checkpoint":
                velocity = checkpoint(
                    self._over_a_step,
                    *(rate, index, displacement),
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            else:
                velocity = self._over_a_step(rate, index, displacement)
            found.append(velocity)
            change = self.step_size * velocity
            displacement = change if displacement is None else displacement + change
        return torch.cat(found)

    def _over_a_step(self, rate: Rate, index: int, displacement: Tensor | None) -> Tensor:
        """The mean velocity over the step ``index``, which begins at ``displacement``."""
        tableau = TABLEAUS[self.solver]

        def slope(fraction: float, state: State) -> tuple[Tensor]:
            return (rate(fraction, *state),)

        slopes = stages(tableau, slope, index, self.steps, self.step_size, (displacement,))
        parts = [b * k for b, (k,) in zip(tableau.b, slopes, strict=True) if b]
        return sum(parts[1:], start=parts[0])


@final
class _Adjoint(torch.autograd.Function):
    """Position, adjoint and gradient integrated backward together, from the places that the cloud
    had at the ends of the steps.
    """

    @staticmethod
    def forward(ctx: Any, rate: Rate, flow: CloudFlow, *weights: Tensor) -> Tensor:
        found = flow.march(rate)
        ctx.save_for_backward(found, *weights)
        ctx.rate, ctx.flow = rate, flow
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        velocities, *weights = ctx.saved_tensors
        rate, flow = ctx.rate, ctx.flow
        places = flow.step_size * torch.cumsum(velocities, dim=0)

        def slope(gone: float, state: State) -> tuple[Tensor, ...]:
            """Derivatives by the time left to go."""
            with torch.enable_grad():
                place = state[0].detach().requires_grad_()
                velocity = rate(1 - gone, place)
                by_place, *by_weights = torch.autograd.grad(velocity, (place, *weights), state[1])
            return -velocity.detach(), by_place, *by_weights

        # The velocity over a step is the difference of the places at its two ends.
        direct = torch.diff(-outer, dim=0, append=torch.zeros_like(outer[:1])) / flow.step_size
        adjoint, gradients = torch.zeros_like(outer[:1]), [None] * len(weights)
        for index in reversed(range(flow.steps)):
            at = slice(index, index + 1)
            _, adjoint, *gradients = step(
                *(TABLEAUS[flow.solver], slope, flow.steps - 1 - index, flow.steps, flow.step_size),
                (places[at], adjoint + direct[at], *gradients),
            )
        return None, None, *gradients
