"""MeshNet: the network is the one described, layer by layer, and reads weights without running
code.
"""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from diffeode.errors import InputError
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.convolution import Activation, Moments, Summary, convolved
from diffeode.prepare.meshnet import MeshNet, load_meshnet
from diffeode.prepare.step_tool import silent
from diffeode.prepare.steps import mindgrab, subcortical
from diffeode.prepare.surroundings import STRIDE, Surroundings, on_larger_voxels
from diffeode.weights.catalogue import find_weights

TINY = Architecture(channels=3, classes=2, dilations=(2, 1), normalised=True, activation="gelu")
WIDE = Architecture(channels=3, classes=2, dilations=(4, 2, 1), normalised=True, activation="gelu")
PLAIN = Architecture(channels=4, classes=3, dilations=(1, 3, 1), normalised=False, activation="elu")

NETWORKS = {
    "mindgrab": (mindgrab, "meshnet-mindgrab"),
    "subcortical": (subcortical, "meshnet-subcortical"),
}


def random_tensors(architecture, seed=0):
    """Return tensors with the names of PyTorch's Sequential, in no particular order."""
    generator = torch.Generator().manual_seed(seed)
    tensors, layer = {}, -1
    for shape in architecture.shapes():
        layer += len(shape) > 1
        name = f"model.{layer}.weight" if len(shape) > 1 else f"model.{layer}.bias"
        tensors[name] = torch.randn(shape, generator=generator) * (1 if len(shape) > 1 else 0.1)
    return dict(sorted(tensors.items()))


def in_torch(net):
    """The same network made of torch's own modules."""
    architecture, incoming, modules = net.architecture, 1, []
    for (weight, bias), dilation in zip(net.hidden, architecture.dilations, strict=True):
        convolution = nn.Conv3d(
            incoming, architecture.channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        convolution.weight = nn.Parameter(weight, requires_grad=False)
        convolution.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        incoming = architecture.channels
        normalisation = (
            nn.GroupNorm(incoming, incoming, affine=False)
            if architecture.normalised
            else nn.Identity()
        )
        modules += [
            convolution,
            normalisation,
            nn.GELU() if architecture.activation == "gelu" else nn.ELU(),
        ]
    last = nn.Conv3d(incoming, architecture.classes, 1)
    last.weight, last.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in net.last)
    return nn.Sequential(*modules, last)


@pytest.fixture
def saved(tmp_path):
    """Save tensors of an architecture, and return the file."""

    def save(architecture, kind="safetensors"):
        path = tmp_path / "model.pth"
        if kind == "safetensors":
            save_file(random_tensors(architecture), path)
        else:
            torch.save(random_tensors(architecture), path)
        return path

    return save


@pytest.mark.parametrize("architecture", [TINY, PLAIN], ids=["normalised", "plain"])
@pytest.mark.parametrize("kind", ["safetensors", "archive"])
def test_it_labels_as_torchs_own_modules_do(architecture, kind, saved):
    net = load_meshnet(saved(architecture, kind), architecture)
    volume = np.random.default_rng(0).random((37, 12, 9), dtype=np.float32)
    expected = in_torch(net)(torch.from_numpy(volume)[None, None]).argmax(1)[0].numpy()
    labels = net.label(volume, 1, silent)
    assert labels.dtype == np.uint8
    assert len(np.unique(expected)) == architecture.classes
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_trained_networks_label_as_torchs_own_modules_do(name, real_data_root, monkeypatch):
    monkeypatch.setenv("DIFFEODE_DATA", str(real_data_root))
    module, weights = NETWORKS[name]
    net = load_meshnet(find_weights(weights), module.ARCHITECTURE)
    x, y, z = np.meshgrid(
        *[np.linspace(-1, 1, n, dtype=np.float32) for n in (40, 24, 28)], indexing="ij"
    )
    volume = np.clip(1.2 - np.sqrt(x**2 + y**2 + z**2) + 0.2 * np.sin(9 * x) * np.cos(7 * y), 0, 1)
    logits = in_torch(net)(torch.from_numpy(volume)[None, None])
    two = logits.topk(2, dim=1).values[0]
    clear = (two[0] - two[1] > 1e-3).numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(
        net.label(volume, 1, silent)[clear], logits.argmax(1)[0].numpy()[clear]
    )


