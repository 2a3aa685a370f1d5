"""The network of the learned descriptor, from an image to features at every voxel.

It is an encoder-decoder with three halvings, skip connections and two convolutional blocks at each
end (arXiv 2512.22689, section III-D3, after Mok et al., CVPR 2024).
"""

from __future__ import annotations

import itertools
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffeode.descriptors.convolution import Convolution
from diffeode.geometry.determinism import window_average

_HALVINGS = 3
_MULTIPLE = 2**_HALVINGS
_SLOPE = 0.2
"""Slope of the leaky rectifiers below zero."""


@final
class FeatureNetwork(nn.Module):
    """A network from an image ``(N, 1, X, Y, Z)`` of any size to features ``(N, F, X, Y, Z)``.

    Nothing is normalised over the image, so the features in a crop are those of the whole image,
    except near the border of the crop, if the crop begins at a multiple of 8 voxels (three halvings
    join 8 voxels). The network can therefore be trained on crops.

    Args:
        width: the number of channels at full resolution, which doubles at every halving.
        features: the number ``F`` of channels of the output.
    """

    def __init__(self, width: int = 8, features: int = 8) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_HALVINGS + 1)]
        self.start = nn.Sequential(_block(1, width), _block(width, width))
        self.down = nn.ModuleList(
            nn.Sequential(_Halving(), _block(fine, coarse), _block(coarse, coarse))
            for fine, coarse in itertools.pairwise(widths)
        )
        self.narrow = nn.ModuleList(
            nn.Conv3d(coarse, fine, 1) for fine, coarse in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(_block(2 * fine, fine) for fine in widths[:-1])
        self.end = nn.Sequential(_block(width, width), nn.Conv3d(width, features, 1))

    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[2:]
        pad: list[int] = []
        for n in reversed(size):  # torch pads the last axis first
            pad += [0, -n % _MULTIPLE]
        x = self.start(F.pad(image, pad, mode="replicate"))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            x = F.interpolate(narrow(x), scale_factor=2, mode="trilinear")
            x = up(torch.cat([skips.pop(), x], dim=1))
        return self.end(x)[:, :, : size[0], : size[1], : size[2]]


class _Halving(nn.Module):
    """The mean over cubes of 2 voxels an axis, in the form that can be deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return window_average(x, [2, 2, 2], stride=2)


def _block(before: int, after: int) -> nn.Module:
    convolution = Convolution(before, after)
    nn.init.kaiming_normal_(convolution.weight, a=_SLOPE)
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.LeakyReLU(_SLOPE))
