"""Flows against closed forms: linear fields, groups, inverses, orders."""

import numpy as np
import pytest
import torch
from problems import inner, linear_displacement, linear_velocity, smooth_velocity

from diffeode.flows.fields import GridField, NetworkField
from diffeode.flows.integrate import Flow, exponential
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.unfold import _border_into, _folds, unfold
from diffeode.flows.velocity import reverse, zero_velocity
from diffeode.geometry.warp import (
    compose,
    pull_back,
    resize,
    resize_displacement,
    sample_at,
    voxel_centres,
)
from diffeode.losses.regularisers import jacobian_determinant


def test_exponential_of_a_linear_field_is_the_matrix_exponential():
    found = exponential(linear_velocity(3), squarings=12)
    assert (inner(found) - inner(linear_displacement(3))).abs().max() < 1e-3


def test_scaling_and_squaring_is_of_first_order():
    """The order is the slope of the error over the step size, in logarithms; the first squaring
    starts from an Euler step.
    """
    squarings = np.array([3, 4, 5, 6])
    exact = inner(linear_displacement(3))
    errors = [
        float((inner(exponential(linear_velocity(3), int(n))) - exact).abs().max())
        for n in squarings
    ]
    slope = np.polyfit(-squarings * np.log(2), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.15


def test_exponential_of_minus_v_undoes_exponential_of_v():
    """The law holds up to interpolation: within a twentieth of a voxel, where displacements reach
    two voxels.
    """
    velocity = smooth_velocity(scale=2.0)
    forward, back = exponential(velocity, 7), exponential(-velocity, 7)
    assert forward.abs().max() > 1.5
    assert compose(forward, back).abs().max() < 0.1
    assert compose(forward, back).abs().mean() < 0.005


def test_exponential_is_a_one_parameter_group():
    velocity = smooth_velocity(scale=4.0)
    half = exponential(0.5 * velocity, 7)
    assert (compose(half, half) - exponential(velocity, 8)).abs().max() < 1e-9


@pytest.mark.parametrize("size", [(9, 7, 5), (12, 11)])
def test_whole_voxel_shift_is_exact(size):
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    shift = torch.zeros(1, len(size), *size, dtype=torch.float64)
    shift[:, 0] = 1
    moved = pull_back(image, shift)
    assert torch.allclose(moved[:, :, :-1], image[:, :, 1:], atol=1e-12)
    assert (moved[:, :, -1] == 0).all()


def test_resizing_a_displacement_keeps_it_in_millimetres():
    """A linear displacement of the box is the same map on every grid over that box."""
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
    """NODEO's model has 3 652 304 weights on 160 x 192 x 144 voxels with two reductions, counted in
    its running code.
    """
    network = NetworkField(
        zero_velocity((160, 192, 144), torch.zeros(1)), lambda f: f, reductions=2
    )
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
    mended, _, left = unfold(torn, coarse_flow, fine)
    assert left == 0
    for v in (mended, -mended):
        assert (jacobian_determinant(resize_displacement(coarse_flow(v), fine)) > 0).all()
    assert torch.equal(mended[:, :, :3], torn[:, :, :3])


def test_unfold_looks_at_the_way_back_too():
    """A velocity with a step stretches voxels on the way there and folds them on the way back."""
    flow, heights = Flow("euler", 1, 1.0), [0, 0, 0, 0, 1.5, 1.2, 0.9, 0.6, 0.3, 0, 0, 0]
    velocity = torch.zeros(1, 2, 12, 9, dtype=torch.float64)
    velocity[0, 0] = torch.tensor(heights, dtype=torch.float64)[:, None]
    assert not _folds(flow(velocity), (12, 9)).any()
    assert _folds(flow(reverse(velocity)), (12, 9)).any()
    mended, _, left = unfold(velocity, flow, (12, 9))
    assert left == 0
    assert not _folds(flow(reverse(mended)), (12, 9)).any()


def test_unfold_counts_what_it_repaired_and_what_it_could_not_on_the_way_back():
    """The inverse of this flow folds whatever the velocity is, so smoothing cannot help, and the
    result says so.
    """
    torn = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    torn[0, 0, 3, 3] = 1.5
    velocity = torch.ones_like(torn)
    _, repaired, left = unfold(velocity, lambda v: torn if v.sum() < 0 else 0 * v, (7, 7))
    assert (repaired, left) == (0, int(_folds(torn, (7, 7)).sum()))
    folded_at_first = int((_folds(torn, (7, 7)) | _folds(-torn, (7, 7))).sum())
    assert unfold(torn, lambda v: v, (7, 7))[1:] == (folded_at_first, 0)


def test_unfold_looks_beyond_the_border_where_the_map_continues():
    """A rotation by 100 degrees folds nowhere inside, but it does beyond the border, where the
    displacement continues.
    """
    angle = np.deg2rad(100)
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = voxel_centres((8, 9), torch.zeros(1, dtype=torch.float64))
    displacement = torch.einsum("ij,bj...->bi...", turn - torch.eye(2), points)
    assert (jacobian_determinant(displacement) > 0.9).all()
    folded = _folds(displacement, (8, 9))[0, 0]
    assert not folded[1:-1, 1:-1].any()
    assert folded[0].all()
    assert folded[:, -1].all()


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("end", [0, -1])
def test_what_folds_beyond_the_border_is_mended_at_the_border(axis, end):
    flags = torch.zeros(1, 1, 5, 6, dtype=torch.bool)
    flags.select(axis, end)[..., 3] = True
    inner_flags = _border_into(flags, axis)
    assert inner_flags.shape[axis] == flags.shape[axis] - 2
    assert inner_flags.sum() == 1
    assert inner_flags.select(axis, end)[..., 3]


def test_unfold_smooths_all_knots_of_a_fold():
    size, flow = (20, 22, 18), Flow("euler", 3, 1 / 3)
    torn = smooth_velocity(size, scale=1.0, knots=3)
    torn[1, 0, 10, 11, 9] += 12
    assert _folds(flow(torn), size).any()
    mended, _, left = unfold(torn, flow, size)
    assert left == 0
    for v in (mended, reverse(mended)):
        assert (jacobian_determinant(flow(v)) > 0).all()
    assert all((mended[knot] != torn[knot]).any() for knot in range(3))
    assert torch.equal(mended[:, :, :3], torn[:, :, :3])


@pytest.mark.parametrize("sides", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_unfold_sees_folds_of_every_one_sided_difference(sides):
    """Where voxel (3, 3) passes its neighbour on one side, only the difference towards that side is
    negative.
    """
    displacement = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    displacement[0, 0, 3, 3] = -1.5 if sides[0] else 1.5
    folded = _folds(displacement, (7, 7))[0, 0]
    assert folded[3, 3]
    assert folded.sum() > 0
    assert not folded[0].any()