@pytest.mark.parametrize(("name", "trained"), [("mindgrab", 146_237), ("subcortical", 196_038)])
def test_the_architectures_have_as_many_numbers_as_published(name, trained):
    module, _ = NETWORKS[name]
    assert sum(int(np.prod(shape)) for shape in module.ARCHITECTURE.shapes()) == trained


@pytest.mark.parametrize("planes", [1, 3, 4, 5, 40])
@pytest.mark.parametrize("dilation", [1, 3, 16])
def test_a_convolution_is_torchs_own(planes, dilation):
    """This holds for any number of planes, also fewer than the dilation, and where the number of
    channels changes.
    """
    generator = torch.Generator().manual_seed(planes)
    volume = torch.randn(2, planes, 9, 20, generator=generator)
    for channels in (2, 3):
        weight = torch.randn(channels, 2, 3, 3, 3, generator=generator)
        expected = nn.functional.conv3d(
            volume[None].double(), weight.double(), padding=dilation, dilation=dilation
        )[0]
        found = convolved(volume.permute(1, 2, 3, 0).contiguous(), weight, dilation)
        torch.testing.assert_close(
            found.permute(3, 0, 1, 2).double(), expected, atol=1e-4, rtol=1e-5
        )


def test_a_voxel_sees_as_far_as_the_dilations_add_up(saved):
    """So nothing changes within where a volume is cut farther out."""
    net = load_meshnet(saved(PLAIN), PLAIN)
    volume = np.random.default_rng(1).random((40, 14, 15), dtype=np.float32)
    whole, cut = net.label(volume, 1, silent), net.label(volume[:30], 1, silent)
    reach = sum(PLAIN.dilations)
    np.testing.assert_array_equal(whole[: 30 - reach], cut[: 30 - reach])
    assert (whole[30 - reach : 30] != cut[30 - reach :]).any()


def test_a_cut_volume_is_labelled_as_in_the_uniform_one_around_it(saved):
    """This holds where the volume is uniform as near to the cut as a voxel depends on, also where
    the value around it is not zero.
    """
    net = load_meshnet(saved(PLAIN), PLAIN)
    reach = sum(PLAIN.dilations)
    volume = np.full((40, 38, 34), 0.3, dtype=np.float32)
    volume[15:25, 14:24, 12:22] = np.random.default_rng(2).random((10, 10, 10))
    cut = tuple(slice(start - reach, start + 10 + reach) for start in (15, 14, 12))
    expected = net.label(volume, 1, silent)[cut]
    assert len(np.unique(expected)) == PLAIN.classes
    np.testing.assert_array_equal(net.label(volume[cut], 1, silent, around=0.3), expected)
    assert (net.label(volume[cut], 1, silent) != expected).any()


def in_double(volume, weight, dilation):
    """The padded, dilated convolution of ``volume (C, X, Y, Z)`` by torch's own function."""
    return nn.functional.conv3d(
        volume[None].double(), weight.double(), padding=dilation, dilation=dilation
    )[0]


