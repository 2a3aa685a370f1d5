"""Smoothing of fields ``(N, C, *size)``: Gaussian and box average. The third smoother is ``operator``'s inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian(field: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Gaussian average of standard deviation ``sigma`` voxels, for all axes or one each; border values continue."""
    sigmas = [sigma] * (field.dim() - 2) if isinstance(sigma, int | float) else sigma
    for axis, width in enumerate(sigmas):
        if width > 0:
            field = _along(field, _gaussian_kernel(float(width)).to(field), axis)
    return field


def box(field: Tensor, window: int) -> Tensor:
    """Average over ``window`` voxels along each axis (odd), zero beyond the border.

    NODEO's averaging kernel, Wu et al., CVPR 2022 (its code pads with zeros, so the field fades at the border).
    """
    for axis in range(field.dim() - 2):
        field = _along(field, torch.full((window,), 1.0 / window).to(field), axis, mode="constant")
    return field


@lru_cache(maxsize=64)
def _gaussian_kernel(sigma: float) -> Tensor:
    radius = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return weights / weights.sum()


def _along(field: Tensor, kernel: Tensor, axis: int, mode: str = "replicate") -> Tensor:
    """Correlation with an odd ``kernel (k,)`` along spatial ``axis``, as a sum of shifted copies (fast when short)."""
    radius, n = kernel.numel() // 2, field.shape[axis + 2]
    pad = [0, 0] * (field.dim() - 2)
    position = 2 * (field.dim() - 3 - axis)
    pad[position] = pad[position + 1] = radius
    padded = F.pad(field, pad, mode=mode)
    total = kernel[0] * padded.narrow(axis + 2, 0, n)
    for offset in range(1, kernel.numel()):
        total = torch.addcmul(total, padded.narrow(axis + 2, offset, n), kernel[offset])
    return total
