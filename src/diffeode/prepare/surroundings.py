"""What lies around a part of a volume, in the layers of a MeshNet: computed on larger voxels, for
the means and variances of whole layers.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from diffeode.geometry.image import Window
from diffeode.prepare.convolution import Activation, Summary, convolved

STRIDE = 2
"""How many voxels of the volume a voxel of the surroundings measures along each axis."""


@final
class Surroundings:
    """The layers of a MeshNet at what surrounds a part of a volume.

    Around the object that a volume shows, its layers are so smooth that voxels of twice the width
    suffice, which take an eighth of the time. A dilation of ``d`` voxels becomes ``d / 2`` of the
    larger ones. Where that is less than 1, values between two voxels are interpolated linearly.

    Args:
        volume: the whole volume, ``(X, Y, Z)``; each axis has an even number of voxels.
        part: the part that is computed on the voxels of the volume themselves.
    """

    def __init__(self, volume: np.ndarray, part: Window) -> None:
        around = np.ones(volume.shape, dtype=np.float32)
        around[part] = 0
        self._values = _means(volume.astype(np.float32))[..., None]
        self._counts = _means(around).double() * STRIDE**3
        self._activation: Activation | None = None

    def convolve(self, weight: Tensor, dilation: int) -> Summary:
        """Replace the values by the convolution of their activation; return a summary of it."""
        kernel, steps = _on_larger_voxels(weight, dilation)
        self._values = convolved(self._values, kernel, steps, self._activation)
        values, counts = self._values.flatten(0, 2).double(), self._counts.flatten()
        number = counts.sum()
        if number == 0:
            return Summary(0, torch.zeros_like(values[0]), torch.zeros_like(values[0]))
        mean = counts @ values / number
        return Summary(float(number), mean, counts @ (values - mean) ** 2 / number)

    def activate(self, activation: Activation) -> None:
        """Set what becomes of the values before they are convolved again."""
        self._activation = activation


def _means(volume: np.ndarray) -> Tensor:
    """Return the means of ``volume`` over the larger voxels."""
    x, y, z = (size // STRIDE for size in volume.shape)
    blocks = volume.reshape(x, STRIDE, y, STRIDE, z, STRIDE)
    return torch.from_numpy(blocks.mean(axis=(1, 3, 5)))


def _on_larger_voxels(weight: Tensor, dilation: int) -> tuple[Tensor, int]:
    """Return the kernel and the dilation, in larger voxels, that stand for a dilated kernel."""
    share = dilation / STRIDE
    if share >= 1:
        return weight, round(share)
    between = torch.tensor([[share, 0, 0], [1 - share, 1, 1 - share], [0, 0, share]])
    return torch.einsum("ax,by,cz,oixyz->oiabc", between, between, between, weight), 1
