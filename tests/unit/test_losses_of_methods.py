"""What trained methods minimise: each term of a network whose output is known, worked out by
hand.
"""

import pytest
import torch

from diffeode.geometry.warp import pull_back
from diffeode.learning.trained_method import Views
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.divergence import divergence_from_smooth
from diffeode.methods.transmatch import _channels
from diffeode.registration.registry import make_method

SIZE = (16, 18, 14)


def texture(seed):
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


FIXED = texture(0)
MOVING = torch.roll(FIXED, 2, 2)
"""``MOVING(x + 2)`` is ``FIXED(x)`` along the first axis, but at the border."""


def shift(voxels, axis=0):
    field = torch.zeros(1, 3, *SIZE)
    field[:, axis] = voxels
    return field


def slope(steepness):
    """A displacement whose first component grows along the second axis."""
    field = torch.zeros(1, 3, *SIZE)
    field[:, 0] = steepness * torch.arange(float(SIZE[1])).view(1, -1, 1)
    return field


class Network:
    """Stands for a trained network: gives what it is told, and remembers what it is asked."""

    training = False

    def __init__(self, found):
        self.found, self.asked = found, ()

    def __call__(self, *images):
        self.asked = images
        return self.found


def losses(name, found, fixed=FIXED, moving=MOVING, **parameters):
    network = Network(found)
    terms = make_method(name, parameters).losses(network, Views(fixed, moving))
    return {term: float(value) for term, value in terms.items()}, network


def test_voxelmorph_compares_the_warped_moving_image_with_the_fixed_one():
    right, network = losses("voxelmorph", shift(2.0), window=3)
    assert [image is one for image, one in zip(network.asked, (FIXED, MOVING), strict=True)]
    wrong, _ = losses("voxelmorph", shift(-2.0), window=3)
    assert right["similarity"] < 0.3 < 0.7 < wrong["similarity"]
    still, _ = losses("voxelmorph", shift(0.0), window=5)
    expected = float(local_correlation_to(FIXED, 5)(MOVING))
    assert still == {"similarity": pytest.approx(expected), "gradient": 0}


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_voxelmorph_penalises_the_mean_over_axes_of_the_squared_gradient(weight):
    """One of nine derivatives is 0.3, so that their mean square is 0.01."""
    found, _ = losses("voxelmorph", slope(0.3), weight_gradient=weight)
    assert found["gradient"] == pytest.approx(weight * 0.01, rel=1e-4)


def test_symnet_meets_in_the_middle_and_at_both_ends():
    """Half of the shift brings each image to the middle."""
    found, network = losses("symnet", (shift(1.0), shift(-1.0)), window=3)
    first, second = network.asked
    assert first is MOVING
    assert second is FIXED
    half_way = pull_back(FIXED, shift(-1.0)), pull_back(MOVING, shift(1.0))
    expected = float(local_correlation_to(half_way[0], 3)(half_way[1]))
    assert found["middle"] == pytest.approx(expected, rel=1e-4)
    wrong, _ = losses("symnet", (shift(-1.0), shift(1.0)), window=3)
    assert found["middle"] < 0.3 < 0.7 < wrong["middle"]
    assert found["ends"] < 0.7 < 1.5 < wrong["ends"]
    assert (found["magnitude"], found["folds"], found["gradient"]) == (0, 0, 0)


def test_symnets_halves_are_to_be_of_one_size():
    """The mean absolute component is 2 / 3 in one half and 1 / 3 in the other."""
    found, _ = losses("symnet", (shift(2.0), shift(-1.0)), weight_magnitude=0.6)
    assert found["magnitude"] == pytest.approx(0.6 * (2 - 1) / 3, rel=1e-4)


def test_symnet_penalises_the_gradients_of_both_velocities():
    found, _ = losses("symnet", (slope(0.3), slope(0.6)), weight_gradient=3.0)
    assert found["gradient"] == pytest.approx(3 * (0.3**2 + 0.6**2) / 9, rel=1e-4)


