"""What several networks are built of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, stride: int = 1, slope: float = 0.2) -> nn.Sequential:
    """A convolution over 3 voxels an axis and a (leaky) rectifier of ``slope`` below zero."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1), nn.LeakyReLU(slope, inplace=True)
    )


def small_head(inputs: int, outputs: int = 3, spread: float = 1e-5) -> nn.Conv3d:
    """The last convolution of a network that starts near the identity: weights ``N(0, spread)``, no
    offset.
    """
    head = nn.Conv3d(inputs, outputs, 3, padding=1)
    nn.init.normal_(head.weight, std=spread)
    nn.init.zeros_(head.bias)
    return head


def padded(image: Tensor, multiple: int) -> Tensor:
    """``image (N, C, *size)`` with zeros behind the end of each axis, up to the next multiple."""
    missing = [-n % multiple for n in image.shape[2:]]
    return F.pad(image, [width for n in reversed(missing) for width in (0, n)])


def cut_to(field: Tensor, size: Sequence[int]) -> Tensor:
    """``field (N, C, *padded)`` without what :func:`padded` added to ``size``."""
    return field[(..., *(slice(0, n) for n in size))]


def parameters_of(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def double_size(image: Tensor) -> Tensor:
    """Each voxel eight times: nearest-neighbour upsampling."""
    for axis in range(2, image.dim()):
        image = torch.repeat_interleave(image, 2, dim=axis)
    return image
