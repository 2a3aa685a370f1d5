"""SYMNet's network, from two images to two velocities that carry both to the middle between them.

Mok, Chung. Fast symmetric diffeomorphic image registration with convolutional neural networks.
CVPR 2020.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from diffeode.networks.blocks import convolution

REACH_VOX = 100.0
"""Bound of every component of a velocity, positive or negative, voxels."""


@final
class SymNet(nn.Module):
    """A U-Net with four strided reductions and two heads, each a convolution and a softsign.

    The numbers of channels are those of the authors' code: 862,351 weights with 7 ``channels``,
    1,124,448 with 8.

    Args:
        channels: the number of channels of the first level; the fifth has 16 times as many.
    """

    def __init__(self, channels: int = 7) -> None:
        super().__init__()
        c = channels
        self.entry = nn.Sequential(_block(2, c), _block(c, c))
        self.down = nn.ModuleList(
            nn.Sequential(_block(a * c, b * c, stride=2), _block(b * c, e * c))
            for a, b, e in ((1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 8))
        )
        self.up = nn.ModuleList(_doubling(n * c) for n in (8, 4, 2, 2))
        self.merge = nn.ModuleList(
            nn.Sequential(_block(a * c, b * c), _block(b * c, e * c))
            for a, b, e in ((16, 8, 4), (8, 4, 2), (4, 4, 2), (3, 2, 2))
        )
        self.heads = nn.ModuleList(nn.Conv3d(2 * c, 3, 5, padding=2, bias=False) for _ in range(2))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocities of ``first`` and of ``second``, ``(1, 3, *size)`` voxels.

        The size must be divisible by 16.
        """
        x = self.entry(torch.cat([first, second], dim=1))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([up(x), skip], dim=1))
        to_first, to_second = (
            REACH_VOX * nn.functional.softsign(head(x).float()) for head in self.heads
        )
        return to_first, to_second


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution followed by a rectifier."""
    return convolution(inputs, outputs, stride, slope=0.0)


def _doubling(channels: int) -> nn.Sequential:
    """Return a learned upsampling by 2 followed by a rectifier."""
    return nn.Sequential(nn.ConvTranspose3d(channels, channels, 2, stride=2), nn.ReLU(inplace=True))
