"""Settings of losses, flows and descents mean what they say, in numbers that were worked out by
hand.

Every law is tested on volumes in single precision, for which kernels are compiled, and on planes in
double precision, for which torch computes the formulas.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from ours import neural_ode
from torch import nn

from diffeode.descriptors.mind import mind, mind_ssc
from diffeode.flows.integrate import GRADIENTS, SOLVERS, Flow
from diffeode.flows.smoothing import box, gaussian
from diffeode.fused.compiler import serves
from diffeode.geometry.warp import voxel_centres
from diffeode.learning.loop import Settings
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.gradient_fields import normalised_gradient_fields_to
from diffeode.losses.mutual_information import local_mutual_information_to, mutual_information_to
from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier, magnitude
from diffeode.losses.similarity import Warped, mind_similarity
from diffeode.optimise.loop import Descent, minimise

WAYS = {"kernels": ((12, 10, 11), torch.float32), "formulas": ((12, 10), torch.float64)}


@pytest.fixture(params=WAYS)
def way(request):
    """Size and precision of the images."""
    size, kind = WAYS[request.param]
    assert serves(torch.zeros(1, 1, *size, dtype=kind)) is (request.param == "kernels")
    return size, kind


def close(kind):
    return {"rel": 2e-5 if kind == torch.float32 else 1e-9, "abs": 1e-7}


# ---------------------------------------------------------------------------------------- penalties


@pytest.mark.parametrize("barrier", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("squared", [False, True])
def test_the_barrier_counts_what_determinants_lack_and_its_square(barrier, squared, way):
    """Scaling by 0.8 along every axis has a determinant of 0.8 to the number of axes."""
    size, kind = way
    displacement = -0.2 * voxel_centres(size, torch.zeros(1, dtype=kind))
    lacking = max(0.0, barrier - 0.8 ** len(size))
    found = jacobian_barrier(displacement, barrier, squared).item()
    assert found == pytest.approx(lacking**2 if squared else lacking, **close(kind))


def test_the_squared_gradient_is_in_millimetres(way):
    size, kind = way
    spacing = (0.7, 2.0, 5.0)[: len(size)]
    displacement = torch.zeros(1, len(size), *size, dtype=kind)
    displacement[:, 0] = 0.1 * voxel_centres(size, displacement)[0, 1] * spacing[1] / spacing[0]
    found = gradient_magnitude(displacement, spacing).item()
    assert found == pytest.approx(0.1**2 / len(size), **close(kind))


# ------------------------------------------------------------------------------------- similarities


def ramp(size, kind, slope, spacing):
    """An image that rises by ``slope`` a mm along every axis."""
    centres = voxel_centres(size, torch.zeros(1, dtype=torch.float64))[0]
    lengths = zip(centres, slope, spacing, strict=True)
    return sum(place * rise * mm for place, rise, mm in lengths)[None, None].to(kind)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.5])
def test_edges_count_by_eta_and_by_their_angle_in_space(eta, way):
    """On a ramp every gradient is the mean, so ``<n, n>`` is ``cos / (1 + eta^2)``, whatever the
    slopes.
    """
    size, kind = way
    spacing = (0.5, 2.0, 1.0)[: len(size)]
    one, other = (1.0, 0.0, 0.0)[: len(size)], (3.0, 4.0, 0.0)[: len(size)]
    fixed, moving = (ramp(size, kind, slope, spacing) / 10 for slope in (one, other))
    found = normalised_gradient_fields_to(fixed, eta, spacing)(moving).item()
    assert found == pytest.approx(1 - (0.6 / (1 + eta**2)) ** 2, **close(kind))


def spread(value, bins):
    """A Gaussian a bin wide around ``value`` in [0, 1], over the bins."""
    kernel = np.exp(-0.5 * (value * (bins - 1) - np.arange(bins)) ** 2)
    return kernel / kernel.sum()


def information(pairs, bins):
    """Return the mutual information of ``pairs`` of values by its definition, in nats, and the
    normalised one.
    """
    joint = np.mean([np.outer(spread(a, bins), spread(b, bins)) for a, b in pairs], axis=0)
    one, other, both = (-(p * np.log(p)).sum() for p in (joint.sum(1), joint.sum(0), joint))
    return one + other - both, (one + other) / both


def levels(size, kind, seed):
    """Two images of four grey levels that depend on each other."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, size) / 3
    second = np.where(rng.random(size) < 0.7, 1 - first, rng.integers(0, 4, size) / 3)
    return (torch.from_numpy(array).to(kind)[None, None] for array in (first, second))