def test_symnet_forgives_a_map_that_shrinks_without_a_fold():
    """The determinant of the whole map is exp(-2 / 2) = 0.37 inside."""
    velocity = torch.zeros(1, 3, *SIZE)
    velocity[:, 0] = -0.5 * (torch.arange(float(SIZE[0])) - 7.5).view(-1, 1, 1)
    found, _ = losses("symnet", (velocity, -velocity))
    assert found["folds"] == 0


def test_symnets_maps_lead_from_end_to_end_and_back():
    method = make_method("symnet", {})
    maps = method.maps(Network((shift(1.5), shift(-0.5))), FIXED, MOVING)
    inner = (..., slice(4, -4), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(maps.forward[inner], shift(2.0)[inner])
    torch.testing.assert_close(maps.inverse[inner], shift(-2.0)[inner])


def test_dif_voxelmorph_weighs_the_correlation_and_adds_the_divergence():
    """Its velocity lies on a grid of half the size, where a voxel is two wide."""
    half = tuple(n // 2 for n in SIZE)
    velocity = torch.zeros(1, 3, *half)
    velocity[:, 0] = 1.0
    variance = torch.full_like(velocity, -3.0)
    found, network = losses("dif-voxelmorph", (velocity, variance), window=3, prior=4.0)
    assert [image is one for image, one in zip(network.asked, (FIXED, MOVING), strict=True)]
    assert found["similarity"] < 30
    expected = float(divergence_from_smooth(velocity, variance, 4.0))
    assert found["divergence"] == pytest.approx(expected)
    still = (0 * velocity, variance)
    lighter, _ = losses("dif-voxelmorph", still, window=3, weight_similarity=7.0)
    alone = float(local_correlation_to(FIXED, 3)(MOVING))
    assert lighter["similarity"] == pytest.approx(7 * alone, rel=1e-4)


def test_dif_voxelmorphs_samples_spread_by_the_deviation(monkeypatch):
    """In training the velocity is drawn around its mean; here the logarithm of the variance is that
    of 0.09, so that the deviation is 0.3.
    """
    method, drawn = make_method("dif-voxelmorph", {}), []
    half = tuple(n // 2 for n in SIZE)
    network = Network((torch.ones(1, 3, *half), torch.full((1, 3, *half), 0.09).log()))
    network.training = True

    def flow(self, velocity, image):
        drawn.append(velocity)
        return shift(0.0)

    monkeypatch.setattr(type(method), "_flow", flow)
    method.losses(network, Views(FIXED, MOVING))
    (velocity,) = drawn
    assert float(velocity.mean()) == pytest.approx(1, abs=0.03)
    assert float(velocity.std()) == pytest.approx(0.3, abs=0.03)


def test_transmatch_compares_the_labels_that_both_images_have():
    fixed = torch.tensor([0, 0, 5, 5, 7, 7, 9, 9.0]).view(1, 1, 2, 2, 2)
    moving = torch.tensor([0, 5, 5, 5, 7, 3, 3, 3.0]).view(1, 1, 2, 2, 2)
    here, there = _channels(fixed, moving)
    for labels, channels in ((fixed, here), (moving, there)):
        assert channels.shape == (1, 3, 2, 2, 2)
        for channel, label in enumerate((0, 5, 7)):
            assert torch.equal(channels[0, channel] == 1, labels[0, 0] == label)


def test_transmatch_warps_the_moving_labels_onto_the_fixed_ones():
    labels = (FIXED > 0.5).float() + (FIXED > 0.8).float()
    views = Views(FIXED, MOVING, labels, torch.roll(labels, 2, 2))
    method = make_method("transmatch", {"weight_gradient": 0.7})
    network = Network(shift(2.0))
    found = method.losses(network, views)
    assert [image is one for image, one in zip(network.asked, (FIXED, MOVING), strict=True)]
    wrong = method.losses(Network(shift(-2.0)), views)
    assert found["overlap"] < 0.25 < 0.45 < wrong["overlap"]
    steep = method.losses(Network(slope(0.3)), views)
    assert float(steep["gradient"]) == pytest.approx(0.7 * 0.01, rel=1e-4)
