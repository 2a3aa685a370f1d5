"""Flows against closed forms: linear fields, groups, inverses, orders."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from diffeode.flows.fields import GridField, NetworkField
from diffeode.flows.integrate import exponential, runge_kutta
from diffeode.flows.operator import inverse_operator
from diffeode.flows.solvers import EULER
from diffeode.flows.velocity import zero_velocity
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.unfold import _folds, unfold
from diffeode.losses.regularisers import jacobian_determinant
from diffeode.warp import compose, pull_back, resize, resize_displacement, sample_at, voxel_centres

GENERATOR = np.array([[0.05, -0.2, 0.02], [0.15, -0.04, 0.06], [-0.03, 0.08, 0.02]])
CENTRE = 10.0


def linear_velocity(size=(21, 21, 21)) -> torch.Tensor:
    """``v(x) = A (x - c)``, whose flow at time 1 is ``expm(A) (x - c) + c``."""
    points = voxel_centres(size, torch.zeros(1, dtype=torch.float64)) - CENTRE
    return torch.einsum("ij,bjxyz->bixyz", torch.from_numpy(GENERATOR), points)


def exact_displacement(size=(21, 21, 21)) -> torch.Tensor:
    points = voxel_centres(size, torch.zeros(1, dtype=torch.float64)) - CENTRE
    return torch.einsum("ij,bjxyz->bixyz", torch.from_numpy(expm(GENERATOR) - np.eye(3)), points)


def inner(field: torch.Tensor) -> torch.Tensor:
    """Voxels that no trajectory through them has left the grid for: there interpolating a linear field is exact."""
    return field[..., 7:14, 7:14, 7:14]


def smooth_velocity(size=(24, 28, 20), scale=6.0, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, len(size), *size, generator=generator, dtype=torch.float64)
    window = torch.ones(1, 1, *size, dtype=torch.float64)
    for axis, n in enumerate(size):
        profile = torch.sin(torch.linspace(0, np.pi, n, dtype=torch.float64)) ** 2
        window = window * profile.view(*[-1 if a == axis + 2 else 1 for a in range(len(size) + 2)])
    field = gaussian(noise, 3.0) * window
    return field * scale / field.abs().max()


def test_exponential_of_a_linear_field_is_the_matrix_exponential():
    found = exponential(linear_velocity(), squarings=12)
    assert (inner(found) - inner(exact_displacement())).abs().max() < 1e-3


@pytest.mark.parametrize(("solver", "order"), [("euler", 1.0), ("exponential", 1.0)])
def test_order_of_convergence(solver, order):
    """Error against step size, in the logarithm; scaling and squaring starts from an Euler step: order 1."""
    steps = np.array([8, 16, 32, 64])
    flows = {
        "euler": lambda n: runge_kutta(linear_velocity(), EULER, n, 1 / n),
        "exponential": lambda n: exponential(linear_velocity(), int(np.log2(n))),
    }
    errors = [float((inner(flows[solver](n)) - inner(exact_displacement())).abs().max()) for n in steps]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.15


def test_one_euler_step_is_the_scaled_velocity():
    velocity = smooth_velocity()
    assert torch.equal(runge_kutta(velocity, EULER, 1, 0.005), 0.005 * velocity)


def test_exponential_of_minus_v_undoes_exponential_of_v():
    """Up to interpolation: a twentieth of a voxel where the displacement reaches two."""
    velocity = smooth_velocity(scale=2.0)
    forward, back = exponential(velocity, 7), exponential(-velocity, 7)
    assert forward.abs().max() > 1.5
    assert compose(forward, back).abs().max() < 0.1
    assert compose(forward, back).abs().mean() < 0.005


def test_exponential_is_a_one_parameter_group():
    velocity = smooth_velocity(scale=4.0)
    half = exponential(0.5 * velocity, 7)
    assert (compose(half, half) - exponential(velocity, 8)).abs().max() < 1e-9


def vortex(n: int) -> torch.Tensor:
    """A rotation in a plane that fades with the radius: divergence-free. The same flow on ``n`` voxels a side."""
    x, y = voxel_centres((n, n), torch.zeros(1, dtype=torch.float64))[0] - (n - 1) / 2
    speed = 0.6 * torch.exp(-(x**2 + y**2) / (2 * (0.17 * n) ** 2))
    return torch.stack([-y * speed, x * speed])[None]


def test_divergence_free_flow_keeps_area():
    """The determinant is one up to interpolation, which errs in proportion to the spacing."""
    coarse, fine = (float((jacobian_determinant(exponential(vortex(n), 9)) - 1).abs().max()) for n in (41, 81))
    assert coarse < 0.05
    assert fine < 0.6 * coarse


@pytest.mark.parametrize("size", [(9, 7, 5), (12, 11)])
def test_whole_voxel_shift_is_exact(size):
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    shift = torch.zeros(1, len(size), *size, dtype=torch.float64)
    shift[:, 0] = 1
    moved = pull_back(image, shift)
    assert torch.allclose(moved[:, :, :-1], image[:, :, 1:], atol=1e-12)
    assert (moved[:, :, -1] == 0).all()


def test_resizing_a_displacement_keeps_it_in_millimetres():
    """A linear displacement of the box is the same map on every grid over the box."""
    coarse, fine = (8, 6, 10), (19, 12, 30)

    def stretch(size):
        centres = voxel_centres(size, torch.zeros(1, dtype=torch.float64))
        half = torch.tensor(size, dtype=torch.float64).view(1, 3, 1, 1, 1)
        return 0.1 * (centres + 0.5 - half / 2)

    resized = resize_displacement(stretch(coarse), fine)
    away_from_border = (slice(None), slice(None), slice(2, -2), slice(2, -2), slice(3, -3))
    assert torch.allclose(resized[away_from_border], stretch(fine)[away_from_border], atol=1e-9)


def test_resize_keeps_a_constant_and_the_same_size_untouched():
    image = torch.rand(1, 1, 5, 6, 7)
    assert resize(image, (5, 6, 7)) is image
    assert torch.allclose(resize(torch.full((1, 1, 5, 6, 7), 2.5), (9, 3, 8)), torch.tensor(2.5))


def test_sampling_gradient_against_finite_differences():
    image = torch.rand(1, 1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    points = (torch.rand(1, 3, 2, 2, 2, dtype=torch.float64) * 2.3 + 0.4).requires_grad_()
    assert torch.autograd.gradcheck(sample_at, (image, points))


def test_flow_gradient_against_finite_differences():
    velocity = (0.3 * smooth_velocity((5, 4, 5), scale=1.0) + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: exponential(v, 3), velocity)
    assert torch.autograd.gradcheck(lambda v: runge_kutta(v, EULER, 3, 0.3), velocity)


def test_inverse_operator_undoes_the_operator():
    """``L^-1`` of ``(Id - alpha Laplacian)^2 f`` is ``f``, with zero one voxel beyond the border of the unit cube."""
    alpha, size = 0.0025, (11, 8, 9)
    field = torch.rand(1, 3, *size, dtype=torch.float64)

    def operator(f):
        padded = torch.nn.functional.pad(f, [1] * 6)
        laplacian = sum(
            (padded.roll(1, a + 2) + padded.roll(-1, a + 2) - 2 * padded) * (size[a] + 1) ** 2 for a in range(3)
        )
        return f - alpha * laplacian[:, :, 1:-1, 1:-1, 1:-1]

    assert torch.allclose(inverse_operator(operator(operator(field)), alpha, 2), field, atol=1e-10)


def test_inverse_operator_is_self_adjoint():
    a, b = torch.rand(2, 1, 1, 7, 9, 6, dtype=torch.float64).unbind()
    left = (inverse_operator(a, 0.01, 2) * b).sum()
    assert torch.allclose(left, (a * inverse_operator(b, 0.01, 2)).sum(), rtol=1e-12)


def test_gaussian_keeps_constants_and_has_its_width():
    impulse = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    impulse[..., 15, 15] = 1
    smooth = gaussian(impulse, 2.0)[0, 0]
    at = torch.arange(31, dtype=torch.float64) - 15
    assert torch.isclose(smooth.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert abs(float((smooth.sum(1) * at**2).sum()) ** 0.5 - 2.0) < 0.05
    assert torch.allclose(gaussian(torch.ones(1, 1, 6, 5, 4), 1.3), torch.tensor(1.0))


def test_box_is_the_window_average_with_zeros_beyond():
    image = torch.rand(1, 1, 7, 6, dtype=torch.float64)
    averaged = box(image, 3)
    assert torch.isclose(averaged[0, 0, 3, 2], image[0, 0, 2:5, 1:4].mean())
    assert torch.isclose(averaged[0, 0, 0, 0], image[0, 0, :2, :2].sum() / 9)


@pytest.mark.parametrize("size", [(33, 18, 27), (5, 6, 7), (40, 30)])
def test_fields_start_at_their_base_grid_and_network_reach_any_size(size):
    base = zero_velocity(size, torch.zeros(1)) + 0.5
    grid = GridField(base, lambda f: f)
    assert torch.equal(grid(), base)
    network = NetworkField(base, lambda f: f, reductions=2)
    velocity = network()
    assert velocity.shape == base.shape
    velocity.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_nodeo_network_has_the_published_number_of_parameters():
    """3 652 304 on 160 x 192 x 144 with two reductions, counted in the reference's running model."""
    network = NetworkField(zero_velocity((160, 192, 144), torch.zeros(1)), lambda f: f, reductions=2)
    assert sum(p.numel() for p in network.parameters()) == 3_652_304


def test_unfold_takes_out_folds_and_touches_nothing_else():
    size, fine = (20, 22, 18), (40, 44, 36)

    def coarse_flow(velocity):
        return exponential(velocity, 1)

    velocity = smooth_velocity(size, scale=1.0)
    assert unfold(velocity, coarse_flow, fine)[0] is velocity
    torn = velocity.clone()
    torn[:, 0, 10, 11, 9] += 4
    assert _folds(coarse_flow(torn), fine).any()
    mended, left = unfold(torn, coarse_flow, fine)
    assert left == 0
    for v in (mended, -mended):
        assert (jacobian_determinant(resize_displacement(coarse_flow(v), fine)) > 0).all()
    assert torch.equal(mended[:, :, :3], torn[:, :, :3])


@pytest.mark.parametrize("sides", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_unfold_sees_folds_of_every_one_sided_difference(sides):
    """Where voxel (3, 3) runs over its neighbour on one side only the difference towards that side is negative."""
    displacement = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    displacement[0, 0, 3, 3] = -1.5 if sides[0] else 1.5
    folded = _folds(displacement, (7, 7))[0, 0]
    assert folded[3, 3]
    assert folded.sum() > 0
    assert not folded[0].any()