@pytest.mark.parametrize("bins", [2, 7, 16])
def test_information_is_in_as_many_bins_as_it_is_set(bins, way):
    size, kind = way
    fixed, moving = levels(size, kind, 0)
    plain, normalised = information(
        zip(fixed.flatten().tolist(), moving.flatten().tolist(), strict=True), bins
    )
    assert mutual_information_to(fixed, bins)(moving).item() == pytest.approx(-plain, **close(kind))
    assert mutual_information_to(fixed, bins, normalised=True)(moving).item() == pytest.approx(
        -normalised, **close(kind)
    )


@pytest.mark.parametrize(("patch", "bins"), [(2, 7), (2, 3), (4, 7), (5, 5)])
def test_local_information_is_in_patches_and_bins_as_they_are_set(patch, bins, way):
    """The information is averaged over the patches in which the fixed image is not constant."""
    _, kind = way
    size = (2 * patch,) * len(way[0])
    fixed, moving = levels(size, kind, 1)
    expected = []
    for corner in itertools.product((0, patch), repeat=len(size)):
        window = (0, 0, *(slice(start, start + patch) for start in corner))
        values = [image[window].flatten().tolist() for image in (fixed, moving)]
        if len(set(values[0])) > 1:
            expected.append(information(zip(*values, strict=True), bins)[0])
    found = local_mutual_information_to(fixed, patch, bins)(moving).item()
    assert found == pytest.approx(-np.mean(expected), **close(kind))


