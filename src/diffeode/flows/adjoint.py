"""Gradients of a flow by the adjoint equation, in memory that does not grow with the steps."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffeode.flows.solvers import State, Tableau, march
from diffeode.flows.velocity import velocity_along
from diffeode.geometry.shapes import DisplacementTensor, VelocityTensor


def flow_by_adjoint(
    velocity: VelocityTensor, tableau: Tableau, steps: int, step_size: float
) -> DisplacementTensor:
    """Return the displacement of the flow of ``velocity``, with its gradient by the adjoint.

    Only the velocity and the displacement are kept for the gradient. With ``x`` the position, ``a``
    the adjoint, ``w`` the velocity's values at voxels and knots and ``g`` the gradient with respect
    to ``w``, these equations are integrated together backward in time, by the same tableau::

        dx/dt = v(t, x)    da/dt = -(dv/dx)^T a    dg/dt = -(dv/dw)^T a

    (Chen et al., NeurIPS 2018; NODEO, section 3.2; arXiv 2512.22689, equations 5 to 7). This is the
    gradient of the continuous equation, not of its discretisation. It tends to the exact gradient
    as the steps shrink. With one Euler step ``dv/dx`` is evaluated at the end of the step, as in
    NODEO's code. What made the velocity, for example a network, receives ``g`` by
    back-propagation.
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
            """Return the time derivatives of position, adjoint and gradient, backward in time.

            Time runs backward here, so all three signs of the equations are reversed.

            Args:
                gone: the fraction of the time that the backward integration has covered.
                state: position (as a displacement), adjoint and gradient.
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
