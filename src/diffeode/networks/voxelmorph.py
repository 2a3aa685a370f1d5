"""VoxelMorph's U-Net, and its half-size form with two heads that the diffeomorphic variant uses."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from diffeode.networks.blocks import convolution, double_size, small_head

_LOG_VARIANCE = -10.0
"""Where the logarithm of the velocity's variance starts."""


class _UNet(nn.Module):
    """Four strided reductions (16, 32, 32, 32 channels) and the way back up to half the size, 32
    channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            convolution(a, b, stride=2) for a, b in ((2, 16), (16, 32), (32, 32), (32, 32))
        )
        self.up = nn.ModuleList(convolution(a, 32) for a in (32, 64, 64, 48))

    def half(self, images: Tensor) -> Tensor:
        """Features at half the size of ``images (1, 2, *size)``, a size divisible by 16."""
        levels = [images]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = self.up[0](levels[-1])
        for up, skip in zip(self.up[1:], reversed(levels[1:-1]), strict=True):
            x = up(torch.cat([double_size(x), skip], dim=1))
        return x


@final
class VoxelMorphNet(_UNet):
    """The displacement of each voxel: 301,411 weights.

    Balakrishnan, Zhao, Sabuncu, Guttag, Dalca. VoxelMorph: a learning framework for deformable
    medical image registration. IEEE TMI 38(8), 2019, figure 3 ("VoxelMorph-2").
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(convolution(34, 32), convolution(32, 16), convolution(16, 16))
        self.head = small_head(16)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement ``(1, 3, *size)``, voxels; the size must be divisible by 16."""
        images = torch.cat([moving, fixed], dim=1)
        return self.head(
            self.last(torch.cat([double_size(self.half(images)), images], dim=1))
        ).float()


@final
class VelocityNet(_UNet):
    """Mean and logarithm of the variance of a stationary velocity on the grid of half the size:
    266,374 weights.

    Dalca, Balakrishnan, Guttag, Sabuncu. Unsupervised learning for fast probabilistic diffeomorphic
    registration. MICCAI 2018.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = convolution(32, 16)
        self.mean, self.log_variance = small_head(16), small_head(16, spread=1e-10)
        nn.init.constant_(self.log_variance.bias, _LOG_VARIANCE)

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Both ``(1, 3, *size / 2)``, the mean in voxels of that grid; the size must be divisible
        by 16.
        """
        x = self.last(self.half(torch.cat([moving, fixed], dim=1)))
        return self.mean(x).float(), self.log_variance(x).float()