@pytest.mark.parametrize("window", [3, 5, 9])
def test_correlation_is_in_windows_as_wide_as_they_are_set(window, way):
    """Two bright voxels correlate in the windows that hold both; in other windows one of them is
    alone.
    """
    size, kind = way
    image = torch.zeros(1, 1, *size, dtype=kind)
    middle = tuple(n // 2 for n in size)
    image[(0, 0, *middle)] = 10.0
    apart = image.roll(3, dims=2)
    texture = 1e-4
    expected = []
    for centre in np.ndindex(*size):
        around = (0, 0, *(slice(max(0, c - window // 2), c + window // 2 + 1) for c in centre))
        one, other = image[around].double(), apart[around].double()
        cross = (one * other).mean() - one.mean() * other.mean()
        variances = [(part.square().mean() - part.mean() ** 2) for part in (one, other)]
        expected.append(
            ((cross.abs() + texture) ** 2 / math.prod(v + texture for v in variances)).item()
        )
    found = local_correlation_to(image, window)(apart).item()
    assert found == pytest.approx(1 - np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("describe", [mind_ssc, mind])
@pytest.mark.parametrize(("radius", "dilation"), [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)])
def test_mind_sees_a_voxel_as_far_as_radius_and_dilation_reach(describe, radius, dilation, way):
    """Changing one voxel changes the descriptor up to the sum of radius and dilation along each
    axis, and not beyond.
    """
    _, kind = way
    size = (15,) * len(way[0])
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)).to(kind)
    other = image.clone()
    other[(0, 0, *[7] * len(size))] += 0.5
    # the local variance is kept near its mean over the image; in noise no voxel comes near these
    # bounds
    changed = (describe(image, radius, dilation) - describe(other, radius, dilation)).abs().amax(
        dim=1
    )[0] > 1e-3
    along = [
        torch.nonzero(changed.any(dim=tuple(a for a in range(len(size)) if a != axis))).flatten()
        for axis in range(len(size))
    ]
    reach = radius + dilation
    assert [(found.min().item(), found.max().item()) for found in along] == [
        (7 - reach, 7 + reach)
    ] * len(size)


@pytest.mark.parametrize("form", ["ssc", "mind"])
@pytest.mark.parametrize(("radius", "dilation"), [(0, 2), (1, 2), (2, 1)])
def test_the_similarity_of_mind_is_of_that_radius_and_dilation(form, radius, dilation, way):
    size, kind = way
    fixed, moving = (
        torch.rand(2, 1, 1, *size, generator=torch.Generator().manual_seed(0)).to(kind).unbind()
    )
    at_rest = Warped(moving, torch.zeros(1, len(size), *size, dtype=kind))
    describe = {"ssc": mind_ssc, "mind": mind}[form]
    expected = (
        (describe(fixed, radius, dilation) - describe(moving, radius, dilation))
        .square()
        .mean()
        .item()
    )
    found = mind_similarity(fixed, radius, dilation, form)(at_rest).item()
    assert found == pytest.approx(expected, **close(kind))


# -------------------------------------------------------------------------------------------- flows


FLOWS = [
    (solver, steps, step_size, gradient)
    for solver, steps, step_size, gradient in itertools.product(
        SOLVERS, (1, 3), (0.25, 0.7), GRADIENTS
    )
    if solver != "exponential" or gradient != "adjoint"
]


@pytest.mark.parametrize(("solver", "steps", "step_size", "gradient"), FLOWS)
def test_a_constant_velocity_moves_by_itself_times_the_time(
    solver, steps, step_size, gradient, way
):
    """The time is ``steps * step_size``, and 1 for the exponential; the displacement grows in
    proportion.
    """
    size, kind = way
    time = 1.0 if solver == "exponential" else steps * step_size
    flow = Flow(solver, steps, step_size, gradient)
    velocity = (
        torch.tensor([0.4, -0.3, 0.2][: len(size)], dtype=kind)
        .view(1, -1, *[1] * len(size))
        .repeat(1, 1, *size)
    )
    velocity.requires_grad_()
    displacement = flow(velocity)
    assert flow.time == pytest.approx(time)
    torch.testing.assert_close(displacement, time * velocity, rtol=1e-5, atol=1e-6)
    (slope,) = torch.autograd.grad(displacement.sum(), velocity)
    assert slope.sum().item() == pytest.approx(time * velocity.numel(), rel=1e-4)


@pytest.mark.parametrize(("solver", "time"), [("exponential", 1.0), ("euler", 1.4), ("rk4", 1.4)])
def test_penalties_of_the_velocity_are_those_of_the_way_it_leads(solver, time, way):
    """The penalty is ``weight T^2 |v|^2``, so half the velocity for twice the time costs
    the same.
    """
    size, kind = way
    speed = torch.full((1, len(size), *size), 0.3, dtype=kind)
    fixed = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)).to(kind)
    penalties = {"magnitude": {"weight": 0.5}, "operator": {"weight": 0.25, "alpha": 0.0}}
    flow = {"solver": solver, "steps": 2, "step_size": 0.7}
    method = neural_ode(
        {"similarity": {"squared_difference": {}}, "penalties": penalties, "flow": flow}
    )
    terms = terms_of(method, fixed, speed)
    length = 0.09 * len(size)
    assert magnitude(speed).item() == pytest.approx(length, rel=1e-6)
    assert terms["magnitude"] == pytest.approx(0.5 * time**2 * length, rel=1e-5)
    assert terms["operator"] == pytest.approx(0.25 * time**2 * length, rel=1e-5)


def terms_of(method, image, velocity):
    from diffeode.methods.neural_ode.energy import PairTensors, energy_on
    from diffeode.optimise.pyramid import Lattice

    lattice = Lattice(tuple(image.shape[2:]), (1.0,) * (image.dim() - 2))
    found = energy_on(PairTensors(image, image, None, None), lattice, lattice, method)(velocity)
    return {name: term.item() for name, term in found.items()}


@pytest.mark.parametrize("sigma", [0.6, 1.5])
def test_a_point_is_smoothed_to_a_gaussian_of_that_width(sigma, way):
    size, kind = way
    place = [n // 2 for n in size]
    point = torch.zeros(1, 1, *size, dtype=kind)
    point[(0, 0, *place)] = 1
    found = gaussian(point, sigma)
    here, beside = found[(0, 0, *place)], found[(0, 0, place[0] + 1, *place[1:])]
    assert (beside / here).item() == pytest.approx(math.exp(-0.5 / sigma**2), rel=1e-5)


@pytest.mark.parametrize("window", [3, 5])
def test_a_point_is_averaged_over_that_window(window, way):
    size, kind = way
    point = torch.zeros(1, 1, *size, dtype=kind)
    point[(0, 0, *[n // 2 for n in size])] = 1
    found = box(point, window)
    assert torch.count_nonzero(found > 1e-6).item() == window ** len(size)
    assert found.max().item() == pytest.approx(window ** -len(size), rel=1e-5)


# ----------------------------------------------------------------------------------------- descents


class Point(nn.Module):
    """A velocity of one voxel that starts at 0."""

    def __init__(self):
        super().__init__()
        self.velocity = nn.Parameter(torch.zeros(1, 1, 1, 1, dtype=torch.float64))

    def forward(self):
        return self.velocity


@pytest.mark.parametrize("learning_rate", [0.2, 0.05])
@pytest.mark.parametrize("damping", [1e-8, 0.5])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_steady_slope_is_gone_down_by_rate_schedule_and_damping(learning_rate, damping, schedule):
    """Under a slope ``c`` that never changes, Adam's step is ``rate c / (c + damping)``."""
    slope, iterations, energies = 0.7, 9, []
    descent = Descent(learning_rate, schedule, damping)
    minimise(
        Point(),
        lambda v: {"hill": slope * v.sum()},
        iterations,
        descent,
        lambda row: energies.append(row["energy"]),
    )
    rates = [
        learning_rate
        * (
            1
            if schedule == "constant"
            else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / iterations))
        )
        for k in range(iterations)
    ]
    steps = [rate * slope / (slope + damping) for rate in rates]
    np.testing.assert_allclose(
        energies, [-slope * sum(steps[:k]) for k in range(iterations)], rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize(
    ("tolerance", "iterations"), [(0.0, 50), (0.099, 12), (0.051, 21), (0.03, 35)]
)
def test_a_steady_fall_is_settled_where_it_is_small_beside_what_was_fallen(tolerance, iterations):
    """Where the energy falls by 1 in each iteration, the slope after ``n`` iterations is ``1 / n``
    of the whole fall.
    """
    energies = []
    descent = Descent(0.5, "constant", 1e-12, tolerance)
    minimise(
        Point(),
        lambda v: {"hill": 2 * v.sum()},
        50,
        descent,
        lambda row: energies.append(row["energy"]),
    )
    assert len(energies) == iterations
    np.testing.assert_allclose(np.diff(energies), -1, rtol=1e-6)


def test_the_rate_of_a_training_follows_its_schedule():
    constant, cosine = (
        Settings(steps=8, learning_rate=0.3, schedule=s) for s in ("constant", "cosine")
    )
    assert [constant.rate(step) for step in (1, 5, 8)] == [0.3, 0.3, 0.3]
    expected = [0.3 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * k / 8))) for k in (0, 4, 7)]
    np.testing.assert_allclose([cosine.rate(step) for step in (1, 5, 8)], expected)
