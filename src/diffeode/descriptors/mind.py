"""MIND and MIND-SSC, the modality independent neighbourhood descriptors.

MIND-SSC (self-similarity context; Heinrich et al., MICCAI 2013) compares the neighbours of a voxel
with each other; MIND (Heinrich et al., Medical Image Analysis 16(7), 2012) compares the voxel with
its neighbours. Both depend little on the contrast of an image. arXiv 2512.22689 states them in
equations 13 to 15.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffeode.geometry.determinism import window_average
from diffeode.geometry.shapes import ChannelsTensor

_VARIANCE_BOUNDS = (1e-3, 1e3)
"""The local variance is kept within these multiples of its mean over the image, as in the code of
ConvexAdam. Without the bounds, flat regions would divide noise by almost nothing.
"""


def mind_ssc(
    image: ChannelsTensor, radius: int = 1, dilation: int = 2, dtype: torch.dtype | None = None
) -> ChannelsTensor:
    """Return the self-similarity context of an image, channels in (0, 1].

    The neighbours of a voxel lie at the distance ``dilation`` along the axes, in both directions.
    Two neighbours on different axes form a pair. Channel ``k`` compares the patches around the two
    neighbours of the pair ``k``. With ``D_k`` the mean squared difference of the two patches and
    ``V`` the mean over ``k`` of ``D_k - min D``, it is ``exp(-(D_k - min D) / V)``.

    Beyond the border the image keeps its border values.

    Args:
        image: ``(N, 1, *size)``; the result has 12 channels in three dimensions and 4 in two.
        radius: a patch has ``2 radius + 1`` voxels along each axis.
        dilation: the distance of the neighbours from the voxel, voxels.
        dtype: the precision of the descriptor; None: that of the image. Differences of intensities
            are computed in the image's precision in any case, and ``V`` in single precision at
            least. Half precision represents squared differences from 1e-4 to 6e4 well, so the
            intensities should then be of order 100.

    >>> image = torch.rand(1, 1, 8, 8, 8, dtype=torch.float64)
    >>> mind_ssc(image).shape
    torch.Size([1, 12, 8, 8, 8])
    >>> torch.allclose(mind_ssc(image), mind_ssc(5 - 3 * image))
    True
    """
    return self_similarity(patch_distances(image, radius, dilation, dtype))


def mind(
    image: ChannelsTensor, radius: int = 1, dilation: int = 1, dtype: torch.dtype | None = None
) -> ChannelsTensor:
    """Return MIND of an image with the search region of six neighbours, channels in (0, 1].

    Channel ``k`` compares the patch around a voxel with the patch around its ``k``-th neighbour.
    The neighbours lie at the distance ``dilation`` along each axis, first in the negative and then
    in the positive direction. With ``D_k`` the mean squared difference of the two patches and ``V``
    the mean of ``D_k`` over the neighbours, which estimates the local variance, the channel is
    ``exp(-(D_k - min D) / V)``. So the greatest channel is 1. The patch is a box, where the paper
    weights it by a Gaussian.

    Beyond the border the image keeps its border values.

    Args:
        image: ``(N, 1, *size)``; the result has ``2 d`` channels.
        radius, dilation, dtype: as for :func:`mind_ssc`.
    """
    distances = neighbour_distances(image, radius, dilation, dtype)
    excess = distances - distances.min(dim=1, keepdim=True).values
    return _similarity(excess, _mean_over_channels(distances))


def make(weights: str) -> Callable[[ChannelsTensor], ChannelsTensor]:
    """Return :func:`mind_ssc` with its default radius and dilation; it has no weights."""
    return mind_ssc


def self_similarity(distances: ChannelsTensor) -> ChannelsTensor:
    """Return ``exp(-(D - min D) / V)`` of ``distances D (N, C, *size)``.

    ``min D`` and ``V``, the mean of ``D - min D``, are taken over the channels.
    """
    distances = distances - distances.min(dim=1, keepdim=True).values
    return _similarity(distances, _mean_over_channels(distances))


def _mean_over_channels(distances: Tensor) -> Tensor:
    """Return the mean over the channels, in single precision at least.

    It has a single channel, so the higher precision costs little.
    """
    wide = torch.promote_types(distances.dtype, torch.float32)
    return distances.sum(dim=1, keepdim=True, dtype=wide) / distances.shape[1]


def _similarity(distances: Tensor, variance: Tensor) -> Tensor:
    """Return ``exp(-distances / variance)``, the variance held within ``_VARIANCE_BOUNDS``."""
    typical = variance.detach().mean(dim=tuple(range(1, variance.dim())), keepdim=True)
    low, high = (bound * typical for bound in _VARIANCE_BOUNDS)
    # An image without contrast has the variance 0 everywhere. A small number is added. It is large
    # enough for 1 / V not to overflow in the precision of the distances, nor 1 / V^2, which is in
    # the gradient, in the precision of the variance.
    least = max(torch.finfo(distances.dtype).tiny, torch.finfo(variance.dtype).tiny ** 0.5)
    variance = torch.minimum(torch.maximum(variance, low), high) + least
    return torch.exp(distances * (-1 / variance).to(distances.dtype))


def patch_distances(
    image: ChannelsTensor, radius: int, dilation: int, dtype: torch.dtype | None = None
) -> ChannelsTensor:
    """Return the distances ``D_k`` between the patches around pairs of neighbours.

    A distance is the squared difference of two patches, its mean over the voxels of the patch and
    its sum over the channels of the image.

    The unit vectors ``a`` and ``b`` to the two neighbours of a pair, and ``-b`` and ``-a`` of
    another pair, differ by the same vector ``b - a``. With ``s`` the dilation, one field of patch
    distances ``B(y) = mean (I(y) - I(y + s (b - a)))^2`` therefore holds two channels, ``B(x + s
    a)`` and ``B(x - s b)``, which halves the work.

    Args:
        image: ``(N, F, *size)``; the result is ``(N, C, *size)``.
        radius, dilation, dtype: as for :func:`mind_ssc`.
    """
    size = image.shape[2:]
    dimensions = len(size)
    reach = dilation + radius
    extended = F.pad(image, [reach] * 2 * dimensions, mode="replicate")
    channels = []
    for (i, j), sign in itertools.product(itertools.combinations(range(dimensions), 2), (1, -1)):
        # a = e_i and b = sign e_j, with e the unit vectors of the axes. B is needed at x + s a and
        # at x - s b, so its field is s voxels longer along i, and along j on the side away from b.
        start = [reach - radius] * dimensions
        start[j] -= dilation if sign > 0 else 0
        length = [
            n + 2 * radius + (dilation if axis in (i, j) else 0) for axis, n in enumerate(size)
        ]
        shifted = list(start)
        shifted[i] -= dilation
        shifted[j] += sign * dilation
        difference = _ShiftedDifference.apply(
            extended, start, shifted, length, dtype or image.dtype
        )
        distances = _box_mean(difference.square().sum(dim=1, keepdim=True), radius)
        at_a, at_minus_b = [0] * dimensions, [0] * dimensions
        at_a[i] = dilation
        at_a[j] = dilation if sign > 0 else 0
        at_minus_b[j] = 0 if sign > 0 else dilation
        channels += [_window(distances, at_a, size), _window(distances, at_minus_b, size)]
    return torch.cat(channels, dim=1)


def neighbour_distances(
    image: ChannelsTensor, radius: int, dilation: int, dtype: torch.dtype | None = None
) -> ChannelsTensor:
    """Return the distances between the patch around a voxel and those around its neighbours.

    A distance is the mean squared difference of two patches. With ``s`` the dilation and ``e`` the
    unit vector of an axis, one field of patch distances ``B(y) = mean (I(y) - I(y + s e))^2`` holds
    two channels, ``B(x - s e)`` and ``B(x)``.

    Args:
        image: ``(N, 1, *size)``; the result is ``(N, 2 d, *size)``.
        radius, dilation, dtype: as for :func:`mind_ssc`.
    """
    size = image.shape[2:]
    reach = dilation + radius
    extended = F.pad(image, [reach] * 2 * len(size), mode="replicate")
    channels = []
    for axis in range(len(size)):
        start = [0 if a == axis else dilation for a in range(len(size))]
        length = [n + 2 * radius + (dilation if a == axis else 0) for a, n in enumerate(size)]
        shifted = [dilation] * len(size)
        difference = _ShiftedDifference.apply(
            extended, start, shifted, length, dtype or image.dtype
        )
        distances = _box_mean(difference.square(), radius)
        origin = [0] * len(size)
        channels += [_window(distances, origin, size)]
        origin[axis] = dilation
        channels += [_window(distances, origin, size)]
    return torch.cat(channels, dim=1)


class _ShiftedDifference(torch.autograd.Function):
    """The difference of two windows of an image.

    It has a gradient of its own to save time and memory: torch's gradient of a window makes a whole
    image of zeros for each axis along which the window was cut.
    """

    @staticmethod
    def forward(
        context: Any,
        image: Tensor,
        start: Sequence[int],
        shifted: Sequence[int],
        length: Sequence[int],
        dtype: torch.dtype,
    ) -> Tensor:
        context.image = (image.shape, image.dtype)
        context.places = (tuple(start), tuple(shifted), tuple(length))
        return (_window(image, start, length) - _window(image, shifted, length)).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (shape, dtype), (start, shifted, length) = context.image, context.places
        slope = outer.new_zeros(shape, dtype=dtype)
        _window(slope, start, length).add_(outer)
        _window(slope, shifted, length).sub_(outer)
        return slope, None, None, None, None


def _window(image: Tensor, start: Sequence[int], length: Sequence[int]) -> Tensor:
    """Return the part of ``image`` that has ``length`` voxels along each axis from ``start`` on."""
    for axis, (first, n) in enumerate(zip(start, length, strict=True)):
        # An axis that is taken whole is not cut: the gradient of a cut fills a tensor of zeros.
        if n < image.shape[axis + 2]:
            image = image.narrow(axis + 2, first, n)
    return image


def _box_mean(image: Tensor, radius: int) -> Tensor:
    """Return the means over windows of ``2 radius + 1`` voxels an axis that lie inside ``image``.

    The result is ``2 radius`` voxels smaller along each axis.
    """
    return window_average(image, [2 * radius + 1] * (image.dim() - 2)) if radius else image
