"""The CPU kernels compute in float32 the values and gradients that torch computes from the formulas
in float64.
"""

import numpy as np
import pytest
import torch
from scipy import ndimage

from diffeode.descriptors.mind import mind_ssc
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.unfold import _folds
from diffeode.fused.compiler import serves
from diffeode.fused.mind import mind_ssc_descriptor
from diffeode.fused.sampling import pull_back_resized_fused
from diffeode.geometry.warp import (
    compose,
    pull_back,
    pull_back_from_rest,
    pull_back_resized,
    resize_displacement,
    twice,
    voxel_centres,
)
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.gradient_fields import normalised_gradient_fields_to
from diffeode.losses.mutual_information import mutual_information_to
from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier
from diffeode.losses.similarity import Warped, mind_similarity
from diffeode.process.threads import on_threads

SIZES = [(17, 12, 15), (9, 21, 8), (6, 7, 33)]
SPACING = (1.0, 2.0, 0.8)


def images(size, seed):
    random = torch.Generator().manual_seed(seed)
    fixed, moving = torch.rand(2, 1, 1, *size, generator=random)
    mask = (torch.rand(1, 1, *size, generator=random) > 0.5).float()
    return fixed, moving, mask


def mind_loss(radius, dilation):
    def make(fixed, mask):
        similarity = mind_similarity(fixed, radius, dilation, mask=mask)
        at_rest = torch.zeros(1, 3, *fixed.shape[2:], dtype=fixed.dtype)
        return lambda moving: similarity(Warped(moving, at_rest))

    return make


LOSSES = {
    "mind-1-2": mind_loss(1, 2),
    "mind-2-1": mind_loss(2, 1),
    "mind-0-3": mind_loss(0, 3),
    "ncc-7": lambda fixed, mask: local_correlation_to(fixed, 7, True, mask),
    "ncc-3-unsquared": lambda fixed, mask: local_correlation_to(fixed, 3, False, mask),
    "ncc-wider-than-the-image": lambda fixed, mask: local_correlation_to(fixed, 41, True, mask),
    "mi": lambda fixed, mask: mutual_information_to(fixed, 16, False, mask),
    "nmi-9": lambda fixed, mask: mutual_information_to(fixed, 9, True, mask),
    "ngf": lambda fixed, mask: normalised_gradient_fields_to(fixed, 0.7, SPACING, mask),
}
INFORMATION = ("mi", "nmi-9")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_those_of_the_formula(name, masked, size):
    fixed, moving, mask = images(size, 0)
    found, exact = (
        value_and_gradient(LOSSES[name](fixed.to(t), mask.to(t) if masked else None), moving.to(t))
        for t in (torch.float32, torch.float64)
    )
    nats = 1e-7 if name in INFORMATION else 0  # a small difference of entropies
    assert found[0] == pytest.approx(exact[0], rel=2e-6, abs=nats)
    torch.testing.assert_close(
        found[1].double(), exact[1], rtol=0, atol=2e-5 * float(exact[1].abs().max())
    )


def value_and_gradient(loss, moving):
    moving = moving.clone().requires_grad_()
    value = loss(moving)
    (gradient,) = torch.autograd.grad(3 * value, moving)
    return value.item(), gradient


def test_flat_background_gives_neither_nan_nor_pull():
    fixed, moving, _ = images((20, 16, 18), 1)
    for image in (fixed, moving):
        image[:, :, :, :, 9:] = 0
    for name, make in LOSSES.items():
        value, gradient = value_and_gradient(make(fixed, None), moving)
        assert np.isfinite(value), name
        assert torch.isfinite(gradient).all(), name
        if name in INFORMATION:
            # Every intensity is pulled on, and all voxels of one pair of intensities alike.
            assert (gradient[..., 16:] == gradient[0, 0, 0, 0, 16]).all()
        elif name != "ncc-wider-than-the-image":
            # What cancels there leaves its rounding; the flat image has no slope to carry it into
            # the map.
            assert gradient[..., 16:].abs().max() < 0.03 * gradient.abs().max(), name


