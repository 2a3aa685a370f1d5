"""Velocity fields: what the optimiser moves. Each yields ``(K, d, *size)``, voxels of its grid, at
K knots of time or, of a cloud, in K steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffeode.flows.cloud import CloudFlow
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
    any size works.

    Args:
        base: the velocity to add to, ``(K, d, *size)``; K is 1 where there is a ``flow``.
        flow: what moves the cloud; the output is the velocities ``(steps, d, *size)`` of the voxels
            along their ways, and the network is asked wherever the cloud comes to lie. None: the
            network is asked before the cloud moves, and the output is a velocity at the K knots of
            ``base``.
        timed: the time, 0 to 1, is one more input of both dense layers (the paper's figure 2).
        still: the output starts at 0, so the velocity at ``base``; else at random, as the papers'.
    """

    def __init__(
        self,
        base: Tensor,
        smoother: Smoother,
        flow: CloudFlow | None = None,
        reductions: int = 1,
        timed: bool = False,
        still: bool = False,
        channels: int = 32,
        bottleneck: int = 16,
    ) -> None:
        super().__init__()
        size = tuple(base.shape[2:])
        dimensions = len(size)
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.size, self.smoother, self.flow, self.timed = size, smoother, flow, timed
        self.reduced = tuple(-(-n // 2**reductions) for n in size)
        self.register_buffer("base", base)
        self.register_buffer("cloud", _halved(_normalised(voxel_centres(size, base)) - 1))
        self.register_buffer(
            "half_widths",
            torch.tensor([n / 2 for n in self.size]).to(base).view(1, -1, *[1] * dimensions),
        )
        widths = [dimensions] + [channels] * 5
        self.convolutions = nn.ModuleList(
            convolution(a, b, 3, stride=2, padding=1, padding_mode="replicate")
            for a, b in itertools.pairwise(widths)
        )
        # Each convolution halves an axis, rounding up, so all of them together divide by their
        # power of two.
        features = channels * math.prod(
            -(-n // 2 ** len(self.convolutions)) for n in self.cloud.shape[2:]
        )
        self.narrow = nn.Linear(features + timed, bottleneck)
        self.widen = nn.Linear(bottleneck + timed, dimensions * math.prod(self.reduced))
        if still:
            nn.init.zeros_(self.widen.weight)
            nn.init.zeros_(self.widen.bias)

    def forward(self) -> Tensor:
        if self.flow is None:
            return self._velocity(torch.linspace(0, 1, len(self.base)).tolist(), None)
        return self.flow.velocities(
            lambda fraction, moved: self._velocity([fraction], moved), self.parameters()
        )

    def _velocity(self, times: Sequence[float], moved: Tensor | None) -> Tensor:
        """Velocities ``(times, d, *size)`` of the cloud, its voxels ``moved`` by ``(1, d,
        *size)``.
        """
        x = self.cloud if moved is None else self.cloud + _halved(_normalised(moved))
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x if index == 0 else F.relu(x))
        x = self.narrow(self._at(times, x.flatten(1)))
        x = self.widen(self._at(times, F.relu(x)))
        x = self.half_widths * x.view(-1, len(self.size), *self.reduced)
        return self.base + self.smoother(resize(x, self.size))

    def _at(self, times: Sequence[float], features: Tensor) -> Tensor:
        """``features (1 or times, N)``, and the times beside them where the network is timed."""
        if not self.timed:
            return features
        column = torch.tensor(times).to(features).view(-1, 1)
        return torch.cat([features.expand(len(column), -1), column], dim=1)


def _normalised(voxels: Tensor) -> Tensor:
    """Lengths in half widths of the box of the voxel centres."""
    size = voxels.shape[2:]
    scale = torch.tensor([max(n - 1, 1) for n in size]).to(voxels).view(1, -1, *[1] * len(size))
    return voxels / scale * 2


def _halved(cloud: Tensor) -> Tensor:
    return resize(cloud, [max(1, n // 2) for n in cloud.shape[2:]])
