"""What lies around a part of a volume, in the layers of a MeshNet: computed on larger voxels."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffeode.geometry.image import Window
from diffeode.prepare.convolution import Activation, Summary, convolved

STRIDE = 4
"""How many voxels of the volume a voxel of the surroundings measures along each axis."""


@final
class Surroundings:
    """The layers of a MeshNet at what surrounds a part of a volume.

    Around the object that a volume shows, its layers are so smooth that voxels of four times the
    width suffice, which take a sixty-fourth of the time. A dilation of ``d`` voxels becomes
    ``d / 4`` of the larger ones. Where that is less than 1, values between two voxels are
    interpolated linearly. Within the part, the larger voxels hold the means of the voxels there.

    Args:
        volume: the whole volume, ``(X, Y, Z)``.
        part: the part that is computed on the voxels of the volume themselves. Its corners and the
            shape of the volume are multiples of four voxels.
        reach: the largest dilation, a multiple of four voxels.
    """

    def __init__(self, volume: np.ndarray, part: Window, reach: int) -> None:
        outside = np.ones(volume.shape, dtype=np.float32)
        outside[part] = 0
        self._part, self._reach = part, reach
        self._inside = tuple(slice(p.start // STRIDE, p.stop // STRIDE) for p in part)
        self._counts = _means(outside).double().flatten() * STRIDE**3
        self._taken = _means(volume.astype(np.float32))[..., None]
        self._widen()

    def plane(self, number: int, reach: int) -> Tensor:
        """See :class:`diffeode.prepare.convolution.Around`."""
        x, y, z = (
            torch.arange(p.start - reach, p.stop + reach)
            .add_(self._reach)
            .div_(STRIDE, rounding_mode="floor")
            for p in self._part
        )
        return self._wide[x[number + reach]].index_select(0, y).index_select(1, z)

    def keep(self, number: int, plane: Tensor) -> None:
        """See :class:`diffeode.prepare.convolution.Around`."""
        sums = plane.unflatten(0, (-1, STRIDE)).sum(1).unflatten(1, (-1, STRIDE)).sum(2)
        part = self._taken[self._inside][number // STRIDE]
        if number % STRIDE == 0:
            part.zero_()
        part.add_(sums, alpha=STRIDE**-3)

    def convolve(self, weight: Tensor, dilation: int) -> Summary:
        """Replace the values by the convolution of their activation; return a summary of the result
        outside the part.
        """
        kernel, steps = _as_if_dilated(weight, dilation)
        self._taken = convolved(self._taken, kernel, steps)
        values, number = self._taken.flatten(0, 2).double(), float(self._counts.sum())
        mean = self._counts @ values / max(number, 1)
        return Summary(number, mean, self._counts @ (values - mean) ** 2 / max(number, 1))

    def activate(self, activation: Activation) -> None:
        """Replace the values by their activation."""
        self._taken = activation(self._taken)
        self._widen()

    def _widen(self) -> None:
        margin = self._reach // STRIDE
        self._wide = F.pad(self._taken, (0, 0, *(margin,) * 6))


def on_larger_voxels(part: Window) -> Window:
    """Return the smallest part that holds ``part`` and consists of whole larger voxels."""
    x, y, z = (slice(p.start // STRIDE * STRIDE, -(-p.stop // STRIDE) * STRIDE) for p in part)
    return x, y, z


def _means(volume: np.ndarray) -> Tensor:
    """Return the means of ``volume`` over the larger voxels."""
    x, y, z = (size // STRIDE for size in volume.shape)
    blocks = volume.reshape(x, STRIDE, y, STRIDE, z, STRIDE)
    return torch.from_numpy(blocks.mean(axis=(1, 3, 5)))


def _as_if_dilated(weight: Tensor, dilation: int) -> tuple[Tensor, int]:
    """Return the kernel and the dilation, in larger voxels, that stand for a dilated kernel."""
    share = dilation / STRIDE
    if share >= 1:
        return weight, round(share)
    between = torch.tensor([[share, 0, 0], [1 - share, 1, 1 - share], [0, 0, share]])
    return torch.einsum("ax,by,cz,oixyz->oiabc", between, between, between, weight), 1
