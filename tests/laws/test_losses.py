"""Similarities and regularisers against their definitions."""

import itertools

import numpy as np
import pytest
import torch

from diffeode.descriptors.mind import mind, mind_ssc, patch_distances
from diffeode.geometry.warp import voxel_centres
from diffeode.losses.correlation import local_correlation_to, window_mean
from diffeode.losses.regularisers import (
    bending_energy,
    gradient_magnitude,
    jacobian_barrier,
    jacobian_determinant,
    magnitude,
)

DOUBLE = torch.float64


def mind_by_loops(image: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """Compute MIND-SSC by its definition, in loops over voxels, pairs of neighbours and positions
    in the patch.
    """
    size = np.array(image.shape)
    unit = np.eye(len(size), dtype=int)
    neighbours = [*unit, *-unit]
    pairs = [(a, b) for a, b in itertools.combinations(neighbours, 2) if ((a - b) ** 2).sum() == 2]
    patch = [np.array(p) for p in itertools.product(range(-radius, radius + 1), repeat=len(size))]

    def value(at):
        return image[tuple(np.clip(at, 0, size - 1))]

    distances = np.zeros((len(pairs), *size))
    for k, (a, b) in enumerate(pairs):
        for x in np.ndindex(*size):
            distances[(k, *x)] = np.mean(
                [(value(x + p + dilation * a) - value(x + p + dilation * b)) ** 2 for p in patch]
            )
    distances -= distances.min(0)
    return np.exp(-distances / bounded(distances.mean(0)))


def bounded(variance: np.ndarray) -> np.ndarray:
    return np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean())


def plain_mind_by_loops(image: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """Compute MIND by its definition; along each axis the neighbour in negative direction comes
    first.
    """
    size = np.array(image.shape)
    neighbours = [sign * unit for unit in np.eye(len(size), dtype=int) for sign in (-1, 1)]
    patch = [np.array(p) for p in itertools.product(range(-radius, radius + 1), repeat=len(size))]

    def value(at):
        return image[tuple(np.clip(at, 0, size - 1))]

    distances = np.zeros((len(neighbours), *size))
    for k, neighbour in enumerate(neighbours):
        for x in np.ndindex(*size):
            distances[(k, *x)] = np.mean(
                [(value(x + p) - value(x + p + dilation * neighbour)) ** 2 for p in patch]
            )
    return np.exp(-(distances - distances.min(0)) / bounded(distances.mean(0)))


@pytest.mark.parametrize(
    ("size", "radius", "dilation"), [((6, 5, 4), 1, 2), ((4, 5, 5), 0, 1), ((7, 6), 2, 1)]
)
def test_plain_mind_is_its_definition(size, radius, dilation):
    image = np.random.default_rng(0).random(size)
    found = mind(torch.from_numpy(image)[None, None], radius, dilation)[0].numpy()
    np.testing.assert_allclose(found, plain_mind_by_loops(image, radius, dilation), atol=1e-10)


@pytest.mark.parametrize(
    ("size", "radius", "dilation"), [((6, 5, 4), 1, 2), ((4, 5, 5), 2, 1), ((7, 6), 1, 2)]
)
def test_mind_ssc_is_its_definition(size, radius, dilation):
    image = np.random.default_rng(0).random(size)
    found = mind_ssc(torch.from_numpy(image)[None, None], radius, dilation)[0].numpy()
    expected = mind_by_loops(image, radius, dilation)
    assert found.shape == expected.shape
    for channel in expected:
        assert min(np.abs(channel - other).max() for other in found) < 1e-10
    for channel in found:
        assert min(np.abs(channel - other).max() for other in expected) < 1e-10


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.2), (-1.0, 1.0), (-0.5, 7.0)])
@pytest.mark.parametrize("descriptor", [mind_ssc, mind])
def test_mind_is_blind_to_affine_intensity_changes_and_inversion(descriptor, gain, offset):
    image = torch.rand(1, 1, 9, 8, 7, dtype=DOUBLE)
    assert torch.allclose(descriptor(image), descriptor(gain * image + offset), atol=1e-9)


