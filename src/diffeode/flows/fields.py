"""Velocity fields: what the optimiser moves. Each yields ``(K, d, *size)``, voxels of its grid at K
knots of time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffeode.geometry.warp import resize, voxel_centres

Smoother = Callable[[Tensor], Tensor]


@final
class GridField(nn.Module):
    """A velocity at every voxel, smoothed: ``v = base + K w`` with free ``w`` (NODEO, Table 3,
    "tensor").

    Args:
        base: the velocity to start from, ``(K, d, *size)``, already smooth.
    """

    def __init__(self, base: Tensor, smoother: Smoother) -> None:
        super().__init__()
        self.register_buffer("base", base)
        self.free = nn.Parameter(torch.zeros_like(base))
        self.smoother = smoother

    def forward(self) -> Tensor:
        return self.base + self.smoother(self.free)


@final
class NetworkField(nn.Module):
    """NODEO's convolutional network, from the cloud of voxels to their velocities: ``v = base + K
    f(cloud)``.

    The cloud ``(1, d, *size)`` in [-1, 1] is halved once, passes five convolutions of kernel 3 and
    stride 2 with replicated borders, then two dense layers with ``bottleneck`` units between; the
    output lives on the grid reduced by ``2^reductions`` and is interpolated to ``size``, smoothed
    by ``K`` and read in half widths of the box. Wu et al., CVPR 2022 (two reductions, averaging
    kernel of 15 voxels); arXiv 2512.22689, section III-D1 (one reduction, ``K = L^-1``). Unlike the
    reference code the number of features that reach the dense layers is computed from the size, so
    any size works. With more than one knot the cloud has a further channel, the time of the knot in
    [-1, 1]; all knots share the weights.

    Args:
        base: the velocity to add to, ``(K, d, *size)``.
        still: the output starts at 0, so the velocity at ``base``; else at random, as the papers'.
    """

    def __init__(
        self,
        base: Tensor,
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
        # Each convolution halves an axis, rounding up, so all of them together divide by their
        # power of two.
        features = channels * math.prod(
            -(-n // 2 ** len(self.convolutions)) for n in self.cloud.shape[2:]
        )
        self.narrow = nn.Linear(features, bottleneck)
        self.widen = nn.Linear(bottleneck, dimensions * math.prod(self.reduced))
        if still:
            nn.init.zeros_(self.widen.weight)
            nn.init.zeros_(self.widen.bias)

    def forward(self) -> Tensor:
        x = self.cloud
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x if index == 0 else F.relu(x))
        x = self.widen(F.relu(self.narrow(x.flatten(1))))
        x = self.half_widths * x.view(-1, len(self.size), *self.reduced)
        return self.base + self.smoother(resize(x, self.size))


def _halved_cloud(like: Tensor) -> Tensor:
    """Positions, and times where there are several knots, ``(K, d or d + 1, *(size / 2))``."""
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
