"""Mutual information, global, normalised and local, against its definitions."""

import itertools
import weakref

import numpy as np
import pytest
import torch

from diffeode.losses import mutual_information
from diffeode.losses.mutual_information import local_mutual_information_to, mutual_information_to

DOUBLE = torch.float64


def local_mutual_information(fixed, moving, patch, bins, mask=None):
    return local_mutual_information_to(fixed, patch, bins, mask)(moving)


def entropy(probabilities: np.ndarray) -> float:
    seen = probabilities[probabilities > 0]
    return float(-(seen * np.log(seen)).sum())


def parzen_by_loops(a: np.ndarray, b: np.ndarray, bins: int, weights: np.ndarray) -> np.ndarray:
    """Return the joint histogram in which every voxel is shared among the bins by Gaussians one bin
    wide, with a sum of 1.
    """
    joint = np.zeros((bins, bins))
    centres = np.arange(bins) / (bins - 1)
    for x, y, w in zip(a.ravel(), b.ravel(), weights.ravel(), strict=True):
        kernels = [np.exp(-0.5 * ((v - centres) * (bins - 1)) ** 2) for v in (x, y)]
        joint += w * np.outer(*[k / k.sum() for k in kernels])
    return joint / weights.sum()


@pytest.mark.parametrize("size", [(5, 6, 4), (9, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_global_information_is_its_definition(size, masked):
    a, b, mask = np.random.default_rng(0).random((3, *size))
    mask[mask < 0.3] = 0
    weights = mask if masked else np.ones(size)
    joint = parzen_by_loops(a, b, 7, weights)
    parts, whole = entropy(joint.sum(0)) + entropy(joint.sum(1)), entropy(joint)
    fixed, moving, mask = (torch.from_numpy(t)[None, None] for t in (a, b, weights))
    mask = mask if masked else None
    assert float(mutual_information_to(fixed, 7, mask=mask)(moving)) == pytest.approx(
        whole - parts, abs=1e-7
    )
    assert float(mutual_information_to(fixed, 7, True, mask)(moving)) == pytest.approx(
        -parts / whole, abs=1e-7
    )


def histogram_information(a: np.ndarray, b: np.ndarray, bins: int) -> float:
    joint = np.histogram2d(a, b, bins=bins, range=[[-0.5, bins - 0.5]] * 2)[0] / a.size
    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())


def related_levels(count: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    a = rng.integers(0, levels, count)
    return a, np.where(rng.random(count) < 0.7, a, rng.integers(0, levels, count))


def test_global_information_is_the_histograms_where_bins_do_not_blur():
    """Two intensities fourteen bins apart share no bin when the Gaussian is one bin wide."""
    a, b = related_levels(1000, 3)
    images = [torch.from_numpy(x.reshape(1, 1, 10, 10, 10) / 2.0) for x in (a, b)]
    assert -float(mutual_information_to(images[0], 29)(images[1])) == pytest.approx(
        histogram_information(a, b, 3), 1e-6
    )


def test_masked_information_is_that_of_the_voxels_in_the_mask():
    fixed, moving = torch.rand(2, 1, 1, 6, 5, 7, dtype=DOUBLE).unbind()
    mask = (torch.rand(1, 1, 6, 5, 7) < 0.4).to(DOUBLE)
    inside = mask > 0
    for normalised in (False, True):
        within = mutual_information_to(fixed[inside][None, None], 8, normalised)(
            moving[inside][None, None]
        )
        assert torch.allclose(mutual_information_to(fixed, 8, normalised, mask)(moving), within)


def test_normalised_information_lies_between_independence_and_identity():
    a, b = torch.rand(2, 1, 1, 16, 16, 16, dtype=DOUBLE).unbind()
    two_levels = (a > 0.5).to(DOUBLE)
    assert float(mutual_information_to(a, 8, True)(b)) == pytest.approx(-1, abs=0.01)
    assert (
        -2
        < mutual_information_to(two_levels, 8, True)(two_levels)
        < mutual_information_to(a, 8, True)(a)
        < -1.05
    )


def measures(fixed, mask=None):
    return {
        "global": mutual_information_to(fixed, 6, mask=mask),
        "normalised": mutual_information_to(fixed, 6, True, mask),
        "local": local_mutual_information_to(fixed, 3, 6, mask),
    }


@pytest.mark.parametrize("name", ["global", "normalised", "local"])
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_change_neither_value_nor_gradient(monkeypatch, name, masked):
    fixed, moving, mask = torch.rand(3, 1, 1, 7, 6, 8, dtype=DOUBLE).unbind()
    results = []
    for floats in (10**9, 6 * 50):
        monkeypatch.setattr(mutual_information, "_CHUNK_FLOATS", floats)
        image = moving.clone().requires_grad_()
        value = measures(fixed, mask if masked else None)[name](image)
        results.append((value.detach(), *torch.autograd.grad(value, image)))
    for whole, chunked in zip(*results, strict=True):
        assert torch.allclose(whole, chunked, atol=1e-12)
    assert results[0][1].abs().max() > 0


class Held:
    """A tensor that lives as long as autograd holds on to it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize("name", ["global", "normalised", "local"])
def test_soft_assignments_are_not_kept_for_the_gradient(name):
    """Between value and gradient a loss keeps a few images, not one for each bin."""
    fixed = torch.rand(1, 1, 12, 12, 12)
    loss = {
        "global": mutual_information_to(fixed, 64),
        "normalised": mutual_information_to(fixed, 64, True),
    }
    loss["local"] = local_mutual_information_to(fixed, 12, 64)
    kept = weakref.WeakSet()

    def pack(tensor):
        kept.add(held := Held(tensor))
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        value = loss[name](torch.rand(1, 1, 12, 12, 12, requires_grad=True))
    assert 0 < sum(held.tensor.numel() for held in kept) < 64 * fixed.numel() / 2
    assert value.requires_grad


@pytest.mark.parametrize("patch", [4])
def test_local_information_weighs_patches_by_their_mask(patch):
    fixed, moving = torch.rand(2, 1, 1, 8, 4, 4, dtype=DOUBLE).unbind()
    mask = torch.ones(1, 1, 8, 4, 4, dtype=DOUBLE)
    mask[:, :, 4:] = 0
    mask[:, :, 4] = 1
    first, second = (
        local_mutual_information(fixed[:, :, i : i + 4], moving[:, :, i : i + 4], patch, 8)
        for i in (0, 4)
    )
    expected = (first + 0.25 * second) / 1.25
    assert torch.allclose(local_mutual_information(fixed, moving, patch, 8, mask), expected)


def test_local_mutual_information_is_the_histograms_where_bins_do_not_blur():
    """Two intensities seven bins apart share no bin when the Gaussian is one bin wide."""
    bins, patch, levels = 15, 8, 3
    a, b = related_levels(patch**3, levels)
    images = [
        torch.from_numpy(7 * x.reshape(1, 1, patch, patch, patch) / (bins - 1.0)) for x in (a, b)
    ]
    found = -float(local_mutual_information(*images, patch, bins))
    assert found == pytest.approx(histogram_information(a, b, levels), rel=0.02)


def test_local_mutual_information_is_blind_to_relabelling_and_mean_of_patches():
    image = torch.rand(1, 1, 10, 10, 10, dtype=DOUBLE)
    other = 1 - image
    assert torch.allclose(
        local_mutual_information(image, image, 5, 8), local_mutual_information(image, other, 5, 8)
    )
    patches = [
        local_mutual_information(
            image[..., i : i + 5, j : j + 5, k : k + 5],
            other[..., i : i + 5, j : j + 5, k : k + 5],
            5,
            8,
        )
        for i, j, k in itertools.product((0, 5), repeat=3)
    ]
    assert torch.allclose(local_mutual_information(image, other, 5, 8), torch.stack(patches).mean())


def test_local_mutual_information_of_independent_images_is_far_below_that_of_equal_ones():
    a, b = torch.rand(2, 1, 1, 16, 16, 16, dtype=DOUBLE).unbind()
    assert local_mutual_information(a, a, 8, 16) < 5 * local_mutual_information(a, b, 8, 16) < 0
