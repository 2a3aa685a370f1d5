"""Gradients of flows: exact, checkpointed and by the adjoint equation; their memory."""

import numpy as np
import pytest
import torch
from problems import GENERATORS, inner, linear_field, linear_velocity, smooth_velocity
from torch.profiler import ProfilerActivity, profile

from diffeode.flows.integrate import Flow
from diffeode.flows.solvers import TABLEAUS
from diffeode.geometry.warp import pull_back

EXACT = ("exact", "checkpoint")


def loss(displacement: torch.Tensor) -> torch.Tensor:
    """Return a smooth function of a displacement."""
    weights = torch.linspace(-1, 2, displacement.numel(), dtype=displacement.dtype).view_as(
        displacement
    )
    return (weights * displacement + 0.5 * displacement**2).sum()


def derivative(
    flow: Flow, velocity: torch.Tensor, direction: torch.Tensor, part=lambda field: field
) -> float:
    """Return the derivative of the loss along ``direction``, by the gradient that the flow
    computes.
    """
    leaf = velocity.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(part(flow(leaf))), leaf)
    return float((gradient * direction).sum())


def difference(
    flow: Flow, velocity: torch.Tensor, direction: torch.Tensor, by: float = 1e-5
) -> float:
    """Return the derivative of the loss along ``direction`` by central differences."""
    return float(loss(flow(velocity + by * direction)) - loss(flow(velocity - by * direction))) / (
        2 * by
    )


@pytest.mark.parametrize("fixed_border", [False, True])
@pytest.mark.parametrize(
    ("solver", "size", "knots"),
    [
        *[
            (solver, size, 1)
            for solver in ("exponential", *TABLEAUS)
            for size in ((9, 8), (6, 5, 7))
        ],
        *[
            (solver, size, knots)
            for solver in TABLEAUS
            for size, knots in (((9, 8), 3), ((6, 5, 7), 2))
        ],
    ],
)
def test_exact_and_checkpointed_gradients_are_finite_differences(solver, size, knots, fixed_border):
    velocity = smooth_velocity(size, scale=1.5, seed=4, knots=knots, fading=False)
    direction = smooth_velocity(size, scale=1.0, seed=5, knots=knots, fading=False)
    flows = [Flow(solver, 3, 0.3, gradient, fixed_border) for gradient in EXACT]
    exact, checkpointed = (derivative(flow, velocity, direction) for flow in flows)
    assert exact == pytest.approx(difference(flows[0], velocity, direction), rel=1e-6)
    assert checkpointed == pytest.approx(exact, rel=1e-12)
    assert torch.equal(flows[0](velocity), flows[1](velocity))


def test_every_component_of_the_gradient():
    velocity = (0.3 * smooth_velocity((5, 4, 5), scale=1.0, knots=2) + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(Flow("rk4", 2, 0.4), velocity)
    assert torch.autograd.gradcheck(Flow("exponential", 3), velocity[:1].detach().requires_grad_())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_the_adjoint_converges_with_the_order_of_its_solver(tableau, dimensions):
    """The adjoint tends to the exact derivative of a linear flow along a linear direction, since
    interpolation makes no error in either.
    """
    velocity, direction = linear_velocity(dimensions), linear_field(3 * GENERATORS[dimensions][1])
    truth = derivative(Flow("rk4", 64, 1 / 64, "exact"), velocity, direction, inner)
    steps = np.array([4, 8, 16, 32])
    found = [
        derivative(Flow(tableau.name, n, 1 / n, "adjoint"), velocity, direction, inner)
        for n in steps.tolist()
    ]
    slope = np.polyfit(np.log(1 / steps), np.log(np.abs(np.array(found) - truth)), 1)[0]
    assert abs(slope - tableau.order) < 0.15


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_the_adjoint_nears_the_exact_gradient_in_time_dependent_flows(tableau):
    """The difference falls at least with the order of the solver; with Heun both gradients have
    similar errors, so it falls faster.
    """
    velocity = linear_velocity(2, knots=2)
    direction = torch.cat([linear_field(generator) for generator in 3 * GENERATORS[2][::-1]])
    steps = np.array([4, 8, 16, 32])
    flows = [
        [Flow(tableau.name, n, 1 / n, gradient) for gradient in ("exact", "adjoint")]
        for n in steps.tolist()
    ]
    gaps = [
        abs(np.diff([derivative(flow, velocity, direction, inner) for flow in pair])[0])
        for pair in flows
    ]
    assert np.polyfit(np.log(1 / steps), np.log(gaps), 1)[0] > tableau.order - 0.15


@pytest.mark.parametrize(("size", "knots"), [((12, 13), 1), ((9, 8, 10), 2)])
def test_the_adjoint_is_the_finite_difference_when_steps_are_many(size, knots):
    """The two agree to a thousandth; linear interpolation has kinks at which steps do not stop."""
    velocity = smooth_velocity(size, scale=1.5, seed=4, knots=knots, fading=False)
    direction = smooth_velocity(size, scale=1.0, seed=5, knots=knots, fading=False)
    flow = Flow("rk4", 128, 1 / 128, "adjoint")
    assert derivative(flow, velocity, direction) == pytest.approx(
        difference(flow, velocity, direction), rel=1e-3
    )


def test_the_adjoint_of_one_euler_step_is_evaluated_at_its_end():
    """As in NODEO's code the gradient is taken where the points arrive; the exact gradient would be
    h everywhere.
    """
    velocity = smooth_velocity((9, 8), scale=1.5, fading=False)
    flow, leaf = Flow("euler", 1, 0.4, "adjoint"), velocity.clone().requires_grad_()
    (found,) = torch.autograd.grad(flow(leaf).sum(), leaf)
    (expected,) = torch.autograd.grad(0.4 * pull_back(leaf, flow(velocity), "border").sum(), leaf)
    assert torch.allclose(found, expected, atol=1e-14)
    assert (found - 0.4).abs().max() > 0.01


def bytes_kept(gradient: str, steps: int) -> int:
    """Return the memory that is kept between the forward and the backward pass, the result
    included.
    """
    velocity = smooth_velocity((20, 20, 20)).requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        displacement = Flow("rk4", steps, 1 / steps, gradient)(velocity)
    kept = sum(event.self_cpu_memory_usage for event in profiler.events())
    displacement.sum().backward()
    return kept


def test_memory_grows_with_steps_only_where_it_must():
    """For each step the adjoint keeps no displacement, checkpoints keep one, and exact
    back-propagation keeps many.
    """
    displacement = 20**3 * 3 * 8
    growth = {
        g: (bytes_kept(g, 9) - bytes_kept(g, 1)) / 8 / displacement
        for g in ("exact", "checkpoint", "adjoint")
    }
    assert growth["adjoint"] == 0
    assert growth["checkpoint"] == pytest.approx(1, abs=0.05)
    assert growth["exact"] > 4
