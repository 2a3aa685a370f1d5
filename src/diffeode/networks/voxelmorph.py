"""The networks of VoxelMorph and of its diffeomorphic variant."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from diffeode.networks.blocks import convolution, double_size, small_head

_LOG_VARIANCE = -10.0
"""Value of the logarithm of the velocity's variance before training."""


class _UNet(nn.Module):
    """A U-Net with four strided reductions whose output has half the size of the images.

    The reductions have 16, 32, 32 and 32 channels; the output has 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            convolution(a, b, stride=2) for a, b in ((2, 16), (16, 32), (32, 32), (32, 32))
        )
        self.up = nn.ModuleList(convolution(a, 32) for a in (32, 64, 64, 48))

    def half(self, images: Tensor) -> Tensor:
        """Return features ``(1, 32, *size / 2)`` of ``images (1, 2, *size)``.

        The size must be divisible by 16.
        """
        levels = [images]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = self.up[0](levels[-1])
        for up, skip in zip(self.up[1:], reversed(levels[1:-1]), strict=True):
            x = up(torch.cat([double_size(x), skip], dim=1))
        return x


@final
class VoxelMorphNet(_UNet):
    """VoxelMorph's network, from two images to the displacement of each voxel.

    Balakrishnan, Zhao, Sabuncu, Guttag, Dalca. VoxelMorph: a learning framework for deformable
    medical image registration. IEEE TMI 38(8), 2019, figure 3 ("VoxelMorph-2"). It has 301,411
    weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(convolution(34, 32), convolution(32, 16), convolution(16, 16))
        self.head = small_head(16)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the displacement ``(1, 3, *size)``, voxels; the size must be divisible by 16."""
        images = torch.cat([moving, fixed], dim=1)
        return self.head(
            self.last(torch.cat([double_size(self.half(images)), images], dim=1))
        ).float()


@final
class VelocityNet(_UNet):
    """The network of the diffeomorphic variant, from two images to a distribution of velocities.

    Dalca, Balakrishnan, Guttag, Sabuncu. Unsupervised learning for fast probabilistic diffeomorphic
    registration. MICCAI 2018. It has 266,374 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = convolution(32, 16)
        self.mean, self.log_variance = small_head(16), small_head(16, spread=1e-10)
        nn.init.constant_(self.log_variance.bias, _LOG_VARIANCE)

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of a stationary velocity and the logarithm of its variance.

        Both are ``(1, 3, *size / 2)``, in voxels of that grid. The size must be divisible by 16.
        """
        x = self.last(self.half(torch.cat([moving, fixed], dim=1)))
        return self.mean(x).float(), self.log_variance(x).float()