def assert_summarised(summary, values):
    """``values (C, ...)`` have the number, mean and variance of ``summary``."""
    flat = values.double().flatten(1)
    assert summary.count == flat.shape[1]
    torch.testing.assert_close(summary.mean, flat.mean(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(summary.variance, flat.var(1, correction=0), atol=1e-5, rtol=1e-5)


def test_a_layer_is_torchs_own_where_it_activates_what_it_takes():
    """The activation is applied before the padding, and the mean and variance are of the result."""
    generator = torch.Generator().manual_seed(3)
    volume = torch.randn(2, 21, 9, 20, generator=generator)
    weight = torch.randn(2, 2, 3, 3, 3, generator=generator)
    scale, shift = torch.tensor([2.0, 0.5]), torch.tensor([0.3, -1.0])
    activation, moments = Activation(nn.functional.gelu, scale, shift), Moments()
    activated = nn.functional.gelu(
        volume.double() * scale[:, None, None, None] + shift[:, None, None, None]
    )
    expected = in_double(activated, weight, 4)
    values = volume.permute(1, 2, 3, 0).contiguous()
    found = convolved(values, weight, 4, activation, moments)
    torch.testing.assert_close(found.permute(3, 0, 1, 2).double(), expected, atol=1e-4, rtol=1e-5)
    assert_summarised(moments.summary(), expected)


def test_an_activation_of_differences_is_the_difference_of_activations():
    activation = Activation(nn.functional.gelu, torch.tensor([2.0, 0.5]), torch.tensor([0.3, -1]))
    values, constant = torch.randn(50, 2), torch.tensor([0.7, -0.4])
    found = activation.of_differences(constant)
    expected = activation(values) - activation(constant[None])
    torch.testing.assert_close(found(values - constant), expected)
    torch.testing.assert_close(found.background, activation(constant[None])[0])


def test_moments_keep_their_digits_far_from_zero():
    volume = torch.randn(40, 30, 20, 2) * torch.tensor([3.0, 0.1]) + 50
    moments = Moments()
    for plane in volume:
        moments.add(plane)
    assert_summarised(moments.summary(), volume.permute(3, 0, 1, 2))


def test_summaries_of_two_parts_join_to_that_of_the_whole():
    values = torch.randn(2, 100, dtype=torch.float64)
    first, second = (
        Summary(part.shape[1], part.mean(1), part.var(1, correction=0))
        for part in (values[:, :30], values[:, 30:])
    )
    assert_summarised(first.joined(second), values)
    assert_summarised(
        first.shifted(torch.tensor([3.0, -1.0])), values[:, :30] + torch.tensor([[3.0], [-1.0]])
    )


# ------------------------------------------------------------------------------- a part of a volume


PART = (slice(8, 32), slice(12, 40), slice(16, 36))


def outside(values):
    mask = torch.ones(values.shape[1:], dtype=torch.bool)
    mask[PART] = False
    return values[:, mask]


def channels_first(values):
    return values.permute(3, 0, 1, 2).double()


def test_a_part_and_its_surroundings_are_exact_where_larger_voxels_are_uniform():
    """Dilations of as many voxels, or a multiple, keep them so: each layer is that of the whole
    volume within the part, and the means and variances are those of the whole volume.
    """
    generator = torch.Generator().manual_seed(5)
    volume = torch.randn(12, 13, 14, generator=generator)
    for axis in range(3):
        volume = volume.repeat_interleave(STRIDE, axis)
    weights = [torch.randn(2, n, 3, 3, 3, generator=generator) for n in (1, 2)]
    activation = Activation(nn.functional.gelu, torch.tensor([0.2, 0.1]), torch.tensor([0.3, 0.0]))
    surroundings = Surroundings(volume.numpy(), PART, 4 * STRIDE)
    values, whole = volume[PART][..., None].contiguous(), volume[None].double()
    layers = ((weights[0], 2 * STRIDE, None), (weights[1], 4 * STRIDE, activation))
    for weight, dilation, given in layers:
        moments = Moments()
        values = convolved(values, weight, dilation, given, moments, surroundings)
        whole = in_double(whole, weight, dilation)
        expected = whole[(slice(None), *PART)]
        torch.testing.assert_close(channels_first(values), expected, atol=1e-4, rtol=1e-5)
        around = surroundings.convolve(weight, dilation)
        assert_summarised(around, outside(whole))
        assert_summarised(moments.summary().joined(around), whole)
        surroundings.activate(activation)
        whole = channels_first(activation(whole.float().permute(1, 2, 3, 0)))


@pytest.mark.parametrize("dilation", range(1, STRIDE))
def test_surroundings_interpolate_between_larger_voxels(dilation):
    """In a linear ramp this is exact, away from the ends."""
    x, y, z = torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij")
    ramp = (0.3 * x - 0.2 * y + 0.1 * z + 1)[None]
    weight = torch.randn(1, 1, 3, 3, 3, generator=torch.Generator().manual_seed(dilation))
    surroundings = Surroundings(ramp[0].numpy(), (slice(0, 0),) * 3, STRIDE)
    surroundings.convolve(weight, dilation)
    n, inner = 40 // STRIDE, (slice(1, -1),) * 3
    expected = in_double(ramp, weight, dilation).reshape(n, STRIDE, n, STRIDE, n, STRIDE)
    torch.testing.assert_close(
        surroundings._taken[..., 0].double()[inner],
        expected.mean((1, 3, 5))[inner],
        atol=1e-4,
        rtol=1e-5,
    )


def test_a_part_grows_to_whole_larger_voxels():
    part = (slice(0, 5), slice(3, 8), slice(4, 4))
    assert on_larger_voxels(part) == (slice(0, 8), slice(0, 8), slice(4, 4))


def test_a_part_is_labelled_as_in_the_whole_volume_around_it(saved):
    """Without the surroundings, means and variances are those of the part alone, and another class
    becomes the likeliest.
    """
    net = load_meshnet(saved(WIDE), WIDE)
    volume = np.zeros((48, 44, 40), dtype=np.float32)
    volume[18:30, 16:28, 14:26] = np.random.default_rng(2).random((12, 12, 12))
    part = tuple(slice(start - 4, start + 15) for start in (18, 16, 14))
    whole = net.label(volume, 1, silent)[part]
    found = net.label_part(volume, part, 1, silent)
    alone = net.label(volume[part], 1, silent, around=0.0)
    assert found.shape == whole.shape
    assert len(np.unique(whole)) == WIDE.classes
    assert (found == whole).mean() > 0.99
    assert (alone == whole).mean() < 0.98


def test_progress_reaches_the_end_layer_by_layer():
    told = []
    net = MeshNet(TINY, *_parts(TINY))
    net.label(
        np.zeros((5, 5, 5), np.float32),
        1,
        lambda fraction, message: told.append((fraction, message)),
    )
    assert [message for _, message in told] == ["layer 1 of 3", "layer 2 of 3", "layer 3 of 3"]
    assert [fraction for fraction, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])


def _parts(architecture):
    *hidden, weight, bias = (torch.zeros(shape) for shape in architecture.shapes())
    return tuple((tensor, None) for tensor in hidden), (weight, bias)


def test_another_architecture_is_refused(saved):
    with pytest.raises(InputError, match=r"another network .*8 tensors instead of 4"):
        load_meshnet(saved(PLAIN), TINY)
    wider = Architecture(
        channels=5, classes=2, dilations=(2, 1), normalised=True, activation="gelu"
    )
    with pytest.raises(
        InputError, match=r"tensor 1 has the shape \(3, 1, 3, 3, 3\) instead of \(5, 1, 3, 3, 3\)"
    ):
        load_meshnet(saved(TINY), wider)


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("archive", "message"),
    [(True, "which may run code"), (False, "cannot be read as weights of a network")],
)
def test_code_in_a_file_is_never_run(archive, message, tmp_path):
    path, sprung = tmp_path / "model.pth", tmp_path / "sprung"
    if archive:
        torch.save({"model.0.weight": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(InputError, match=message):
        load_meshnet(path, TINY)
    assert not sprung.exists()


def test_a_truncated_file_is_refused(saved):
    path = saved(TINY)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read as weights of a network"):
        load_meshnet(path, TINY)