def test_information_pulls_on_no_intensity_outside_the_bins_and_is_lost_with_one():
    fixed, moving, _ = images((9, 8, 7), 3)
    loss = mutual_information_to(fixed, 16)
    within = value_and_gradient(loss, moving.clamp(max=0.7) / 0.7)
    beyond = value_and_gradient(loss, moving / 0.7)
    assert beyond[0] == within[0]
    outside = moving > 0.7
    assert not beyond[1][outside].any()
    assert torch.equal(beyond[1][~outside], within[1][~outside])
    assert within[1][outside].all()
    moving[0, 0, 4, 4, 4] = float("nan")
    assert np.isnan(value_and_gradient(loss, moving)[0])


@pytest.mark.parametrize("size", SIZES)
def test_equal_images_have_equal_descriptors(size):
    fixed, moving, _ = images(size, 2)
    value, gradient = value_and_gradient(mind_loss(1, 2)(fixed, None), fixed)
    _, usual = value_and_gradient(mind_loss(1, 2)(fixed, None), moving)
    assert value < 1e-13
    assert gradient.abs().max() < 1e-6 * usual.abs().max()


def test_descriptors_are_those_of_the_formula():
    fixed, _, _ = images((12, 13, 14), 2)
    torch.testing.assert_close(
        mind_ssc_descriptor(fixed, 1, 2).double(), mind_ssc(fixed.double(), 1, 2), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reach", [0.4, 6.0])
def test_pulling_back_and_its_gradients_are_those_of_torch(padding, channels, reach):
    size = (11, 8, 14)
    random = torch.Generator().manual_seed(3)
    image = torch.rand(1, channels, *size, generator=random)
    displacement = (torch.rand(1, 3, *size, generator=random) * 2 - 1) * reach
    outer = torch.rand(1, channels, *size, generator=random)
    found, exact = (
        pulled(*(t.to(kind) for t in (image, displacement, outer)), padding)
        for kind in (torch.float32, torch.float64)
    )
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=3e-5)


def pulled(image, displacement, outer, padding):
    image, displacement = image.requires_grad_(), displacement.requires_grad_()
    out = pull_back(image, displacement, padding)
    return out, *torch.autograd.grad((out * outer).sum(), (image, displacement))


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("lost", [float("nan"), float("inf"), -1e30])
def test_a_point_that_is_nowhere_has_no_value(lost, padding):
    displacement = torch.zeros(1, 3, 6, 6, 6)
    displacement[0, 1, 2, 3, 4] = lost
    out = pull_back(torch.rand(1, 1, 6, 6, 6), displacement, padding)
    assert out.isnan().sum() == 1
    assert out[0, 0, 2, 3, 4].isnan()


RESIZED = [  # grid of the displacement, grid of the image
    ((5, 4, 7), (11, 8, 14)),
    ((3, 8, 2), (9, 8, 13)),
    ((1, 1, 1), (4, 5, 6)),
    ((4, 1, 3), (7, 2, 5)),
    ((9, 5, 6), (4, 7, 5)),
    ((6, 7, 5), (6, 7, 5)),
]


def resized_case(coarse, size, reach, channels=1):
    random = torch.Generator().manual_seed(5)
    image, outer = torch.rand(2, 1, channels, *size, generator=random)
    displacement = (torch.rand(1, 3, *coarse, generator=random) * 2 - 1) * reach
    return image, displacement, outer


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize(("channels", "reach"), [(1, 0.3), (1, 5.0), (3, 1.5)])
@pytest.mark.parametrize(("coarse", "size"), RESIZED)
def test_pulling_back_by_a_resized_displacement_is_resizing_and_pulling_back(
    coarse, size, channels, reach, padding
):
    image, displacement, outer = resized_case(coarse, size, reach, channels)
    usual = lambda i, u: pull_back(i, resize_displacement(u, size), padding)  # noqa: E731
    exact = moved(usual, *(t.double() for t in (image, displacement, outer)))
    for function in (
        lambda i, u: pull_back_resized(i, u, padding),
        lambda i, u: pull_back_resized_fused(i, u, padding == "border"),
    ):
        for found, truth in zip(moved(function, image, displacement, outer), exact, strict=True):
            torch.testing.assert_close(
                found.double(),
                truth,
                rtol=0,
                atol=2e-5 * max(1.0, truth.detach().abs().max().item()),
            )


