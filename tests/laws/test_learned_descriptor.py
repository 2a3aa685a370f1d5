"""The learned descriptor, the contrasts and the loss of its training against written-out
definitions, and the registry of all descriptors.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from ours import levels, neural_ode
from torch import nn

from diffeode.descriptors.gradient import gradient_orientation
from diffeode.descriptors.learned import ARCHITECTURE, VERSION, LearnedDescriptor, make, tokens
from diffeode.descriptors.network import FeatureNetwork
from diffeode.descriptors.registry import descriptor_content, descriptor_names, make_descriptor
from diffeode.errors import DamagedFileError, InputError
from diffeode.learning.descriptor.contrastive import alignment, info_nce, retrieval, uniformity
from diffeode.learning.descriptor.contrasts import bezier, increasing_control, shifted, synthetic
from diffeode.losses.similarity import Warped, descriptor_similarity
from diffeode.methods.neural_ode import NeuralODE
from diffeode.weights.checkpoint import About, write_checkpoint

SMALL = {"width": 2, "features": 3}


def descriptor(seed=0) -> LearnedDescriptor:
    torch.manual_seed(seed)
    return LearnedDescriptor(FeatureNetwork(**SMALL)).eval().requires_grad_(False)


def written(path, seed=0, **changes) -> str:
    network = descriptor(seed)
    about = {
        "architecture": ARCHITECTURE,
        "version": VERSION,
        "configuration": {"network": SMALL},
        **changes,
    }
    write_checkpoint(path, network.state_dict(), About(**about))
    return str(path)


def volume(size=(11, 9, 10), seed=1, **kind):
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(seed), **kind)


# ------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("size", [(16, 16, 16), (11, 9, 13), (7, 5, 3), (1, 2, 17)])
def test_any_size_keeps_its_size_and_tokens_have_length_one(size):
    found = descriptor()(volume(size))
    assert found.shape == (1, 24, *size)
    assert found.square().sum(1).sqrt() == pytest.approx(1, abs=1e-5)


def test_tokens_are_self_similarity_of_features_voxel_by_voxel():
    features = torch.randn(
        1, 3, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    found = tokens(features)[0]
    expected = np.stack(
        [token_at(features[0].numpy(), place) for place in np.ndindex(3, 4, 3)], axis=1
    )
    # the order of channels is the descriptor's own, the same at every voxel: compared sorted,
    # dilation by dilation
    order = np.sort
    for half in (slice(0, 12), slice(12, 24)):
        mine = order(found[half].reshape(12, -1).numpy(), axis=0)
        assert mine == pytest.approx(order(expected[half], axis=0), abs=1e-12)


def token_at(features, place):
    """Return the 24 numbers of the definition: 12 pairs of neighbours at distance 1 and at distance
    2; border values continue.
    """
    spread = {
        d: [pair_distances(features, x, d) for x in np.ndindex(features.shape[1:])] for d in (1, 2)
    }
    index = np.ravel_multi_index(place, features.shape[1:])
    parts = []
    for d in (1, 2):
        lowered = [np.array(row) - min(row) for row in spread[d]]
        typical = np.mean([row.mean() for row in lowered])
        variance = np.clip(lowered[index].mean(), 1e-3 * typical, 1e3 * typical)
        parts.append(np.exp(-lowered[index] / variance))
    both = np.concatenate(parts)
    return both / np.linalg.norm(both)


def pair_distances(features, place, dilation):
    neighbours = [
        sign * dilation * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (-1, 1)
    ]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(neighbours, 2)
        if ((a - b) ** 2).sum() == 2 * dilation**2
    ]
    limits = np.array(features.shape[1:]) - 1

    def at(offset):
        return features[(slice(None), *np.clip(np.array(place) + offset, 0, limits))]

    return [((at(a) - at(b)) ** 2).sum() for a, b in pairs]


def test_moving_the_image_by_a_multiple_of_eight_moves_the_tokens():
    image = torch.zeros(1, 1, 152, 16, 16, dtype=torch.float64)
    image[..., 64:80, 4:12, 4:12] = volume(
        (16, 8, 8)
    )  # the border is farther than the network sees
    moved = torch.roll(image, 8, dims=2)
    network = descriptor().double()
    assert network(moved)[:, :, 72:88] == pytest.approx(network(image)[:, :, 64:80], abs=1e-9)


def test_a_constant_image_is_alike_everywhere():
    found = descriptor()(torch.full((1, 1, 12, 12, 12), 0.4))
    assert found == pytest.approx(1 / math.sqrt(24), abs=1e-6)


def test_the_gradient_made_again_is_the_gradient_kept():
    network, image = descriptor().double(), volume(dtype=torch.float64)
    weights = volume((24, 11, 9), 5, dtype=torch.float64)[0, :, :, :, :, None]
    gradients = []
    for compute in (network, lambda x: tokens(network.network(x))):
        x = image.clone().requires_grad_()
        (compute(x) * weights).sum().backward()
        gradients.append(x.grad)
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)


def test_a_plane_is_seen_as_a_slab_that_is_the_same_all_along():
    plane = torch.rand(1, 1, 21, 18, generator=torch.Generator().manual_seed(4))
    slab = plane[..., None].expand(-1, -1, -1, -1, 16)
    found = descriptor()(plane)
    assert found.shape == (1, 24, 21, 18)
    assert found == pytest.approx(descriptor()(slab)[..., 7], abs=1e-5)


def test_images_of_one_axis_are_refused():
    with pytest.raises(InputError, match="sees planes"):
        descriptor()(torch.rand(1, 1, 8))


# ---------------------------------------------------------------------------------------- contrasts


def test_a_bezier_curve_against_its_casteljau_construction():
    control, t = np.array([0, 0.1, 0.15, 0.7, 1]), 0.37
    points = control
    while len(points) > 1:
        points = (1 - t) * points[:-1] + t * points[1:]
    assert bezier(np.array([t]), control) == pytest.approx(points, abs=1e-14)


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_intensity_maps_are_monotone_and_keep_the_ends(count):
    for seed in range(20):
        control = increasing_control(count, np.random.default_rng(seed))
        values = bezier(np.linspace(0, 1, 200), control)
        assert len(control) == count
        assert (np.diff(values) > 0).all()
        assert values[[0, -1]] == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize(("inversion", "sign"), [(0, 1), (1, -1)])
def test_shifts_keep_or_turn_the_order_and_the_background(inversion, sign):
    generator = np.random.default_rng(0)
    image = np.where(generator.random((9, 9, 9)) < 0.5, 0, generator.random((9, 9, 9)))
    found = shifted(image, 5, inversion, generator)
    assert np.array_equal(found > 0, image > 0)
    order = np.argsort(image[image > 0])
    assert (sign * np.diff(found[image > 0][order]) >= 0).all()


def test_synthetic_contrasts_follow_the_labels_and_differ():
    generator = np.random.default_rng(0)
    labels = np.zeros((20, 20, 20), int)
    labels[4:10, 4:16, 4:16], labels[10:16, 4:16, 4:16] = 3, 8
    first, second = (synthetic(labels, np.full(labels.shape, 0.5), generator) for _ in range(2))
    for image in (first, second):
        assert np.array_equal(image > 0, labels > 0)
        assert image.max() <= 1
    assert not np.allclose(first, second)


# ----------------------------------------------------------------------------------------- the loss


def test_info_nce_by_hand():
    a = torch.tensor([[1.0, 0], [0, 2.0]], dtype=torch.float64)
    b = torch.tensor([[3.0, 0], [1.0, 1.0]], dtype=torch.float64)
    root = 1 / math.sqrt(2)
    rows = [(1, (1, root)), (root, (0, root))]
    columns = [(1, (1, 0)), (root, (root, root))]

    def loss(own, others):
        return -math.log(math.exp(own / 0.05) / sum(math.exp(c / 0.05) for c in others))

    expected = np.mean([[loss(*pair) for pair in side] for side in (rows, columns)])
    assert info_nce(a, b, 0.05).item() == pytest.approx(expected, abs=1e-12)
    assert info_nce(a, b, 0.05).item() == pytest.approx(info_nce(b, a, 0.05).item(), abs=1e-12)


def test_alignment_and_uniformity_by_hand():
    a = torch.tensor([[2.0, 0], [0, 1]])
    assert alignment(a, a.flip(0)).item() == pytest.approx(2)
    assert alignment(a, 5 * a).item() == pytest.approx(0)
    assert uniformity(a).item() == pytest.approx(-4)
    assert uniformity(torch.ones(3, 2)).item() == pytest.approx(0)


def test_retrieval_counts_the_nearest_and_shares_ties():
    a = torch.tensor([[0.0], [1], [2], [3]])
    assert retrieval(a, a) == 1
    assert retrieval(a, torch.tensor([[0.0], [1], [3], [2]])) == 0.5
    assert retrieval(a, torch.zeros(4, 1)) == 0.25


# ----------------------------------------------------------------------------------------- one door


@pytest.mark.parametrize("name", sorted(set(descriptor_names()) - {"learned"}))
def test_every_descriptor_keeps_the_size(name):
    assert make_descriptor(name)(volume()).shape[2:] == (11, 9, 10)


def test_weights_on_disk_are_the_network_that_was_written(tmp_path):
    path = written(tmp_path / "w.safetensors")
    assert torch.equal(make_descriptor("learned", path)(volume()), descriptor()(volume()))
    assert not any(p.requires_grad for p in make(path).parameters())


def test_a_run_is_known_by_the_content_of_its_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    method = neural_ode({"similarity": {"descriptor": {"weights": str(path)}}})
    written(path)
    before = method.reads()
    written(path, seed=1)
    assert method.reads() != before
    written(path, seed=0)
    assert method.reads() == before
    assert NeuralODE().reads() == {}
    assert descriptor_content("mind") != descriptor_content("gradient")


@pytest.mark.parametrize("mode", ["recomputed", "warped"])
def test_a_users_module_goes_through_the_same_door(mode):
    module = nn.Conv3d(1, 2, 3, padding=1)
    fixed, moving = volume(seed=1), volume(seed=2)
    similarity = descriptor_similarity(module, fixed, moving if mode == "warped" else None)
    still = torch.zeros(1, 3, 11, 9, 10, requires_grad=True)
    found = similarity(Warped(moving, still))
    assert found.item() == pytest.approx(
        ((module(fixed) - module(moving)) ** 2).mean().item(), rel=1e-4
    )
    found.backward()
    assert still.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["mind", "gradient", "intensity"])
def test_a_registration_by_a_descriptor_of_its_name(name):
    image = torch.zeros(1, 1, 16, 16, 16)
    image[..., 4:11, 5:11, 5:11] = 1
    moved = torch.roll(image, 1, dims=2)
    method = neural_ode(
        {"similarity": {"descriptor": {"kind": name}}, "penalties.gradient.weight": 0.01},
        levels((1,), (15,)),
    )
    trace = method.velocity_between(image, moved, (1, 1, 1)).trace
    assert trace[-1]["descriptor"] < 0.7 * trace[0]["descriptor"]


def test_orientation_is_blind_to_the_sign_of_contrast():
    image = volume()
    assert gradient_orientation(1 - image) == pytest.approx(gradient_orientation(image), abs=1e-6)


# ---------------------------------------------------------------------------------------- bad input


def test_weights_of_another_kind_are_one_sentence(tmp_path):
    cases = {
        "of voxelmorph version 1, not of": written(
            tmp_path / "a.safetensors", architecture="voxelmorph"
        ),
        "of diffeode-descriptor version 9, not of": written(tmp_path / "b.safetensors", version=9),
        "no descriptor weights 'sinthetic'": "sinthetic",
        "no descriptor weights": str(tmp_path / "absent.safetensors"),
    }
    for message, weights in cases.items():
        with pytest.raises(InputError, match=message) as error:
            make(weights)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="has no weights"):
        make_descriptor("mind", "synthetic")
    with pytest.raises(InputError, match="did you mean 'learned'"):
        neural_ode({"similarity.descriptor.kind": "lerned"})


def test_damaged_weights_are_noticed(tmp_path):
    path = tmp_path / "w.safetensors"
    written(path)
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="checksum"):
        make(str(path))
