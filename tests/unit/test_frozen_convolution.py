"""The quick convolution of the learned descriptor: the same as torch's, and its gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffeode.descriptors import learned
from diffeode.descriptors.convolution import Convolution

# below and above the size from which torch itself uses oneDNN
SHAPES = [(1, 3, 9, 8, 7), (2, 4, 5, 6, 11), (1, 8, 52, 52, 4)]


def convolution(channels: int, frozen: bool = True) -> Convolution:
    torch.manual_seed(channels)
    return Convolution(channels, 5).requires_grad_(not frozen)


def exact(layer: Convolution, x: torch.Tensor) -> torch.Tensor:
    """The convolution in double precision, by its definition in torch."""
    padded = F.pad(x.double(), [1] * 6, mode="replicate")
    return F.conv3d(padded, layer.weight.double(), layer.bias.double())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_values_and_the_gradient_are_those_of_torch_in_double_precision(shape):
    layer = convolution(shape[1])
    x = torch.rand(shape, requires_grad=True)
    weights = torch.rand(shape[0], 5, *shape[2:])
    y = layer(x)
    torch.testing.assert_close(y.double(), exact(layer, x), rtol=1e-5, atol=1e-6)
    (found,) = torch.autograd.grad((y * weights).sum(), x)
    (true,) = torch.autograd.grad((exact(layer, x) * weights).sum(), x)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-5)


def test_weights_that_are_trained_get_their_gradient():
    layer, x = convolution(3, frozen=False), torch.rand(SHAPES[0])
    layer(x).sum().backward()
    plain = nn.Conv3d(3, 5, 3, padding=1, padding_mode="replicate")
    plain.load_state_dict(layer.state_dict())
    plain(x).sum().backward()
    for found, true in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, true.grad, rtol=0, atol=0)


def test_what_is_kept_for_the_gradient_changes_no_bit(monkeypatch):
    describe = learned.make("")
    image = torch.rand(1, 1, 12, 11, 10)
    found = []
    for kept in (0, image.numel()):
        monkeypatch.setattr(learned, "_KEPT_VOXELS", kept)
        x = image.clone().requires_grad_()
        tokens = describe(x)
        tokens.square().sum().backward()
        found.append((tokens.detach(), x.grad))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    assert found[0][1].abs().max() > 0
