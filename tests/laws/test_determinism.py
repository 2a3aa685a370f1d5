"""The replacements of operations without a deterministic gradient on a GPU have the same values and
gradients.
"""

import itertools
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from diffeode.geometry import determinism
from diffeode.geometry.determinism import deterministic, gathered, window_average
from diffeode.geometry.warp import sample_at

DOUBLE = torch.float64


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(5, 4, 6), (7, 5)])
def test_gathering_is_grid_sample_with_both_its_gradients(size, padding):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *size, generator=generator, dtype=DOUBLE).requires_grad_()
    beyond = torch.tensor(size).view(1, -1, *[1] * len(size)) + 3
    voxels = torch.rand(2, len(size), *size, generator=generator, dtype=DOUBLE) * beyond - 2
    corners = torch.tensor(list(itertools.product(*[(0.0, n - 1.0) for n in size])), dtype=DOUBLE)
    voxels.flatten(2)[:, :, : len(corners)] = (
        corners.T
    )  # on the border's corners, where slopes begin
    voxels.requires_grad_()
    outer = torch.rand(2, 3, *size, generator=generator, dtype=DOUBLE)
    expected = sample_at(image, voxels, padding)
    found = gathered(image, voxels, padding == "border")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, (image, voxels), outer),
        torch.autograd.grad(expected, (image, voxels), outer),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("window", "stride"), [((3, 3, 3), 1), ((1, 5, 1), 1), ((5, 1, 1), 1), ((2, 2, 2), 2)]
)
def test_averages_plane_by_plane_are_those_of_volumes(window, stride):
    image = torch.rand(2, 3, 6, 8, 10, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    with mock.patch.object(determinism, "must_be_deterministic", return_value=True):
        found = window_average(image, window, stride)
    torch.testing.assert_close(found, F.avg_pool3d(image, window, stride), rtol=0, atol=1e-13)


def test_torch_is_told_where_it_matters_and_only_for_the_while():
    there, here = torch.device("meta"), torch.device("cpu")
    with deterministic(here, True):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(there, False):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError):
        _fail_while_deterministic(there)
    assert not torch.are_deterministic_algorithms_enabled()


def _fail_while_deterministic(device: torch.device) -> None:
    with deterministic(device, True):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError


def test_a_caller_who_told_torch_before_is_left_with_it():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic(torch.device("meta"), True):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
