"""Gradients of a flow by the adjoint equation: memory does not grow with the number of steps."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffeode.flows.solvers import State, Tableau, march
from diffeode.flows.velocity import velocity_along


def flow_by_adjoint(velocity: Tensor, tableau: Tableau, steps: int, step_size: float) -> Tensor:
    """Displacement ``(1, d, *size)`` of the flow of ``velocity``; only it and the velocity are kept
    for the gradient.

    The gradient is that of the equation, not that of its discretisation: position, adjoint ``da/dt
    = -(dv/dx)^T a`` and gradient ``dg/dt = -(dv/dw)^T a`` are integrated together backward in time
    by the same tableau (Chen et al., NeurIPS 2018; NODEO, section 3.2; arXiv 2512.22689, equations
    5 to 7). It tends to the exact one as steps shrink; with one Euler step it is evaluated at the
    far end of the step, as in NODEO's code. It is the gradient by the velocity's voxels and knots;
    what made the velocity, a network say, takes it from there by back-propagation.
    """
    return _Adjoint.apply(velocity, tableau, steps, step_size)


@final
class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, velocity: Tensor, tableau: Tableau, steps: int, step_size: float
    ) -> Tensor:
        (displacement,) = march(
            tableau,
            lambda fraction, state: (velocity_along(velocity, fraction, *state),),
            (None,),
            steps,
            step_size,
        )
        ctx.save_for_backward(velocity, displacement)
        ctx.solver = tableau, steps, step_size
        return displacement

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        velocity, displacement = ctx.saved_tensors
        tableau, steps, step_size = ctx.solver

        def slope(gone: float, state: State) -> tuple[Tensor, ...]:
            """Derivatives by the time left to go: the signs of the equations above, turned
            round.
            """
            with torch.enable_grad():
                knots, place = (
                    velocity.detach().requires_grad_(),
                    state[0].detach().requires_grad_(),
                )
                rate = velocity_along(knots, 1 - gone, place)
                by_velocity, by_place = torch.autograd.grad(rate, (knots, place), state[1])
            return -rate.detach(), by_place, by_velocity

        _, _, gradient = march(tableau, slope, (displacement, adjoint, None), steps, step_size)
        return gradient, None, None, None
