"""Representations of the velocity by parameters that an optimiser changes.

Calling one returns the velocity, see :data:`diffeode.geometry.shapes.VelocityTensor`; that of a
cloud has one velocity for each step (:class:`diffeode.flows.cloud.CloudFlow`).
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
from diffeode.geometry.shapes import ChannelsTensor, DisplacementTensor, VelocityTensor
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
    that reach the dense layers; here it follows from the size, so any size works. All times share
    the weights.

    Args:
        base: the velocity that is added to the network's; it has one knot where ``flow`` is given.
        smoother: the linear map ``K``.
        flow: the flow of the cloud. With it the network is evaluated wherever the cloud comes to
            lie, and the output holds the velocities of the voxels along their ways, one for each
            step. With None the network is evaluated before the cloud moves, and the output is a
            velocity at the knots of ``base``.
        reductions: how many times the grid of the output is halved.
        timed: whether the time, from 0 to 1, is one more input of both dense layers. Figure 2 of
            NODEO injects it there and does not say how.
        still: whether the network's output starts at 0, so that the velocity starts at ``base``;
            otherwise it starts at random, as in the papers.
        channels: the number of channels of every convolution.
        bottleneck: the number of units between the two dense layers.
    """

    def __init__(
        self,
        base: VelocityTensor,
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
        # Each convolution halves an axis and rounds up. So all of them together divide it by 2 to
        # the power of their number, and round up once.
        features = channels * math.prod(
            -(-n // 2 ** len(self.convolutions)) for n in self.cloud.shape[2:]
        )
        self.narrow = nn.Linear(features + timed, bottleneck)
        self.widen = nn.Linear(bottleneck + timed, dimensions * math.prod(self.reduced))
        if still:
            nn.init.zeros_(self.widen.weight)
            nn.init.zeros_(self.widen.bias)

    def forward(self) -> VelocityTensor:
        if self.flow is None:
            return self._velocity(torch.linspace(0, 1, len(self.base)).tolist(), None)
        return self.flow.velocities(
            lambda fraction, moved: self._velocity([fraction], moved), self.parameters()
        )

    def _velocity(self, times: Sequence[float], moved: DisplacementTensor | None) -> VelocityTensor:
        """Return the velocities of the cloud at ``times``, from 0 to 1.

        Args:
            moved: the displacement of its voxels so far; None: 0.
        """
        x = self.cloud if moved is None else self.cloud + _halved(_normalised(moved))
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x if index == 0 else F.relu(x))
        x = self.narrow(self._at(times, x.flatten(1)))
        x = self.widen(self._at(times, F.relu(x)))
        x = self.half_widths * x.view(-1, len(self.size), *self.reduced)
        return self.base + self.smoother(resize(x, self.size))

    def _at(self, times: Sequence[float], features: Tensor) -> Tensor:
        """Return ``features``, with a further column of ``times`` where the network is timed."""
        if not self.timed:
            return features
        column = torch.tensor(times).to(features).view(-1, 1)
        return torch.cat([features.expand(len(column), -1), column], dim=1)


def _normalised(voxels: ChannelsTensor) -> ChannelsTensor:
    """Return lengths in voxels as lengths in half widths of the box of all voxel centres."""
    size = voxels.shape[2:]
    scale = torch.tensor([max(n - 1, 1) for n in size]).to(voxels).view(1, -1, *[1] * len(size))
    return voxels / scale * 2


def _halved(cloud: ChannelsTensor) -> ChannelsTensor:
    """Return ``cloud`` on a grid of half the size along each axis."""
    return resize(cloud, [max(1, n // 2) for n in cloud.shape[2:]])
