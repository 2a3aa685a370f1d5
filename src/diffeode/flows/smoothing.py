"""Smoothing of fields ``(N, C, *size)``: Gaussian and box average. The third smoother is
``operator``'s inverse.
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


def gaussian(field: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Gaussian average of standard deviation ``sigma`` voxels, for all axes or one each; border
    values continue.
    """
    sigmas = [sigma] * (field.dim() - 2) if isinstance(sigma, int | float) else sigma
    return _Average.apply(field, [_gaussian_kernel(float(width)) for width in sigmas], True)


def box(field: Tensor, window: int) -> Tensor:
    """Average over ``window`` voxels along each axis (odd), zero beyond the border.

    NODEO's averaging kernel, Wu et al., CVPR 2022 (its code pads with zeros, so the field fades at
    the border).
    """
    kernel = torch.full((window,), 1.0 / window, dtype=torch.float64)
    return _Average.apply(field, [kernel] * (field.dim() - 2), False)


@final
class _Average(torch.autograd.Function):
    """A linear map whose gradient is its transpose: nothing is kept for it."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, kernels: Sequence[Tensor], continued: bool) -> Tensor:
        ctx.kernels, ctx.continued = kernels, continued
        return _averaged(field, kernels, continued, adjoint=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return _averaged(outer, ctx.kernels, ctx.continued, adjoint=True), None, None


def _averaged(field: Tensor, kernels: Sequence[Tensor], continued: bool, adjoint: bool) -> Tensor:
    one = field.flatten(0, 1)[None]
    if serves(one):
        return average_fused(one, kernels, continued, adjoint).view(field.shape)
    for axis, kernel in enumerate(kernels):
        field = _along(field, kernel.tolist(), axis, continued, adjoint)
    return field


@lru_cache(maxsize=64)
def _gaussian_kernel(sigma: float) -> Tensor:
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
    """Average by odd, symmetric ``weights`` along spatial ``axis``, as a sum of shifted copies
    (fast when short).
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
        # What was read from beyond an end was read from that end.
        for distance in range(min(radius, n)):
            beyond = sum(weights[radius + distance + 1 :])
            total.narrow(dim, 0, 1).add_(field.narrow(dim, distance, 1), alpha=beyond)
            total.narrow(dim, n - 1, 1).add_(field.narrow(dim, n - 1 - distance, 1), alpha=beyond)
    return total
