"""The networks of the learned baselines have the published numbers of weights, and attention stays
in its windows.
"""

import pytest
import torch

from diffeode.networks.blocks import cut_to, double_size, padded, parameters_of
from diffeode.networks.dinov2 import dinov2
from diffeode.networks.otmorph import Critic, RegistrationNet, TransportNet
from diffeode.networks.symnet import REACH_VOX, SymNet
from diffeode.networks.transmatch import TransMatchNet, _Block, _Merging
from diffeode.networks.voxelmorph import VelocityNet, VoxelMorphNet

PUBLISHED = {
    (SymNet, (7,)): 862_351,
    (SymNet, (8,)): 1_124_448,
    (VoxelMorphNet, ()): 301_411,
    (VelocityNet, ()): 266_374,
    (RegistrationNet, ()): 361_299,
    (TransportNet, (32,)): 12_946_785,
}


@pytest.mark.parametrize(
    ("network", "arguments"), PUBLISHED, ids=lambda part: getattr(part, "__name__", None)
)
def test_as_many_weights_as_published(network, arguments):
    assert parameters_of(network(*arguments)) == PUBLISHED[network, arguments]


def test_the_critic_has_the_published_weights_but_for_its_last_layer():
    of_one_size_only = 512 * 2 * 10 * 10 + 1
    whole = parameters_of(Critic()) - (512 + 1) + of_one_size_only
    assert whole == pytest.approx(96.8e6, abs=0.05e6)


def test_transmatch_has_the_published_weights_with_the_layers_its_authors_never_use():
    def conv(inputs, outputs):
        return 27 * inputs * outputs

    network = TransMatchNet()
    second_encoder = parameters_of(network.encoder)
    full_size = (
        conv(2, 16)
        + 2 * (conv(1, 48) + conv(1, 16))
        + conv(48 + 32, 16)
        + conv(48 + 16, 16)
        + conv(16, 16)
    )
    spare_skips = (
        conv(768 + 384, 384) + conv(384 + 192, 192) + conv(192 + 96, 96) + conv(96 + 96, 48)
    )
    spare_norms = 3 * 2 * (96 + 192 + 384 + 768)
    whole = parameters_of(network) + second_encoder + full_size + spare_skips + spare_norms
    assert whole == pytest.approx(112.35e6, abs=0.005e6)


NETWORKS = {
    "symnet": lambda: SymNet(2),
    "voxelmorph": VoxelMorphNet,
    "registration": RegistrationNet,
    "transmatch": lambda: TransMatchNet(8, (1, 2, 1, 1), (1, 1, 2, 2), (4, 4, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_lie_on_the_images_grid_and_every_weight_learns(name):
    torch.manual_seed(0)
    network, images = NETWORKS[name](), (torch.rand(1, 1, 32, 64, 32), torch.rand(1, 1, 32, 64, 32))
    found = network(*images)
    found = found if isinstance(found, tuple) else (found,)
    assert {tuple(field.shape) for field in found} == {(1, 3, 32, 64, 32)}
    sum((field * torch.randn_like(field)).sum() for field in found).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_symnets_velocities_stay_within_reach():
    network = SymNet(2)
    with torch.no_grad():
        network.heads[0].weight.fill_(1e3)
        velocity, _ = network(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16))
    assert 0.99 * REACH_VOX < velocity.abs().max() <= REACH_VOX


def test_transport_and_critic_take_any_size():
    image = torch.rand(1, 1, 16, 32, 48)
    assert TransportNet(2)(image).shape == image.shape
    assert Critic(2, 2)(image).shape == ()


def test_padding_is_behind_the_end_and_taken_off_again():
    image = torch.rand(1, 2, 17, 32, 5)
    whole = padded(image, 16)
    assert whole.shape == (1, 2, 32, 32, 16)
    assert whole.sum() == pytest.approx(image.sum().item(), rel=1e-6)
    assert torch.equal(cut_to(whole, (17, 32, 5)), image)


def test_doubling_repeats_each_voxel():
    image = torch.rand(1, 1, 2, 3, 2)
    assert torch.equal(double_size(image)[:, :, 1::2, ::2, 1::2], image)
    assert double_size(image).sum() == pytest.approx(8 * image.sum().item(), rel=1e-6)


# ------------------------------------------------------------------------------------------ windows


def reached_from(block, token, size):
    """Return on which tokens the output at ``token`` depends, ``size`` bool."""
    x = torch.rand(1, *size, 4, requires_grad=True)
    block.eval()(x, x)[(0, *token)].sum().backward()
    return x.grad[0].abs().sum(-1) > 1e-9


@pytest.fixture
def seeded():
    torch.manual_seed(0)


@pytest.mark.usefixtures("seeded")
def test_attention_reaches_its_window_and_no_further():
    reached = reached_from(_Block(4, 2, (2, 3, 2), False, 0.0), (2, 3, 1), (4, 6, 4))
    expected = torch.zeros(4, 6, 4, dtype=torch.bool)
    expected[2:4, 3:6, 0:2] = True
    assert torch.equal(reached, expected)


@pytest.mark.usefixtures("seeded")
def test_shifted_windows_lie_across_the_others_and_do_not_wrap_around_the_border():
    block = _Block(4, 2, (2, 2, 2), True, 0.0)
    inner = reached_from(block, (1, 1, 1), (4, 4, 4))
    assert inner[1:3, 1:3, 1:3].all()
    assert inner.sum() == 8
    corner = reached_from(block, (0, 0, 0), (4, 4, 4))
    assert corner.sum() == 1


@pytest.mark.usefixtures("seeded")
def test_windows_of_one_token_along_an_axis_do_not_wrap_around_along_the_others():
    corner = reached_from(_Block(4, 2, (2, 2, 1), True, 0.0), (0, 0, 0), (4, 4, 4))
    assert corner.sum() == 1


def test_what_is_no_dinov2_is_refused_whatever_it_lacks():
    named = ("encoder.layer.0.mlp.fc1.weight", "embeddings.position_embeddings")
    with pytest.raises(ValueError, match="it has not the parameters of a DINOv2"):
        dinov2({name: torch.zeros(1, 5, 64) for name in named})


@pytest.mark.usefixtures("seeded")
def test_sizes_that_are_no_multiple_of_the_window_are_padded():
    x = torch.rand(1, 5, 3, 7, 4)
    assert _Block(4, 2, (2, 2, 2), True, 0.0)(x, x).shape == x.shape


@pytest.mark.usefixtures("seeded")
def test_between_images_the_other_one_asks():
    block = _Block(4, 2, (2, 2, 2), False, 0.0).eval()
    x, other = (torch.rand(1, 2, 2, 2, 4) for _ in range(2))
    assert not torch.allclose(block(x, other), block(x, x))
    torch.testing.assert_close(block(x, x.clone()), block(x, x))


@pytest.mark.usefixtures("seeded")
def test_blocks_are_left_out_in_training_as_often_as_told():
    block = _Block(4, 2, (2, 2, 2), False, 0.5)
    with torch.no_grad():
        block.dense[-1].weight.zero_()
        block.dense[-1].bias.zero_()
    x = torch.rand(1, 2, 2, 2, 4)
    left_out = [torch.equal(block(x, x), x) for _ in range(400)]
    assert sum(left_out) == pytest.approx(200, abs=50)
    assert not torch.equal(block.eval()(x, x), x)


def test_merging_halves_and_keeps_neighbours_together():
    merged = _Merging(2)(torch.rand(1, 4, 6, 2, 2))
    assert merged.shape == (1, 2, 3, 1, 4)
