"""Smoothing of fields ``(N, C, *size)``: Gaussian, box average, and the inverse of ``(Id - alpha Laplacian)^s``."""

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


def inverse_operator(field: Tensor, alpha: float, power: float) -> Tensor:
    """``L^-1 field`` for ``L = (Id - alpha Laplacian)^power`` with Dirichlet-zero border, on the unit cube.

    The discrete Laplacian (zero one voxel beyond the border) is diagonal in the sine basis (DST-I), so this is its
    exact inverse. arXiv 2512.22689, section III-D1 and equation 24; alpha 0.0025 and power 2 are Hernandez's and Beg's
    values (IJCV 61(2), 2005), an assumption, since the paper's own were lost.
    """
    eigenvalues = torch.zeros(1, 1, *[1] * (field.dim() - 2), device=field.device, dtype=field.dtype)
    for axis, n in enumerate(field.shape[2:]):
        field = _sine_transform(field, axis)
        modes = torch.arange(1, n + 1, device=field.device, dtype=field.dtype)
        symbol = (2 - 2 * torch.cos(math.pi * modes / (n + 1))) * (n + 1) ** 2
        eigenvalues = eigenvalues + symbol.view(*[-1 if a == axis + 2 else 1 for a in range(field.dim())])
    field = field / (1 + alpha * eigenvalues) ** power
    for axis in range(field.dim() - 2):
        field = _sine_transform(field, axis)
    return field


def _sine_transform(field: Tensor, axis: int) -> Tensor:
    """Orthonormal DST-I along ``axis``; it is its own inverse."""
    basis = _sine_basis(field.shape[axis + 2]).to(field)
    return torch.movedim(torch.tensordot(field, basis, dims=([axis + 2], [0])), -1, axis + 2)


@lru_cache(maxsize=16)
def _sine_basis(n: int) -> Tensor:
    modes = torch.arange(1, n + 1, dtype=torch.float64)
    return math.sqrt(2 / (n + 1)) * torch.sin(math.pi * torch.outer(modes, modes) / (n + 1))


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
