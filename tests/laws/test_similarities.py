"""Similarities have exact values, follow masks, warp descriptors or compute them anew, and have
gradients.
"""

import numpy as np
import pytest
import torch

from diffeode.descriptors.mind import mind, mind_ssc
from diffeode.geometry.warp import voxel_centres
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.gradient_fields import normalised_gradient_fields_to
from diffeode.losses.mutual_information import local_mutual_information_to, mutual_information_to
from diffeode.losses.similarity import Warped, descriptor_similarity, mind_similarity, of_image
from diffeode.losses.squared_difference import squared_difference_to

DOUBLE = torch.float64


def at_rest(image: torch.Tensor) -> Warped:
    return Warped(image, image.new_zeros(1, image.dim() - 2, *image.shape[2:]))


def image_of(function, size) -> torch.Tensor:
    return function(voxel_centres(size, torch.zeros((), dtype=DOUBLE))[0])[None, None]


def random_network(seed=0, dimensions=3) -> torch.nn.Module:
    torch.manual_seed(seed)
    convolution = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions]
    return torch.nn.Sequential(
        convolution(1, 4, 3, padding=1), torch.nn.SiLU(), convolution(4, 5, 3, padding=1)
    ).to(DOUBLE)


SIMILARITIES = {
    "ssd": lambda fixed, moving, mask: of_image(squared_difference_to(fixed, mask)),
    "ncc": lambda fixed, moving, mask: of_image(local_correlation_to(fixed, 3, True, mask)),
    "ncc-unsquared": lambda fixed, moving, mask: of_image(
        local_correlation_to(fixed, 3, False, mask)
    ),
    "mi": lambda fixed, moving, mask: of_image(mutual_information_to(fixed, 6, False, mask)),
    "nmi": lambda fixed, moving, mask: of_image(mutual_information_to(fixed, 6, True, mask)),
    "lmi": lambda fixed, moving, mask: of_image(local_mutual_information_to(fixed, 3, 6, mask)),
    "ngf": lambda fixed, moving, mask: of_image(
        normalised_gradient_fields_to(fixed, 1.0, None, mask)
    ),
    "mind-ssc": lambda fixed, moving, mask: mind_similarity(fixed, 1, 2, "ssc", None, mask),
    "mind": lambda fixed, moving, mask: mind_similarity(fixed, 1, 1, "mind", None, mask),
    "mind-ssc-warped": lambda fixed, moving, mask: mind_similarity(
        fixed, 1, 2, "ssc", moving, mask
    ),
    "network": lambda fixed, moving, mask: descriptor_similarity(
        random_network(0, fixed.dim() - 2), fixed, None, mask
    ),
    "network-warped": lambda fixed, moving, mask: descriptor_similarity(
        random_network(0, fixed.dim() - 2), fixed, moving, mask
    ),
}


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("size", [(5, 4, 5), (6, 7)])
def test_gradients_of_the_displacement_against_finite_differences(name, size):
    torch.manual_seed(1)
    fixed, moving, mask = torch.rand(3, 1, 1, *size, dtype=DOUBLE).unbind()
    displacement = 0.2 + 0.3 * torch.rand(1, len(size), *size, dtype=DOUBLE)
    similarity = SIMILARITIES[name](fixed, moving, mask)
    assert torch.autograd.gradcheck(
        lambda u: similarity(Warped(moving, u)),
        displacement.requires_grad_(),
        fast_mode=len(size) == 3,
    )


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_mask_of_ones_changes_nothing_and_only_ratios_of_a_mask_matter(name):
    torch.manual_seed(0)
    fixed, moving, mask = torch.rand(3, 1, 1, 6, 5, 7, dtype=DOUBLE).unbind()
    values = [
        SIMILARITIES[name](fixed, moving, m)(at_rest(moving))
        for m in (None, torch.ones_like(mask), mask, mask / 2)
    ]
    assert torch.allclose(values[0], values[1])
    assert torch.allclose(values[2], values[3])
    assert abs(values[0] - values[2]) > 1e-9


@pytest.mark.parametrize("name", SIMILARITIES)
def test_what_the_mask_leaves_out_does_not_matter(name):
    """Windows and patches reach at most four voxels beyond the mask, so the image is changed only
    farther away.
    """
    torch.manual_seed(0)
    fixed, moving = torch.rand(2, 1, 1, 16, 5, 6, dtype=DOUBLE).unbind()
    mask = torch.zeros(1, 1, 16, 5, 6, dtype=DOUBLE)
    mask[:, :, :6] = 1
    other = moving.clone()
    other[:, :, 11:] = other[:, :, 11:].flip(3)
    a, b = (SIMILARITIES[name](fixed, image, mask)(at_rest(image)) for image in (moving, other))
    assert torch.allclose(a, b, atol=1e-9)


