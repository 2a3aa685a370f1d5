"""Solvers of ``d phi / dt = v(t, phi)`` against closed forms: orders, inverses, areas, borders."""

import itertools

import numpy as np
import pytest
import torch
from problems import inner, linear_displacement, linear_velocity, smooth_velocity, vortex

from diffeode.flows.integrate import GRADIENTS, SOLVERS, Flow, runge_kutta
from diffeode.flows.solvers import EULER, RK4, TABLEAUS
from diffeode.flows.velocity import at_time, kinetic_energy, reverse
from diffeode.geometry.warp import compose
from diffeode.losses.regularisers import jacobian_determinant

DIMENSIONS = pytest.mark.parametrize("dimensions", [2, 3])
EVERY_TABLEAU = pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)


@EVERY_TABLEAU
def test_tables_are_consistent(tableau):
    """The weights of a step sum to 1, those of a stage to its time, and no stage uses a
    later one.
    """
    assert sum(tableau.b) == pytest.approx(1)
    assert [sum(row) for row in tableau.a] == pytest.approx(list(tableau.c))
    assert [len(row) for row in tableau.a] == list(range(len(tableau.b)))


@DIMENSIONS
@pytest.mark.parametrize("knots", [1, 2])
@EVERY_TABLEAU
def test_order_of_convergence(tableau, knots, dimensions):
    """The order is the slope of the error over the step size, in logarithms; with two knots the
    field is linear in time as well.
    """
    velocity, exact = (
        linear_velocity(dimensions, knots),
        inner(linear_displacement(dimensions, knots)),
    )
    steps = np.array([2, 4, 8, 16])
    errors = [
        float((inner(runge_kutta(velocity, tableau, n, 1 / n)) - exact).abs().max()) for n in steps
    ]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    assert abs(slope - tableau.order) < 0.15


def test_one_euler_step_is_the_scaled_velocity():
    velocity = smooth_velocity()
    assert torch.equal(runge_kutta(velocity, EULER, 1, 0.005), 0.005 * velocity)


def test_the_time_of_a_flow_scales_its_velocity():
    """Half the velocity for twice the time leads to the same place."""
    velocity = linear_velocity(3, knots=2)
    assert torch.allclose(
        runge_kutta(velocity, RK4, 4, 0.25), runge_kutta(velocity / 2, RK4, 4, 0.5), atol=1e-12
    )
    assert Flow("rk4", 4, 0.5).time == 2
    assert Flow("exponential", 6, 0.5).time == 1


def test_velocities_are_linear_between_their_knots():
    first, middle, last = velocity = smooth_velocity((7, 6), knots=3)
    for fraction, field in (
        (0, first),
        (0.25, (first + middle) / 2),
        (0.5, middle),
        (0.9, 0.2 * middle + 0.8 * last),
    ):
        assert torch.allclose(at_time(velocity, fraction)[0], field)
    assert torch.equal(at_time(velocity, 1.0)[0], last)


def test_a_further_knot_on_the_line_changes_nothing():
    two = smooth_velocity((11, 9, 8), scale=2.0, knots=2)
    three = torch.stack([two[0], two.mean(0), two[1]])
    assert torch.allclose(
        runge_kutta(three, RK4, 4, 0.25), runge_kutta(two, RK4, 4, 0.25), atol=1e-12
    )
    assert torch.isclose(kinetic_energy(three), kinetic_energy(two), rtol=1e-12)


def test_equal_knots_are_a_stationary_velocity():
    one = smooth_velocity((11, 9, 8), scale=2.0)
    many = one.expand(4, *one.shape[1:])
    assert torch.allclose(runge_kutta(many, RK4, 3, 0.3), runge_kutta(one, RK4, 3, 0.3), atol=1e-12)
    assert torch.isclose(kinetic_energy(many), kinetic_energy(one), rtol=1e-12)


def test_kinetic_energy_is_the_average_over_time():
    velocity = smooth_velocity((6, 5), knots=3)
    fractions = (np.arange(4000) + 0.5) / 4000
    average = np.mean([float(kinetic_energy(at_time(velocity, f))) for f in fractions])
    assert float(kinetic_energy(velocity)) == pytest.approx(average, rel=1e-6)


@DIMENSIONS
@pytest.mark.parametrize("knots", [1, 2])
def test_the_flow_of_the_reversed_velocity_is_the_inverse(knots, dimensions):
    """The reversed velocity leads back up to the solver's error; the opposite velocity alone does
    not where it changes with time.
    """
    velocity = linear_velocity(dimensions, knots)
    forward, back = (runge_kutta(v, RK4, 16, 1 / 16) for v in (velocity, reverse(velocity)))
    assert inner(forward).abs().max() > 0.4
    assert inner(compose(forward, back)).abs().max() < 1e-7
    if knots > 1:
        assert inner(compose(forward, runge_kutta(-velocity, RK4, 16, 1 / 16))).abs().max() > 1e-2


def test_forward_and_back_meet_in_any_smooth_velocity():
    """The law holds up to interpolation: within a tenth of a voxel, where displacements reach more
    than one voxel.
    """
    velocity = smooth_velocity(scale=2.0, knots=3)
    forward, back = (runge_kutta(v, RK4, 8, 1 / 8) for v in (velocity, reverse(velocity)))
    assert forward.abs().max() > 1
    for there_and_back in (compose(forward, back), compose(back, forward)):
        assert there_and_back.abs().max() < 0.1
        assert there_and_back.abs().mean() < 0.003


@pytest.mark.parametrize("solver", ["midpoint", "heun", "rk4", "exponential"])
def test_divergence_free_flow_keeps_area(solver):
    """The determinant is one up to interpolation, which errs in proportion to the spacing."""
    flow = Flow(solver, 9 if solver == "exponential" else 32, 1 / 32)
    coarse, fine = (
        float((jacobian_determinant(flow(vortex(n))) - 1).abs().max()) for n in (41, 81)
    )
    assert coarse < 0.05
    assert fine < 0.6 * coarse


@pytest.mark.parametrize("size", [(17, 50), (50, 8, 11)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fixed_border_does_not_move_at_all(solver, size):
    """The border does not move at all, though on 50 voxels rounding places a point of the upper
    border slightly inside.
    """
    velocity = smooth_velocity(
        size, scale=1.0, fading=False, knots=1 if solver == "exponential" else 2
    )
    held = Flow(solver, 3, 0.3, fixed_border=True)(velocity)
    for axis, n in enumerate(size, start=2):
        assert (held.index_select(axis, torch.tensor([0, n - 1])) == 0).all()
    assert held.abs().max() > 0.1
    assert Flow(solver, 3, 0.3)(velocity).select(2, 0).abs().max() > 0.1


@pytest.mark.parametrize("fixed_border", [False, True])
@pytest.mark.parametrize(
    ("solver", "gradient"),
    [pair for pair in itertools.product(SOLVERS, GRADIENTS) if pair != ("exponential", "adjoint")],
)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 4, 2), (3, 1, 5), (5, 3, 2)])
def test_tiny_grids_flow(size, solver, gradient, fixed_border):
    velocity = torch.randn(
        1 if solver == "exponential" else 2, len(size), *size, dtype=torch.float64
    ).requires_grad_()
    displacement = Flow(solver, 2, 0.5, gradient, fixed_border)(velocity)
    displacement.square().sum().backward()
    assert displacement.shape == (1, len(size), *size)
    assert torch.isfinite(displacement).all()
    assert torch.isfinite(velocity.grad).all()