def moved(function, image, displacement, outer):
    """Return the value of ``function`` of image and displacement, and its derivative by the
    displacement.
    """
    displacement = displacement.clone().requires_grad_()
    out = function(image, displacement)
    return out, *torch.autograd.grad((out * outer).sum(), displacement)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_derivative_by_a_resized_displacement_is_the_difference_it_makes(padding):
    size = (12, 10, 15)
    _, displacement, outer = resized_case((5, 4, 6), size, 0.2)
    slope = torch.tensor([0.03, -0.02, 0.05]).view(3, 1, 1, 1)
    image = (voxel_centres(size, outer)[0] * slope).sum(0)[
        None, None
    ]  # linear, so that no step is too long
    displacement = displacement.abs() + 0.1 if padding == "border" else displacement
    inside = torch.zeros_like(outer)
    inside[..., 2:-2, 2:-2, 2:-2] = 1
    outer = outer * inside
    step = torch.rand(displacement.shape, generator=torch.Generator().manual_seed(6)) - 0.5
    ahead, behind = (
        (pull_back_resized(image, displacement + sign * 0.5 * step, padding).double() * outer).sum()
        for sign in (1, -1)
    )
    _, gradient = moved(lambda i, u: pull_back_resized(i, u, padding), image, displacement, outer)
    assert float((gradient.double() * step).sum()) == pytest.approx(float(ahead - behind), rel=1e-4)


def test_a_point_on_the_border_has_no_derivative_where_the_border_continues():
    image, still, outer = resized_case((11, 8, 14), (11, 8, 14), 0.0)
    _, gradient = moved(lambda i, u: pull_back(i, u, "border"), image, still, outer)
    for axis in range(3):
        along = gradient[0, axis].movedim(axis, 0)
        assert not along[[0, -1]].any()
        assert along[1:-1].all()


def test_the_image_too_has_its_derivative_where_the_displacement_is_resized():
    image, displacement, outer = resized_case((5, 4, 7), (11, 8, 14), 2.0)
    found, exact = (
        torch.autograd.grad(
            (
                pull_back_resized(i := image.to(kind).requires_grad_(), displacement.to(kind))
                * outer
            ).sum(),
            i,
        )[0]
        for kind in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), -1e30])
def test_points_that_a_resized_displacement_loses_have_no_value_and_no_derivative(lost):
    image, displacement, outer = resized_case((5, 4, 7), (10, 8, 14), 1.0)
    displacement[0, 1, 2, 1, 3] = lost
    found = moved(pull_back_resized, image, displacement, outer)
    usual = moved(
        lambda i, u: pull_back(i, resize_displacement(u, i.shape[2:])), image, displacement, outer
    )
    assert found[0].isnan().sum() > 0
    for a, b in zip(found, usual, strict=True):
        assert torch.equal(a.isnan(), b.isnan())


def test_a_resized_displacement_at_rest_leans_to_no_side():
    image, displacement, outer = resized_case((5, 4, 7), (10, 8, 14), 0.0)
    out, gradient = moved(pull_back_from_rest, image, displacement, outer)
    _, flipped = moved(
        pull_back_from_rest, *(t.flip(2, 3, 4) for t in (image, displacement, outer))
    )
    assert torch.equal(out, image)
    torch.testing.assert_close(-flipped.flip(2, 3, 4), gradient)


FIELD_SIZES = [(9, 7, 12), (2, 13, 5), (20, 6, 3)]


def field_of(size, knots=1, seed=7):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(knots, 3, *size, generator=random)


AVERAGES = {
    "gaussian": lambda field: gaussian(field, (0.7, 1.3, 2.2)),
    "gaussian-but-one-axis": lambda field: gaussian(field, (1.0, 0.0, 4.0)),
    "box": lambda field: box(field, 5),
    "box-wider-than-the-field": lambda field: box(field, 31),
}


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [*FIELD_SIZES, (1, 4, 1)])
def test_averages_are_those_of_scipy(size, kind):
    field = field_of(size, knots=2).double()

    def along_every_axis(weights, mode):
        found = field.numpy()
        for axis in range(3):
            found = ndimage.correlate1d(found, weights, axis=axis + 2, mode=mode)
        return torch.from_numpy(found)

    at = np.arange(-4, 5) / 1.3
    weights = np.exp(-0.5 * at**2) / np.exp(-0.5 * at**2).sum()
    close = {"rtol": 0, "atol": 1e-6 if kind == torch.float32 else 1e-14, "check_dtype": False}
    torch.testing.assert_close(
        gaussian(field.to(kind), 1.3), along_every_axis(weights, "nearest"), **close
    )
    torch.testing.assert_close(
        box(field.to(kind), 5), along_every_axis(np.full(5, 0.2), "constant"), **close
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [*FIELD_SIZES, (1, 4, 1)])
@pytest.mark.parametrize("name", AVERAGES)
def test_the_gradient_of_an_average_is_its_transpose(name, size, kind):
    field, outer = (field_of(size, knots=2, seed=seed).to(kind).requires_grad_() for seed in (8, 9))
    average = AVERAGES[name](field)
    (transposed,) = torch.autograd.grad(average, field, outer)
    forward, back = (
        (a.double() * b.double()).sum().item() for a, b in ((average, outer), (field, transposed))
    )
    assert forward - back == pytest.approx(0, abs=2e-5 if kind == torch.float32 else 1e-12)


