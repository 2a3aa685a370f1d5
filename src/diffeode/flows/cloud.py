"""The flow of a cloud of voxels, ``dq / dt = v(q, t)``, in which the velocity of a voxel depends on
where all voxels are.

This is the equation of NODEO (Wu et al., CVPR 2022, equations 3 and 4) and of arXiv 2512.22689
(equations 2, 3 and 8). A velocity belongs to a voxel along its way, so nothing is sampled between
voxels. It is no field in space, so the flow back of a cloud is not the inverse of the map.
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
from diffeode.geometry.shapes import DisplacementTensor, LossTensor, VelocityTensor
from diffeode.losses.regularisers import magnitude

Rate = Callable[[float, DisplacementTensor | None], VelocityTensor]
"""Returns the velocity of every voxel, ``(1, d, *size)``.

Its arguments are the fraction of the time that has passed, from 0 to 1, and the displacement of the
voxels so far; None: 0.
"""


@final
@dataclass(frozen=True)
class CloudFlow:
    """Turns the velocities of a cloud into the displacement of its voxels.

    Unlike the knots of a velocity field, the ``K`` velocities of a cloud belong to ``K`` parts of
    the time that are equally long, and each is constant in its part.

    Attributes:
        solver: the name of a tableau.
        steps: the number of steps.
        step_size: the length of each step.
        gradient: ``exact`` is back-propagation through every step; ``checkpoint`` gives the same
            gradient and computes each step twice; ``adjoint`` is the gradient of the equation
            (equations 5 to 7 of arXiv 2512.22689), which is evaluated at the far end of each step,
            as in NODEO's code.
        fixed_border: whether the outermost voxels do not move.
    """

    solver: str
    steps: int
    step_size: float
    gradient: str = "exact"
    fixed_border: bool = False
    inverts_exactly: ClassVar[bool] = False

    @property
    def time(self) -> float:
        """The length of the time for which the cloud moves."""
        return self.steps * self.step_size

    def __call__(self, velocities: VelocityTensor) -> DisplacementTensor:
        displacement = self.time * self.carried_on(velocities)
        return still_border(displacement) if self.fixed_border else displacement

    def carried_on(self, velocities: VelocityTensor) -> VelocityTensor:
        """Return the constant velocity that leads to the same displacement."""
        return velocities.mean(dim=0, keepdim=True)

    def mean_square(self, velocities: VelocityTensor) -> LossTensor:
        """Return the mean over voxels and time of the squared length of ``velocities``."""
        return magnitude(velocities)

    def velocities(self, rate: Rate, weights: Iterable[Tensor]) -> VelocityTensor:
        """Return the velocities of a cloud that moves by ``rate``: for each step, the mean velocity
        over the step.

        Args:
            weights: the parameters of ``rate`` for which a gradient is wanted.
        """

        def held(fraction: float, displacement: DisplacementTensor | None) -> VelocityTensor:
            found = rate(fraction, displacement)
            return still_border(found) if self.fixed_border else found

        if self.gradient == "adjoint":
            return _Adjoint.apply(held, self, *weights)
        return self.march(held)

    def march(self, rate: Rate) -> VelocityTensor:
        """Return what :meth:`velocities` returns; autograd follows the computation."""
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

    def _over_a_step(
        self, rate: Rate, index: int, displacement: DisplacementTensor | None
    ) -> VelocityTensor:
        """Return the mean velocity over the step ``index``, which starts at ``displacement``."""
        tableau = TABLEAUS[self.solver]

        def slope(fraction: float, state: State) -> tuple[Tensor]:
            return (rate(fraction, *state),)

        slopes = stages(tableau, slope, index, self.steps, self.step_size, (displacement,))
        parts = [b * k for b, (k,) in zip(tableau.b, slopes, strict=True) if b]
        return sum(parts[1:], start=parts[0])


@final
class _Adjoint(torch.autograd.Function):
    """Integrates position, adjoint and gradient backward together, step by step.

    Each step starts from the displacement that the cloud had at its end on the way there.
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
            """Return the derivatives of position, adjoint and gradient by the time that has passed
            on the way back.
            """
            with torch.enable_grad():
                place = state[0].detach().requires_grad_()
                velocity = rate(1 - gone, place)
                by_place, *by_weights = torch.autograd.grad(velocity, (place, *weights), state[1])
            return -velocity.detach(), by_place, *by_weights

        # The velocity over a step is the difference of the displacements at its two ends, divided
        # by the length of the step.
        direct = torch.diff(-outer, dim=0, append=torch.zeros_like(outer[:1])) / flow.step_size
        adjoint, gradients = torch.zeros_like(outer[:1]), [None] * len(weights)
        for index in reversed(range(flow.steps)):
            at = slice(index, index + 1)
            _, adjoint, *gradients = step(
                *(TABLEAUS[flow.solver], slope, flow.steps - 1 - index, flow.steps, flow.step_size),
                (places[at], adjoint + direct[at], *gradients),
            )
        return None, None, *gradients
