"""Similarities and regularisers against their definitions."""

import itertools

import numpy as np
import pytest
import torch

from diffeode.descriptors.mind import mind_ssc, patch_distances
from diffeode.losses.correlation import local_ncc, window_mean
from diffeode.losses.mutual_information import local_mutual_information_to
from diffeode.losses.regularisers import (
    gradient_magnitude,
    jacobian_barrier,
    jacobian_determinant,
    magnitude,
)
from diffeode.warp import voxel_centres

DOUBLE = torch.float64


def local_mutual_information(fixed, moving, patch, bins):
    return local_mutual_information_to(fixed, patch, bins)(moving)


def mind_by_loops(image: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """The definition: a loop over voxels, pairs of neighbours and patch positions."""
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
    variance = distances.mean(0)
    variance = np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean())
    return np.exp(-distances / variance)


@pytest.mark.parametrize(("size", "radius", "dilation"), [((6, 5, 4), 1, 2), ((4, 5, 5), 2, 1), ((7, 6), 1, 2)])
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
def test_mind_ssc_is_blind_to_affine_intensity_changes_and_inversion(gain, offset):
    image = torch.rand(1, 1, 9, 8, 7, dtype=DOUBLE)
    assert torch.allclose(mind_ssc(image), mind_ssc(gain * image + offset), atol=1e-9)


def test_mind_ssc_follows_the_axes():
    """Swapping or flipping axes permutes channels and voxels, nothing else."""
    image = torch.rand(1, 1, 8, 7, 6, dtype=DOUBLE)
    for change in (lambda t: t.transpose(2, 4), lambda t: t.flip(3)):
        a, b = mind_ssc(change(image)), change(mind_ssc(image))
        assert torch.allclose(a.sort(dim=1).values, b.sort(dim=1).values, atol=1e-12)


def test_mind_ssc_of_a_constant_image_is_finite():
    assert torch.isfinite(mind_ssc(torch.full((1, 1, 6, 6, 6), 0.3))).all()


def test_mind_ssc_gradient_against_finite_differences():
    image = torch.rand(1, 1, 4, 4, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i: patch_distances(i, 1, 1), image)


def test_local_ncc_is_one_minus_the_squared_correlation_of_windows():
    fixed, moving = torch.rand(2, 1, 1, 9, 9, 9, dtype=DOUBLE).unbind()
    a, b = fixed[0, 0, 2:7, 2:7, 2:7].numpy(), moving[0, 0, 2:7, 2:7, 2:7].numpy()
    expected = np.corrcoef(a.ravel(), b.ravel())[0, 1] ** 2
    means = [window_mean(t, 5)[0, 0, 4, 4, 4] for t in (fixed, moving, fixed * moving, fixed * fixed, moving * moving)]
    f, m, fm, ff, mm = (float(t) for t in means)
    assert np.isclose((fm - f * m) ** 2 / ((ff - f * f) * (mm - m * m)), expected)


@pytest.mark.parametrize("gain", [1.0, -2.0])
def test_local_ncc_of_linearly_related_images_is_nearly_zero(gain):
    fixed = torch.rand(1, 1, 15, 15, 15)
    assert float(local_ncc(fixed, 0.5 + gain * fixed, 5)) < 1e-3


def test_local_ncc_ignores_flat_regions():
    flat = torch.zeros(1, 1, 12, 12, 12)
    assert float(local_ncc(flat, torch.rand(1, 1, 12, 12, 12), 5)) == pytest.approx(1.0, abs=1e-4)


def histogram_information(a: np.ndarray, b: np.ndarray, bins: int) -> float:
    joint = np.histogram2d(a, b, bins=bins, range=[[-0.5, bins - 0.5]] * 2)[0] / a.size
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def test_local_mutual_information_is_the_histograms_where_bins_do_not_blur():
    """Intensities seven bins apart share no bin under a Gaussian one bin wide."""
    bins, patch, levels = 15, 8, 3
    rng = np.random.default_rng(1)
    a = rng.integers(0, levels, patch**3)
    b = np.where(rng.random(patch**3) < 0.7, a, rng.integers(0, levels, patch**3))
    images = [torch.from_numpy(7 * x.reshape(1, 1, patch, patch, patch) / (bins - 1.0)) for x in (a, b)]
    found = -float(local_mutual_information(*images, patch, bins))
    assert found == pytest.approx(histogram_information(a, b, levels), rel=0.02)


def test_local_mutual_information_is_blind_to_relabelling_and_mean_of_patches():
    image = torch.rand(1, 1, 10, 10, 10, dtype=DOUBLE)
    other = 1 - image
    assert torch.allclose(local_mutual_information(image, image, 5, 8), local_mutual_information(image, other, 5, 8))
    patches = [
        local_mutual_information(
            image[..., i : i + 5, j : j + 5, k : k + 5], other[..., i : i + 5, j : j + 5, k : k + 5], 5, 8
        )
        for i, j, k in itertools.product((0, 5), repeat=3)
    ]
    assert torch.allclose(local_mutual_information(image, other, 5, 8), torch.stack(patches).mean())


def test_local_mutual_information_of_independent_images_is_far_below_that_of_equal_ones():
    a, b = torch.rand(2, 1, 1, 16, 16, 16, dtype=DOUBLE).unbind()
    assert local_mutual_information(a, a, 8, 16) < 5 * local_mutual_information(a, b, 8, 16) < 0


def test_determinant_of_a_linear_map_is_exact():
    matrix = torch.tensor([[0.2, 0.1, 0.0], [-0.3, 0.05, 0.2], [0.1, 0.0, -0.4]], dtype=DOUBLE)
    displacement = torch.einsum("ij,bjxyz->bixyz", matrix, voxel_centres((5, 6, 4), matrix))
    assert torch.allclose(jacobian_determinant(displacement), torch.linalg.det(torch.eye(3) + matrix))
    plane = torch.einsum("ij,bjxy->bixy", matrix[:2, :2], voxel_centres((5, 6), matrix))
    assert torch.allclose(jacobian_determinant(plane), torch.linalg.det(torch.eye(2) + matrix[:2, :2]))


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
