"""Smoothing by a Gaussian or by a box.

The third smoother of velocities is :func:`diffeode.flows.operator.inverse_operator`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffeode.fused.compiler import serves
from diffeode.fused.smoothing import average_fused
from diffeode.geometry.determinism import window_average
from diffeode.geometry.shapes import ChannelsTensor


def gaussian(field: ChannelsTensor, sigma: float | Sequence[float]) -> ChannelsTensor:
    """Return ``field`` smoothed by a Gaussian; beyond the border its border values continue.

    Args:
        sigma: the standard deviation, voxels, for all axes or one for each; 0 smooths nothing.

    >>> constant = torch.ones(1, 1, 4, 4)
    >>> torch.allclose(gaussian(constant, 1.5), constant)
    True
    """
    sigmas = [sigma] * (field.dim() - 2) if isinstance(sigma, int | float) else sigma
    return _Average.apply(field, [_gaussian_kernel(float(width)) for width in sigmas], True)


def box(field: ChannelsTensor, window: int) -> ChannelsTensor:
    """Return the average of ``field`` over ``window`` voxels along each axis, an odd number.

    This is NODEO's averaging kernel (Wu et al., CVPR 2022). As in NODEO's code the field counts as
    0 beyond the border, so the average fades there.

    >>> box(torch.ones(1, 1, 4, 4), 3)[0, 0, 1].tolist()[1:3]
    [1.0, 1.0]
    """
    kernel = torch.full((window,), 1.0 / window, dtype=torch.float64)
    return _Average.apply(field, [kernel] * (field.dim() - 2), False)


@final
class _Average(torch.autograd.Function):
    """A linear map; its gradient is the transpose, for which nothing need be kept."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, kernels: Sequence[Tensor], continued: bool) -> Tensor:
        ctx.kernels, ctx.continued = kernels, continued
        return _averaged(field, kernels, continued, adjoint=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return _averaged(outer, ctx.kernels, ctx.continued, adjoint=True), None, None


def _averaged(
    field: ChannelsTensor, kernels: Sequence[Tensor], continued: bool, adjoint: bool
) -> ChannelsTensor:
    """Return the average of ``field`` by a symmetric kernel along each axis.

    Args:
        continued: whether the border values continue beyond the border; otherwise zeros do.
        adjoint: whether to apply the transpose of the average instead.
    """
    # The CPU kernels take one image of many channels; N images are that, since channels are
    # averaged independently.
    one = field.flatten(0, 1)[None]
    if serves(one):
        return average_fused(one, kernels, continued, adjoint).view(field.shape)
    for axis, kernel in enumerate(kernels):
        field = _along(field, kernel.tolist(), axis, continued, adjoint)
    return field


@lru_cache(maxsize=64)
def _gaussian_kernel(sigma: float) -> Tensor:
    """Return the weights of a Gaussian at whole voxels up to three standard deviations, sum 1."""
    if sigma <= 0:
        return torch.ones(1, dtype=torch.float64)
    radius = max(1, math.ceil(3 * sigma))
    weights = torch.exp(
        -0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2
    )
    return weights / weights.sum()


def _along(
    field: Tensor, weights: Sequence[float], axis: int, continued: bool, adjoint: bool
) -> Tensor:
    """Return the average by symmetric ``weights``, an odd number, along the spatial ``axis``.

    It is a sum of shifted copies, which is fast as long as there are few weights.
    """
    radius, dim, n = len(weights) // 2, axis + 2, field.shape[axis + 2]
    pad = [0, 0] * (field.dim() - dim - 1) + [radius, radius] + [0, 0] * axis
    padded = F.pad(field, pad, mode="replicate" if continued and not adjoint else "constant")
    if not continued and len(set(weights)) == 1:
        return window_average(
            padded, [len(weights) if a == axis else 1 for a in range(field.dim() - 2)]
        )
    total = weights[radius] * field
    for k in range(1, radius + 1):
        mirrored = padded.narrow(dim, radius - k, n) + padded.narrow(dim, radius + k, n)
        total.add_(mirrored, alpha=weights[radius + k])
    if continued and adjoint:
        # The average at a voxel within `radius` of an end reads the voxel at that end in place of
        # all voxels beyond it. So the transpose adds the voxel's value to that end, times the sum
        # of the weights beyond.
        for distance in range(min(radius, n)):
            beyond = sum(weights[radius + distance + 1 :])
            total.narrow(dim, 0, 1).add_(field.narrow(dim, distance, 1), alpha=beyond)
            total.narrow(dim, n - 1, 1).add_(field.narrow(dim, n - 1 - distance, 1), alpha=beyond)
    return total