def test_mind_ssc_follows_the_axes():
    """Swapping or flipping axes permutes channels and voxels and changes nothing else."""
    image = torch.rand(1, 1, 8, 7, 6, dtype=DOUBLE)
    for change in (lambda t: t.transpose(2, 4), lambda t: t.flip(3)):
        a, b = mind_ssc(change(image)), change(mind_ssc(image))
        assert torch.allclose(a.sort(dim=1).values, b.sort(dim=1).values, atol=1e-12)


@pytest.mark.parametrize("descriptor", [mind_ssc, mind])
def test_mind_of_a_constant_image_is_finite(descriptor):
    assert torch.isfinite(descriptor(torch.full((1, 1, 6, 6, 6), 0.3))).all()


def test_mind_ssc_gradient_against_finite_differences():
    image = torch.rand(1, 1, 4, 4, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i: patch_distances(i, 1, 1), image)


@pytest.mark.parametrize("squared", [True, False])
def test_local_correlation_of_one_window_is_one_minus_numpys(squared):
    """The loss of the middle window alone is the textbook's correlation; next to contrasts of 100
    the shared texture is nothing.
    """
    fixed, noise = (100 * torch.rand(2, 1, 1, 9, 9, 9, dtype=DOUBLE)).unbind()
    moving = fixed + noise
    window = (0, 0, *[slice(2, 7)] * 3)
    expected = np.corrcoef(fixed[window].numpy().ravel(), moving[window].numpy().ravel())[0, 1]
    middle = torch.zeros_like(fixed)
    middle[0, 0, 4, 4, 4] = 1
    found = float(local_correlation_to(fixed, 5, squared, middle)(moving))
    assert 0.1 < expected < 0.9
    assert found == pytest.approx(1 - (expected**2 if squared else expected), abs=1e-6)


def test_means_of_windows_are_exact_in_single_precision():
    """Variances below a millionth differ from 0, so the means must not have the rounding errors of
    long sums.
    """
    image = torch.rand(1, 1, 150, 9, 140, generator=torch.Generator().manual_seed(3))
    image[:, :, 40:, :, 30:90] = 0
    assert (window_mean(image, 7) - window_mean(image.double(), 7)).abs().max() < 3e-7


