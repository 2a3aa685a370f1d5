"""Flows of a cloud of voxels, whose velocities depend on where all voxels are, against closed
forms.
"""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from diffeode.flows.cloud import CloudFlow
from diffeode.flows.fields import NetworkField
from diffeode.flows.integrate import GRADIENTS, Flow
from diffeode.flows.smoothing import box
from diffeode.flows.solvers import TABLEAUS
from diffeode.flows.velocity import zero_velocity
from diffeode.geometry.warp import resize, voxel_centres

SIZE = (3, 4)
START = voxel_centres(SIZE, torch.zeros(1, dtype=torch.float64))
EVERY_SOLVER = pytest.mark.parametrize("solver", TABLEAUS)


def matrices(count=2) -> torch.Tensor:
    """Return matrices that make every voxel's velocity depend on the places of all voxels,
    ``(count, n, n)``.
    """
    generator = torch.Generator().manual_seed(3)
    n = START.numel()
    return 0.8 * torch.randn(count, n, n, generator=generator, dtype=torch.float64) / n**0.5


def linear(weights: torch.Tensor):
    """Return the rate ``dq / dt = (M + t N) q``: no voxel moves by its own place alone."""

    def rate(fraction, moved):
        places = START if moved is None else START + moved
        matrix = weights[0] + fraction * weights[1]
        return (matrix @ places.flatten()).view_as(START)

    return rate


def velocities_of(flow: CloudFlow, weights: torch.Tensor) -> torch.Tensor:
    return flow.velocities(linear(weights), [weights])


def exact_displacement(weights: torch.Tensor) -> torch.Tensor:
    """Return the displacement at time 1."""

    def slope(time, places):
        return (weights[0] + time * weights[1]).numpy() @ places

    start = START.flatten().numpy()
    found = solve_ivp(slope, (0, 1), start, "DOP853", rtol=1e-13, atol=1e-15)
    return torch.from_numpy(found.y[:, -1] - start).view_as(START)


def loss(flow: CloudFlow, velocities: torch.Tensor) -> torch.Tensor:
    """Return a smooth function of the cloud's end and of its velocities."""
    weights = torch.linspace(-1, 2, START.numel(), dtype=torch.float64).view_as(START)
    end = flow(velocities)
    return (weights * end + 0.1 * end**2).sum() + 0.3 * flow.mean_square(velocities)


def gradient_of(flow: CloudFlow) -> torch.Tensor:
    weights = matrices().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(flow, velocities_of(flow, weights)), weights)
    return gradient


# ------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_two_euler_steps_ask_for_the_velocity_where_the_cloud_has_come_to_lie(gradient):
    """``q2 = (I + h M(1/2)) (I + h M(0)) q0``, in which each step has its own velocity."""
    flow, weights = CloudFlow("euler", 2, 0.7, gradient), matrices()
    velocities = velocities_of(flow, weights)
    first = weights[0] @ START.flatten()
    second = (weights[0] + 0.5 * weights[1]) @ (START.flatten() + 0.7 * first)
    expected = torch.stack([first, second]).view_as(velocities)
    torch.testing.assert_close(velocities, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow(velocities)[0], 0.7 * expected.sum(0), rtol=1e-12, atol=1e-12)
    assert flow.mean_square(velocities).item() == pytest.approx(
        float((expected**2).sum(1).mean()), rel=1e-12
    )


@EVERY_SOLVER
def test_order_of_convergence(solver):
    weights, exact = matrices(), exact_displacement(matrices())
    steps = np.array([4, 8, 16, 32])
    flows = [CloudFlow(solver, n, 1 / n) for n in steps.tolist()]
    errors = [float((flow(velocities_of(flow, weights)) - exact).abs().max()) for flow in flows]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    assert abs(slope - TABLEAUS[solver].order) < 0.2


