"""The three networks of OTMorph: transport to the other contrast, registration, and critic.

Kim et al., IEEE Transactions on Medical Imaging 44(1), 2025.
"""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor, nn

from diffeode.geometry.warp import resize
from diffeode.networks.blocks import convolution, small_head

_RESIDUAL = 0.1
"""Factor of the output of the convolutions that a block of the critic adds to its input."""


@final
class RegistrationNet(nn.Module):
    """CycleMorph's U-Net, whose upsampling is learned, for a stationary velocity.

    It has 361,299 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entry = convolution(2, 16)
        self.down = nn.ModuleList(convolution(a, 32, stride=2) for a in (16, 32, 32, 32))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(a, a, 3, stride=2, padding=1, output_padding=1)
            for a in (32, 32, 32, 8)
        )
        self.merge = nn.ModuleList(
            (
                convolution(64, 32),
                convolution(64, 32),
                nn.Sequential(convolution(64, 32), convolution(32, 8)),
            )
        )
        self.last = convolution(24, 8)
        self.head = small_head(8)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the velocity ``(1, 3, *size)``, voxels; the size must be divisible by 16."""
        levels = [self.entry(torch.cat([moving, fixed], dim=1))]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels[-1]
        for up, merge, skip in zip(
            self.up, [*self.merge, self.last], reversed(levels[:-1]), strict=True
        ):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(x).float()


@final
class TransportNet(nn.Module):
    """A U-Net with batch normalisation, from an image to the same anatomy in the other contrast.

    It has 12.95 million weights with 32 ``features``.

    Args:
        features: the number of channels of the first level. It doubles at the first three of the
            four reductions.
    """

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        widths = [features * n for n in (1, 2, 4, 8, 8)]
        self.entry = _double(1, widths[0], widths[0])
        self.down = nn.ModuleList(_double(a, b, b) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            _double(features * a, features * a // 2, features * b)
            for a, b in ((16, 4), (8, 2), (4, 1), (2, 1))
        )
        self.last = nn.Conv3d(features, 1, 1)
        self.shrink = nn.MaxPool3d(2)

    def forward(self, image: Tensor) -> Tensor:
        """Return the transported image; both are ``(1, 1, *size)``, a size divisible by 16."""
        levels = [self.entry(image)]
        for down in self.down:
            levels.append(down(self.shrink(levels[-1])))
        x = levels[-1]
        for up, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            x = up(torch.cat([skip, resize(x, skip.shape[2:])], dim=1))
        return self.last(x).float()


@final
class Critic(nn.Module):
    """WGAN-QC's residual network without normalisation, which scores the contrast of an image.

    The authors' last layer is a dense one for images of one size. Here the features are averaged
    over the image before, so that any size works.

    Args:
        features: the number of channels of the first level. It doubles at each reduction, up to
            eight times as many.
        reductions: how many times the image is halved.
    """

    def __init__(self, features: int = 64, reductions: int = 5) -> None:
        super().__init__()
        widths = [min(features * 2**level, features * 8) for level in range(reductions + 2)]
        self.entry = nn.Sequential(
            nn.Conv3d(1, features, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(_Residual(a, a), _Residual(a, b)) for a, b in itertools.pairwise(widths)
        )
        self.shrink = nn.AvgPool3d(3, stride=2, padding=1)
        self.score = nn.Linear(widths[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the score of ``image (1, 1, *size)``, a single number."""
        x = self.levels[0](self.entry(image))
        for level in self.levels[1:]:
            x = level(self.shrink(x))
        return self.score(x.mean(dim=(2, 3, 4))).float().mean()


class _Residual(nn.Module):
    """Two convolutions whose output, multiplied by ``_RESIDUAL``, is added to the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.convolutions = nn.Sequential(
            nn.Conv3d(inputs, hidden, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv3d(hidden, outputs, 3, padding=1),
        )
        self.shortcut = (
            nn.Identity() if inputs == outputs else nn.Conv3d(inputs, outputs, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.shortcut(x) + _RESIDUAL * self.convolutions(x), 0.2)


def _double(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Return two convolutions, each with batch normalisation and a rectifier."""
    layers: list[nn.Module] = []
    for a, b in ((inputs, middle), (middle, outputs)):
        layers += [nn.Conv3d(a, b, 3, padding=1), nn.BatchNorm3d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
