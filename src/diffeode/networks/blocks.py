"""Layers and helpers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, stride: int = 1, slope: float = 0.2) -> nn.Sequential:
    """Return a convolution over 3 voxels an axis followed by a leaky rectifier.

    Args:
        slope: the rectifier's slope below zero; at 0 it is not leaky.
    """
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1), nn.LeakyReLU(slope, inplace=True)
    )


def small_head(inputs: int, outputs: int = 3, spread: float = 1e-5) -> nn.Conv3d:
    """Return the last convolution of a network whose map is close to the identity at the start.

    Its weights are drawn from a normal distribution around 0 and its offsets are 0.

    Args:
        spread: the standard deviation of the weights.
    """
    head = nn.Conv3d(inputs, outputs, 3, padding=1)
    nn.init.normal_(head.weight, std=spread)
    nn.init.zeros_(head.bias)
    return head


def padded(image: Tensor, multiple: int) -> Tensor:
    """Return ``image (N, C, *size)`` with zeros behind the end of each axis.

    Args:
        multiple: the number by which the padded size is divisible.

    >>> padded(torch.ones(1, 1, 5, 8), 4).shape
    torch.Size([1, 1, 8, 8])
    """
    pad: list[int] = []
    for n in reversed(image.shape[2:]):  # torch pads the last axis first
        pad += [0, -n % multiple]
    return F.pad(image, pad)


def cut_to(field: Tensor, size: Sequence[int]) -> Tensor:
    """Return ``field (N, C, *padded)`` without what :func:`padded` added to ``size``."""
    return field[(..., *(slice(0, n) for n in size))]


def parameters_of(network: nn.Module) -> int:
    """Return the number of parameters of ``network`` that are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def double_size(image: Tensor) -> Tensor:
    """Return ``image`` with every voxel twice along each axis: nearest-neighbour upsampling."""
    for axis in range(2, image.dim()):
        image = torch.repeat_interleave(image, 2, dim=axis)
    return image