PENALTIES = {
    "gradient": gradient_magnitude,
    "gradient-of-millimetres": lambda field: gradient_magnitude(field, SPACING),
    "barrier": lambda field: jacobian_barrier(field, 0.5),
    "barrier-squared": lambda field: jacobian_barrier(field, 0.8, squared=True),
}


@pytest.mark.parametrize("size", FIELD_SIZES)
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_and_their_gradients_are_those_of_the_formula(name, size):
    field = 0.4 * field_of(size)
    found, exact = (
        value_and_gradient(PENALTIES[name], field.to(kind))
        for kind in (torch.float32, torch.float64)
    )
    assert exact[1].abs().max() > 0
    assert found[0] == pytest.approx(exact[0], rel=2e-6)
    torch.testing.assert_close(
        found[1].double(), exact[1], rtol=0, atol=2e-6 * float(exact[1].abs().max())
    )


def test_a_determinant_that_is_not_a_number_is_seen_by_the_barrier():
    field = torch.zeros(1, 3, 5, 5, 5)
    field[0, 1, 2, 2, 2] = float("nan")
    assert jacobian_barrier(field, 0.5).isnan()


def test_an_axis_of_one_voxel_has_no_slope_and_no_determinant():
    field = field_of((6, 1, 5))
    assert value_and_gradient(gradient_magnitude, field)[0] == pytest.approx(
        value_and_gradient(gradient_magnitude, field.double())[0], rel=2e-6
    )
    assert jacobian_barrier(field, 0.5) == jacobian_barrier(field.double(), 0.5) == 0


@pytest.mark.parametrize("size", [*FIELD_SIZES, (1, 6, 5), (20, 15, 16)])
@pytest.mark.parametrize("scale", [0.05, 0.25, 1.0])
def test_folds_are_where_the_formula_has_them(size, scale):
    field = scale * field_of(size)
    found, exact = (_folds(field.to(kind), size) for kind in (torch.float32, torch.float64))
    assert torch.equal(found, exact)
    assert exact.any() == (scale > 0.05)


@pytest.mark.parametrize("reach", [0.4, 6.0])
def test_twice_is_composing_with_itself(reach):
    field, outer = reach * field_of((11, 8, 14)), field_of((11, 8, 14), seed=8)

    def found(function, kind):
        moved = field.to(kind).requires_grad_()
        out = function(moved)
        return out, *torch.autograd.grad(out, moved, outer.to(kind))

    exact = found(lambda moved: compose(moved, moved), torch.float64)
    for a, b in zip(found(twice, torch.float32), exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-4)


def test_threads_change_nothing():
    fixed, moving, mask = images((19, 17, 15), 4)
    field, results = field_of((19, 17, 15)), []
    of_fields = [
        *PENALTIES.values(),
        *(lambda moved, f=f: f(moved).square().mean() for f in (*AVERAGES.values(), twice)),
    ]
    for threads in (1, 2):
        with on_threads(threads):
            losses = [value_and_gradient(make(fixed, mask), moving) for make in LOSSES.values()]
            losses += [value_and_gradient(function, field) for function in of_fields]
            results.append(
                [*losses, moved(pull_back_resized, *resized_case((6, 7, 5), fixed.shape[2:], 3.0))]
            )
    for (value, gradient), (again, same) in zip(*results, strict=True):
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(again))
        assert torch.equal(gradient, same)


def test_kernels_serve_volumes_in_float32_only():
    volume = torch.zeros(1, 3, 4, 4, 4)
    assert serves(volume)
    assert not serves(volume, volume.double())
    assert not serves(volume[:, :, 0])
    assert not serves(volume.expand(2, -1, -1, -1, -1))
