"""Representations of the velocity by parameters that an optimiser changes.

Calling one returns the velocity, see :data:`diffeode.geometry.shapes.VelocityTensor`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffeode.geometry.shapes import VelocityTensor
from diffeode.geometry.warp import resize, voxel_centres

Smoother = Callable[[VelocityTensor], VelocityTensor]
"""A function from a velocity to a smoothed one; ``K`` in the formulas below."""


@final
class GridField(nn.Module):
    """A velocity with a free value ``w`` at every voxel and knot: ``v = base + K w``.

    NODEO (Wu et al., CVPR 2022) calls this form "tensor" in its Table 3.

    Args:
        base: the velocity to start from, smooth already; ``w`` starts at 0.
        smoother: the linear map ``K``.
    """

    def __init__(self, base: VelocityTensor, smoother: Smoother) -> None:
        super().__init__()
        self.register_buffer("base", base)
        self.free = nn.Parameter(torch.zeros_like(base))
        self.smoother = smoother

    def forward(self) -> VelocityTensor:
        return self.base + self.smoother(self.free)


@final
class NetworkField(nn.Module):
    """NODEO's convolutional network, from voxel positions to velocities: ``v = base + K f(cloud)``.

    The cloud holds the positions of all voxels, ``(1, d, *size)`` in [-1, 1]. It is resized to half
    the size and passes five convolutions of 3 voxels an axis and stride 2 with replicated borders,
    then two dense layers. Their output lies on a grid reduced by ``2^reductions``, in units of half
    the width of the box. It is interpolated to ``size`` and smoothed by ``K``.

    The network of Wu et al., CVPR 2022, has two reductions and an averaging kernel of 15 voxels;
    that of arXiv 2512.22689, section III-D1, has one reduction and ``K = L^-1``
    (:func:`diffeode.flows.operator.inverse_operator`). NODEO's code fixes the number of features
    that reach the dense layers; here it follows from the size, so any size works. With more than
    one knot the cloud has one more channel, the time of the knot in [-1, 1]. All knots share the
    weights.

    Args:
        base: the velocity that is added to the network's.
        smoother: the linear map ``K``.
        reductions: how many times the grid of the output is halved.
        still: whether the network's output starts at 0, so that the velocity starts at ``base``;
            otherwise it starts at random, as in the papers.
        channels: the number of channels of every convolution.
        bottleneck: the number of units between the two dense layers.
    """

    def __init__(
        self,
        base: VelocityTensor,
        smoother: Smoother,
        reductions: int = 1,
        still: bool = False,
        channels: int = 32,
        bottleneck: int = 16,
    ) -> None:
        super().__init__()
        size = tuple(base.shape[2:])
        dimensions = len(size)
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.size, self.smoother = size, smoother
        self.reduced = tuple(-(-n // 2**reductions) for n in size)
        self.register_buffer("base", base)
        self.register_buffer("cloud", _halved_cloud(base))
        self.register_buffer(
            "half_widths",
            torch.tensor([n / 2 for n in self.size]).to(base).view(1, -1, *[1] * dimensions),
        )
        widths = [self.cloud.shape[1]] + [channels] * 5
        self.convolutions = nn.ModuleList(
            convolution(a, b, 3, stride=2, padding=1, padding_mode="replicate")
            for a, b in itertools.pairwise(widths)
        )
        # Each convolution halves an axis and rounds up. So all of them together divide it by 2 to
        # the power of their number, and round up once.
        features = channels * math.prod(
            -(-n // 2 ** len(self.convolutions)) for n in self.cloud.shape[2:]
        )
        self.narrow = nn.Linear(features, bottleneck)
        self.widen = nn.Linear(bottleneck, dimensions * math.prod(self.reduced))
        if still:
            nn.init.zeros_(self.widen.weight)
            nn.init.zeros_(self.widen.bias)

    def forward(self) -> VelocityTensor:
        x = self.cloud
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x if index == 0 else F.relu(x))
        x = self.widen(F.relu(self.narrow(x.flatten(1))))
        x = self.half_widths * x.view(-1, len(self.size), *self.reduced)
        return self.base + self.smoother(resize(x, self.size))


def _halved_cloud(like: VelocityTensor) -> Tensor:
    """Return the positions in [-1, 1] on a grid of half the size, ``(1, d, *(size / 2))``.

    With several knots the times follow the positions as a last channel: ``(K, d + 1, *(size /
    2))``.
    """
    knots, _, *size = like.shape
    scale = torch.tensor([max(n - 1, 1) for n in size]).to(like).view(1, -1, *[1] * len(size))
    cloud = voxel_centres(size, like) / scale * 2 - 1
    cloud = resize(cloud, [max(1, n // 2) for n in size])
    if knots == 1:
        return cloud
    times = torch.linspace(-1, 1, knots).to(like).view(-1, 1, *[1] * len(size))
    return torch.cat(
        [cloud.expand(knots, *cloud.shape[1:]), times.expand(knots, 1, *cloud.shape[2:])], dim=1
    )