def test_the_squared_difference_is_a_mean_over_the_mask():
    fixed = torch.zeros(1, 1, 2, 2, dtype=DOUBLE)
    moving = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=DOUBLE)
    mask = torch.tensor([[[[1.0, 0.5], [0.0, 0.5]]]], dtype=DOUBLE)
    assert float(squared_difference_to(fixed)(moving)) == 7.5
    assert float(squared_difference_to(fixed, mask)(moving)) == (1 + 2 + 8) / 2


@pytest.mark.parametrize("eta", [1.0, 0.5])
@pytest.mark.parametrize("gain", [1.0, -1.0, 5.0])
def test_gradient_fields_of_ramps_have_the_angle_between_them(eta, gain):
    """A ramp's gradient is its own edge parameter over eta, so ``|n|^2 = 1 / (1 + eta^2)``
    everywhere.
    """
    strength = 1 / (1 + eta**2) ** 2
    size = (5, 6, 4)
    ramp = image_of(lambda x: 0.1 * x[0], size)
    for direction, cosine in (
        ((1, 0, 0), 1.0),
        ((0, 1, 0), 0.0),
        ((1, 1, 0), 0.5**0.5),
        ((-3, 0, 4), -0.6),
    ):
        other = gain * image_of(
            lambda x, d=direction: sum(a * b for a, b in zip(d, x, strict=True)), size
        )
        found = float(normalised_gradient_fields_to(ramp, eta)(other))
        assert found == pytest.approx(1 - strength * cosine**2, abs=1e-6)


def test_gradient_fields_measure_angles_in_millimetres():
    """On voxels of 1 x 2 mm the diagonal of the index is not at 45 degrees."""
    size = (5, 6)
    ramp, diagonal = image_of(lambda x: x[0], size), image_of(lambda x: x[0] + x[1], size)
    found = float(normalised_gradient_fields_to(ramp, 1.0, (1.0, 2.0))(diagonal))
    assert found == pytest.approx(1 - 0.25 * (1 / 1.25))


def test_gradient_fields_are_blind_to_gain_and_inversion():
    fixed, moving = torch.rand(2, 1, 1, 7, 6, 5, dtype=DOUBLE).unbind()
    loss = normalised_gradient_fields_to(fixed, 1.0)
    assert torch.allclose(loss(moving), loss(1 - 3 * moving))
    assert float(loss(torch.full_like(moving, 0.5))) == pytest.approx(1)


@pytest.mark.parametrize(
    "describe", [mind_ssc, mind, random_network()], ids=["ssc", "mind", "network"]
)
def test_warped_descriptors_are_recomputed_ones_under_whole_voxel_shifts(describe):
    fixed, moving = torch.rand(2, 1, 1, 14, 13, 15, dtype=DOUBLE).unbind()
    shift = (
        torch.tensor([2.0, -1.0, 1.0], dtype=DOUBLE)
        .view(1, 3, 1, 1, 1)
        .expand(1, 3, *moving.shape[2:])
    )
    mask = torch.zeros_like(fixed)
    mask[..., 6:-6, 6:-6, 6:-6] = 1
    with torch.no_grad():
        recomputed, warped = (
            descriptor_similarity(describe, fixed, source, mask)(Warped(moving, shift))
            for source in (None, moving)
        )
    assert torch.allclose(recomputed, warped)
    assert float(warped) > 0


def test_descriptors_continue_beyond_the_image():
    channels = torch.ones(1, 3, 4, 4, 4)
    assert torch.equal(
        Warped(channels[:, :1], torch.full((1, 3, 4, 4, 4), 9.0)).pull(channels), channels
    )


def test_a_descriptor_that_changes_the_size_is_refused():
    with pytest.raises(ValueError, match=r"keep the image's size \(6, 6, 6\), not \(4, 4, 4\)"):
        descriptor_similarity(torch.nn.Conv3d(1, 2, 3), torch.rand(1, 1, 6, 6, 6))


def test_the_image_is_warped_once_for_all_similarities():
    moving = torch.rand(1, 1, 5, 5, 5)
    warped = Warped(moving, torch.full((1, 3, 5, 5, 5), 0.5))
    assert warped.image is warped.image
    np.testing.assert_allclose(
        warped.image[0, 0, 0, 0, 0], moving[0, 0, :2, :2, :2].mean(), rtol=1e-6
    )