def test_a_constant_velocity_leads_to_the_same_place():
    flow = CloudFlow("heun", 3, 0.4)
    velocities = velocities_of(flow, matrices())
    constant = flow.carried_on(velocities)
    assert constant.shape == START.shape
    assert (velocities[0] != velocities[2]).any()
    torch.testing.assert_close(flow(constant), flow(velocities), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_fixed_border_does_not_move_on_the_way(gradient):
    """Only the two inner voxels move. The velocities depend on all voxels, and the outer ones stay
    in their places during the whole integration.
    """
    flow, seen = CloudFlow("rk4", 2, 0.5, gradient, fixed_border=True), []
    rate = linear(matrices())

    def watched(fraction, moved):
        seen.append(START if moved is None else START + moved)
        return rate(fraction, moved)

    moved = flow(flow.velocities(watched, [matrices()])) != 0
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    assert (moved == inside).all()
    assert all(torch.equal(places[..., ~inside], START[..., ~inside]) for places in seen)


# ---------------------------------------------------------------------------------------- gradients


@EVERY_SOLVER
def test_exact_and_checkpointed_gradients_are_finite_differences(solver):
    exact, checkpointed = (
        gradient_of(CloudFlow(solver, 3, 0.3, gradient)) for gradient in ("exact", "checkpoint")
    )
    assert torch.equal(exact, checkpointed)
    flow, by = CloudFlow(solver, 3, 0.3), 1e-5
    direction = matrices(3)[1:]
    there, back = (
        loss(flow, velocities_of(flow, matrices() + side * by * direction)) for side in (1, -1)
    )
    found = float((exact * direction).sum())
    assert found == pytest.approx(float(there - back) / (2 * by), rel=1e-6)


@EVERY_SOLVER
def test_the_adjoint_nears_the_exact_gradient_as_steps_shrink(solver):
    steps = np.array([8, 16, 32, 64])
    gaps = []
    for n in steps.tolist():
        exact, adjoint = (gradient_of(CloudFlow(solver, n, 1 / n, g)) for g in ("exact", "adjoint"))
        gaps.append(float((adjoint - exact).abs().max() / exact.abs().max()))
    assert np.polyfit(np.log(1 / steps), np.log(gaps), 1)[0] > min(TABLEAUS[solver].order, 2) - 0.25
    assert gaps[-1] < {1: 0.1, 2: 0.01, 4: 0.01}[TABLEAUS[solver].order]


def test_the_adjoint_of_one_euler_step_is_taken_at_its_end():
    """It is ``dL/dM = h a q(1)'``, as in NODEO's code; the exact gradient is ``h a q(0)'``."""
    weights = matrices()
    weights[1] = 0
    ends = {}
    for gradient in ("exact", "adjoint"):
        flow, leaf = CloudFlow("euler", 1, 0.6, gradient), weights.clone().requires_grad_()
        end = flow(velocities_of(flow, leaf))
        (found,) = torch.autograd.grad(end.square().sum() / 2, leaf)
        ends[gradient] = found[0]
    start, by_end = START.flatten(), end.detach().flatten()
    torch.testing.assert_close(ends["exact"], 0.6 * torch.outer(by_end, start))
    torch.testing.assert_close(ends["adjoint"], 0.6 * torch.outer(by_end, start + by_end))


# ------------------------------------------------------------------------------------------ network


def network_of(flow, size=(18, 12), **settings) -> NetworkField:
    torch.manual_seed(1)
    base = zero_velocity(size, torch.zeros(1, dtype=torch.float64)) + 0.1
    return NetworkField(base, lambda field: box(field, 3), flow, **settings).double()


def by_hand(network: NetworkField, places: torch.Tensor, time: float | None) -> torch.Tensor:
    """Return the output of NODEO's network for voxels at ``places``, ``(1, d, *size)``."""
    size = places.shape[2:]
    widths = torch.tensor([n - 1 for n in size], dtype=torch.float64).view(1, -1, 1, 1)
    x = resize(2 * places / widths - 1, [n // 2 for n in size])
    for index, convolution in enumerate(network.convolutions):
        x = convolution(x if index == 0 else x.clamp(min=0))
    clock = torch.empty(0) if time is None else torch.tensor([time])
    x = network.narrow(torch.cat([x.flatten(), clock.double()]))
    x = network.widen(torch.cat([x.clamp(min=0), clock.double()])).view(1, 2, *network.reduced)
    halves = torch.tensor([n / 2 for n in size], dtype=torch.float64).view(1, -1, 1, 1)
    return network.base + box(resize(x * halves, size), 3)


@pytest.mark.parametrize("timed", [False, True])
def test_the_network_is_asked_where_the_voxels_have_come_to_lie(timed):
    flow = CloudFlow("euler", 3, 2.0)
    network = network_of(flow, timed=timed)
    found = network()
    places = voxel_centres(network.size, found)
    for index in range(3):
        expected = by_hand(network, places, index / 3 if timed else None)
        torch.testing.assert_close(found[index : index + 1], expected)
        places = places + 2.0 * expected
    assert (found[1:] - found[:-1]).abs().max() > 1e-4
    torch.testing.assert_close(flow(found), places - voxel_centres(network.size, found))


def test_one_euler_step_is_the_network_on_the_cloud_at_rest():
    moved, fixed = network_of(CloudFlow("euler", 1, 0.005)), network_of(None)
    assert torch.equal(moved(), fixed())
    assert torch.equal(moved.flow(moved()), Flow("euler", 1, 0.005)(fixed()))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_weight_of_the_network_has_a_gradient(gradient):
    network = network_of(CloudFlow("midpoint", 2, 0.5, gradient), timed=True)
    network.flow(network()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_adjoint_of_the_network_is_the_exact_gradient_when_steps_are_many():
    """They agree to a hundredth, because the cloud may pass a kink of the network in a step."""
    found = {}
    for gradient in ("exact", "adjoint"):
        network = network_of(CloudFlow("rk4", 12, 2.0, gradient), timed=True)
        network.flow(network()).square().sum().backward()
        found[gradient] = torch.cat([p.grad.flatten() for p in network.parameters()])
    gap = (found["adjoint"] - found["exact"]).norm() / found["exact"].norm()
    assert gap < 0.01


@pytest.mark.parametrize("size", [(18, 9, 12), (40, 30), (1, 2)])
def test_time_enters_both_dense_layers_and_nothing_else(size):
    """All knots share the weights of the stationary network; each knot has its own velocity."""
    stationary, timed = (
        NetworkField(zero_velocity(size, torch.zeros(1), knots), lambda f: f, timed=knots > 1)
        for knots in (1, 3)
    )
    shapes = {name: p.shape for name, p in stationary.named_parameters()}
    for name, weights in timed.named_parameters():
        more = [0, 1] if name in ("narrow.weight", "widen.weight") else [0] * weights.dim()
        assert list(weights.shape) == [n + m for n, m in zip(shapes[name], more, strict=True)]
    velocity = timed()
    assert velocity.shape == (3, len(size), *size)
    assert (velocity[0] != velocity[2]).any()
    velocity.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in timed.parameters())