def ncc_by_loops(
    fixed: np.ndarray, moving: np.ndarray, window: int, power: int, mask: np.ndarray
) -> float:
    """Return the correlation in the part of every window that lies in the image, with the shared
    texture added.
    """
    total, texture = 0.0, 1e-4
    for x in np.ndindex(*fixed.shape):
        around = tuple(slice(max(0, i - window // 2), i + window // 2 + 1) for i in x)
        (variance_f, cross), (_, variance_m) = np.cov(
            fixed[around].ravel(), moving[around].ravel(), bias=True
        )
        cross = abs(cross) if power == 2 else cross
        total += (
            mask[x]
            * ((cross + texture) / np.sqrt((variance_f + texture) * (variance_m + texture)))
            ** power
        )
    return 1 - total / mask.sum()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("size", [(6, 7, 5), (8, 7)])
def test_local_correlation_is_its_definition_under_a_mask(size, squared):
    rng = np.random.default_rng(2)
    fixed, moving, mask = rng.random((3, *size))
    mask[mask < 0.3] = 0
    tensors = [torch.from_numpy(a)[None, None] for a in (fixed, moving, mask)]
    found = float(local_correlation_to(tensors[0], 3, squared, tensors[2])(tensors[1]))
    assert found == pytest.approx(
        ncc_by_loops(fixed, moving, 3, 2 if squared else 1, mask), abs=1e-9
    )


def test_unsquared_ncc_tells_a_contrast_from_its_inverse():
    image = torch.rand(1, 1, 9, 9, 9, dtype=DOUBLE)
    assert float(local_correlation_to(image, 5, squared=False)(2 * image)) == pytest.approx(
        0, abs=1e-3
    )
    assert float(local_correlation_to(image, 5, squared=False)(1 - image)) == pytest.approx(
        2, abs=5e-3
    )


@pytest.mark.parametrize("gain", [1.0, -2.0])
def test_local_correlation_of_linearly_related_images_is_nearly_zero(gain):
    fixed = torch.rand(1, 1, 15, 15, 15)
    assert float(local_correlation_to(fixed, 5)(0.5 + gain * fixed)) < 1e-3


@pytest.mark.parametrize("squared", [True, False])
def test_no_image_correlates_better_with_an_image_than_itself(squared):
    image = torch.rand(1, 1, 12, 12, 12, dtype=DOUBLE)
    image[..., 6:] *= 1e-3
    image = image.requires_grad_()
    value = local_correlation_to(image.detach(), 5, squared)(image)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(value, image)[0].abs().max() < 1e-12


def test_a_flat_window_has_nothing_in_common_with_texture():
    flat = torch.zeros(1, 1, 12, 12, 12)
    assert float(local_correlation_to(flat, 5)(torch.rand(1, 1, 12, 12, 12))) == pytest.approx(
        1.0, abs=2e-3
    )


def test_determinant_of_a_linear_map_is_exact():
    matrix = torch.tensor([[0.2, 0.1, 0.0], [-0.3, 0.05, 0.2], [0.1, 0.0, -0.4]], dtype=DOUBLE)
    displacement = torch.einsum("ij,bjxyz->bixyz", matrix, voxel_centres((5, 6, 4), matrix))
    assert torch.allclose(
        jacobian_determinant(displacement), torch.linalg.det(torch.eye(3) + matrix)
    )
    plane = torch.einsum("ij,bjxy->bixy", matrix[:2, :2], voxel_centres((5, 6), matrix))
    assert torch.allclose(
        jacobian_determinant(plane), torch.linalg.det(torch.eye(2) + matrix[:2, :2])
    )


def test_barrier_counts_what_falls_short():
    """Uniform scaling by 1/2 has |J| = 1/8 everywhere."""
    displacement = -0.5 * voxel_centres((5, 6, 4), torch.zeros(1, dtype=DOUBLE))
    assert float(jacobian_barrier(displacement, 0.5)) == pytest.approx(0.375)
    assert float(jacobian_barrier(displacement, 0.5, squared=True)) == pytest.approx(0.375**2)
    assert float(jacobian_barrier(displacement, 0.1)) == 0


def test_gradient_magnitude_of_a_linear_map_is_the_norm_of_its_matrix():
    matrix = torch.tensor([[0.2, 0.1, 0.0], [-0.3, 0.05, 0.2], [0.1, 0.0, -0.4]], dtype=DOUBLE)
    displacement = torch.einsum("ij,bjxyz->bixyz", matrix, voxel_centres((5, 6, 4), matrix))
    assert float(gradient_magnitude(displacement)) == pytest.approx(float((matrix**2).sum()) / 3)


def test_gradient_magnitude_does_not_depend_on_the_voxels():
    """The same map in millimetres on two grids of different, anisotropic spacing."""
    slope = 0.1

    def shear(size, spacing):
        centres = voxel_centres(size, torch.zeros(1, dtype=DOUBLE))
        displacement = torch.zeros_like(centres)
        displacement[:, 0] = slope * centres[:, 2] * spacing[2] / spacing[0]
        return gradient_magnitude(displacement, spacing)

    assert float(shear((6, 6, 6), (1.0, 1.0, 1.0))) == pytest.approx(slope**2 / 3)
    assert float(shear((6, 9, 5), (0.7, 2.0, 5.0))) == pytest.approx(slope**2 / 3)


def test_magnitude_is_the_mean_squared_length():
    velocity = torch.zeros(1, 3, 2, 2, 2)
    velocity[:, 1] = 3.0
    assert float(magnitude(velocity)) == 9.0


def field_of(function, size, spacing) -> torch.Tensor:
    """Return the displacement in voxels of a ``function`` from positions ``(d, *size)`` in mm to
    vectors in mm.
    """
    lengths = torch.tensor(spacing, dtype=DOUBLE).view(-1, *[1] * len(size))
    return (function(voxel_centres(size, lengths)[0] * lengths) / lengths)[None]


@pytest.mark.parametrize("size", [(5, 6, 4), (5, 6)])
def test_affine_displacements_do_not_bend(size):
    matrix = torch.rand(len(size), len(size), dtype=DOUBLE)
    spacing = (0.8, 1.0, 2.5)[: len(size)]
    affine = field_of(lambda x: torch.einsum("ij,j...->i...", matrix, x) + 3, size, spacing)
    assert float(bending_energy(affine, spacing)) < 1e-24


def test_the_bending_energy_of_a_quadratic_is_that_of_its_second_derivatives():
    """``u = (a x^2 + b x y, c y z, 0)`` mm has ``(2a)^2 + 2 b^2 + 2 c^2`` on any grid."""
    a, b, c = 0.03, 0.05, -0.02

    def quadratic(x):
        return torch.stack([a * x[0] ** 2 + b * x[0] * x[1], c * x[1] * x[2], 0 * x[0]])

    for spacing in ((1.0, 1.0, 1.0), (0.7, 2.0, 5.0)):
        found = float(bending_energy(field_of(quadratic, (5, 6, 4), spacing), spacing))
        assert found == pytest.approx(4 * a**2 + 2 * b**2 + 2 * c**2)


def test_axes_too_short_to_bend_add_nothing():
    """Two voxels along an axis have no second difference, one voxel none at all."""
    field = torch.rand(1, 3, 2, 1, 2, dtype=DOUBLE)
    twist = field[..., 1, 0, 1] - field[..., 1, 0, 0] - field[..., 0, 0, 1] + field[..., 0, 0, 0]
    assert float(bending_energy(field)) == pytest.approx(2 * float(twist.square().sum()))
    assert float(bending_energy(field[..., :1])) == 0
    row = torch.rand(1, 3, 3, 1, 1, dtype=DOUBLE)
    bend = row[..., 0, 0, 0] - 2 * row[..., 1, 0, 0] + row[..., 2, 0, 0]
    assert float(bending_energy(row)) == pytest.approx(float(bend.square().sum()))


def squares_by_loops(displacement: np.ndarray, weight: np.ndarray, spacing) -> tuple[float, float]:
    """Gradient magnitude and bending energy by loops over voxels, components in mm."""
    d = len(spacing)
    size = weight.shape
    units = np.eye(d, dtype=int)
    u = displacement * np.reshape(spacing, (-1, *[1] * d))

    def mean(stencil, scale, reach):
        """Return the mean of the weighted squares of ``sum c u(x + o) / scale`` over all ``x`` with
        ``x .. x + reach`` in the image.
        """
        squares = []
        for x in np.ndindex(*(np.array(size) - reach)):
            at = [(tuple(x + np.array(o)), c) for o, c in stencil]
            cells = (
                [tuple(x + np.array(o)) for o, c in stencil if c != -2]
                if max(reach) < 2
                else [at[1][0]]
            )
            value = sum(c * u[(slice(None), *o)] for o, c in at) / scale
            squares.append(np.mean([weight[o] for o in cells]) * (value**2).sum())
        return np.mean(squares)

    gradient = (
        sum(mean([(0 * e, -1), (e, 1)], s, e) for e, s in zip(units, spacing, strict=True)) / d
    )
    bending = 0.0
    for i, j in itertools.product(range(d), repeat=2):
        e, f = units[i], units[j]
        stencil = (
            [(0 * e, 1), (e, -2), (2 * e, 1)]
            if i == j
            else [(0 * e, 1), (e, -1), (f, -1), (e + f, 1)]
        )
        bending += mean(stencil, spacing[i] * spacing[j], e + f)
    return gradient, bending


@pytest.mark.parametrize("size", [(4, 5, 3), (5, 4)])
def test_a_weight_map_multiplies_the_squares_where_they_are(size):
    rng = np.random.default_rng(3)
    displacement, weight = rng.random((len(size), *size)), 3 * rng.random(size)
    spacing = (0.7, 1.0, 2.0)[: len(size)]
    field, weights = torch.from_numpy(displacement)[None], torch.from_numpy(weight)[None, None]
    gradient, bending = squares_by_loops(displacement, weight, spacing)
    assert float(gradient_magnitude(field, spacing, weights)) == pytest.approx(gradient)
    assert float(bending_energy(field, spacing, weights)) == pytest.approx(bending)
    ones = torch.ones_like(weights)
    assert float(bending_energy(field, spacing, ones)) == pytest.approx(
        float(bending_energy(field, spacing))
    )
