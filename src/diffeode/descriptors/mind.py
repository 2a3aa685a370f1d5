"""MIND-SSC, self-similarity of a voxel's six neighbours, and MIND, similarity of a voxel to them;
blind to contrast.

Heinrich et al., MICCAI 2013 (self-similarity context) and MedIA 16(7), 2012 (MIND); arXiv
2512.22689, equations 13 to 15.
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

_VARIANCE_BOUNDS = (1e-3, 1e3)
"""Local variance is kept within these multiples of its mean over the image."""


def mind_ssc(
    image: Tensor, radius: int = 1, dilation: int = 2, dtype: torch.dtype | None = None
) -> Tensor:
    """Descriptor of ``image (N, 1, *size)`` as ``(N, C, *size)`` in (0, 1], with C = 12 in 3-D and
    4 in 2-D.

    Channel k compares the patches of ``(2 radius + 1)^d`` voxels around two of the voxel's
    neighbours at distance ``dilation`` that share an edge: ``exp(-(D_k - min D) / V)`` with ``D_k``
    the mean squared difference of the patches and ``V`` the mean of ``D_k - min D`` over the
    channels. Beyond the border the image keeps its border values.

    Args:
        dtype: of the descriptor and of all that is made for it but differences of intensities and
            ``V``; None: the image's. In half precision squared differences of 1e-4 to 6e4 are told
            apart well, so it takes intensities of order 100.
    """
    return self_similarity(patch_distances(image, radius, dilation, dtype))


def mind(
    image: Tensor, radius: int = 1, dilation: int = 1, dtype: torch.dtype | None = None
) -> Tensor:
    """Descriptor of ``image (N, 1, *size)`` as ``(N, 2 d, *size)`` in (0, 1], one channel per
    neighbour, - before +.

    Channel k compares the patch of ``(2 radius + 1)^d`` voxels around the voxel with the one around
    its k-th neighbour
    on the axes, at distance ``dilation``: ``exp(-(D_k - min D) / V)`` with ``D_k`` the mean squared
    difference of the patches and ``V``, the local variance, the mean of ``D_k`` over the
    neighbours. This is MIND with the six-neighbour search region, scaled to a greatest value of 1,
    and a box in place of the Gaussian over the patch. Beyond the border the image keeps its border
    values. For ``dtype`` see :func:`mind_ssc`.
    """
    distances = neighbour_distances(image, radius, dilation, dtype)
    return _similarity(
        distances - distances.min(dim=1, keepdim=True).values, _mean_over_channels(distances)
    )


def make(weights: str) -> Callable[[Tensor], Tensor]:
    """:func:`mind_ssc` with our radius and dilation; it has no weights
    (:mod:`diffeode.descriptors.registry`).
    """
    return mind_ssc


def self_similarity(distances: Tensor) -> Tensor:
    """``exp(-(D - min D) / V)`` of ``distances (N, C, *size)``, V the mean of ``D - min D`` over
    the channels.
    """
    distances = distances - distances.min(dim=1, keepdim=True).values
    return _similarity(distances, _mean_over_channels(distances))


def _mean_over_channels(distances: Tensor) -> Tensor:
    """In single precision at least; one channel, so cheap."""
    wide = torch.promote_types(distances.dtype, torch.float32)
    return distances.sum(dim=1, keepdim=True, dtype=wide) / distances.shape[1]


def _similarity(distances: Tensor, variance: Tensor) -> Tensor:
    """``exp(-distances / variance)``, the variance kept near its mean over the image."""
    typical = variance.detach().mean(dim=tuple(range(1, variance.dim())), keepdim=True)
    low, high = (bound * typical for bound in _VARIANCE_BOUNDS)
    # Where nothing has contrast: 1 / V must be a number among the distances, and its square one
    # among variances.
    least = max(torch.finfo(distances.dtype).tiny, torch.finfo(variance.dtype).tiny ** 0.5)
    variance = torch.minimum(torch.maximum(variance, low), high) + least
    return torch.exp(distances * (-1 / variance).to(distances.dtype))


def patch_distances(
    image: Tensor, radius: int, dilation: int, dtype: torch.dtype | None = None
) -> Tensor:
    """Squared differences ``D_k`` between patches, the mean over the patch and the sum over the
    image's channels.

    Of ``image (N, F, *size)`` they are ``(N, C, *size)``, of ``dtype`` or the image's.
    The neighbours ``a, b`` and the neighbours ``-b, -a`` differ by the same vector, so one field of
    patch distances ``B(y) = mean (I(y) - I(y + d (b - a)))^2`` gives two channels: ``B(x + d a)``
    and ``B(x - d b)``.
    """
    size = image.shape[2:]
    dimensions = len(size)
    reach = dilation + radius
    extended = F.pad(image, [reach] * 2 * dimensions, mode="replicate")
    channels = []
    for (i, j), sign in itertools.product(itertools.combinations(range(dimensions), 2), (1, -1)):
        # a = e_i and b = sign e_j; the field is needed d further along i, and along j on the side
        # away from b.
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
    image: Tensor, radius: int, dilation: int, dtype: torch.dtype | None = None
) -> Tensor:
    """Mean squared differences between a voxel's patch and its neighbours', ``(N, 2 d, *size)`` of
    ``dtype``.

    The field ``B(y) = mean (I(y) - I(y + dilation e))^2`` along an axis gives two channels: ``B(x -
    dilation e)`` and ``B(x)``.
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
    """Of two windows; torch's own gradient of a window is a whole image of zeros for each axis it
    is cut on.
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
        context.image, context.places = (
            (image.shape, image.dtype),
            (tuple(start), tuple(shifted), tuple(length)),
        )
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
    for axis, (first, n) in enumerate(zip(start, length, strict=True)):
        # The gradient of what is cut lies in zeros of the whole's size, even where nothing was cut.
        if n < image.shape[axis + 2]:
            image = image.narrow(axis + 2, first, n)
    return image


def _box_mean(image: Tensor, radius: int) -> Tensor:
    """Mean over ``(2 radius + 1)^d`` voxels where the window fits, so ``2 radius`` smaller along
    each axis.
    """
    return window_average(image, [2 * radius + 1] * (image.dim() - 2)) if radius else image
