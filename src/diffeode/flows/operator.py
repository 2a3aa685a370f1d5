"""The operator of LDDMM, ``L = (Id - alpha Laplacian)^power`` on the unit cube, its inverse and its
norm.

The discrete Laplacian is diagonal in a trigonometric basis, so powers and inverses are exact.
``dirichlet``: zero one voxel beyond the border, sine basis (DST-I), spacing ``1 / (n + 1)``; arXiv
2512.22689, section III-D1 and equation 24, states this one. ``periodic``: opposite sides are
neighbours, Fourier basis, spacing ``1 / n``. alpha 0.0025 and power 2 are Hernandez's and Beg's
values (IJCV 61(2), 2005), an assumption, since the paper's own were lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from diffeode.flows.velocity import kinetic_energy

BOUNDARIES = ("dirichlet", "periodic")


def operator(field: Tensor, alpha: float, power: float, boundary: str = "dirichlet") -> Tensor:
    """``L field`` of ``(N, C, *size)``, each channel by itself; self-adjoint."""
    size, axes = field.shape[2:], range(field.dim() - 2)
    if boundary == "periodic":
        spectrum = torch.fft.rfftn(field, dim=[axis + 2 for axis in axes])
        # Of the last axis only the modes up to half are stored; the others are their conjugates.
        rates = [
            torch.arange(m, dtype=torch.float64) / n
            for m, n in zip(spectrum.shape[2:], size, strict=True)
        ]
        spectrum = spectrum * _symbol(rates, size, alpha, power, field)
        return torch.fft.irfftn(spectrum, s=size, dim=[axis + 2 for axis in axes])
    for axis in axes:
        field = _sine_transform(field, axis)
    rates = [torch.arange(1, n + 1, dtype=torch.float64) / (2 * (n + 1)) for n in size]
    field = field * _symbol(rates, [n + 1 for n in size], alpha, power, field)
    for axis in axes:
        field = _sine_transform(field, axis)
    return field


def inverse_operator(
    field: Tensor, alpha: float, power: float, boundary: str = "dirichlet"
) -> Tensor:
    """``L^-1 field``, which smooths."""
    return operator(field, alpha, -power, boundary)


def operator_norm(
    velocity: Tensor,
    alpha: float,
    power: float,
    boundary: str = "dirichlet",
    mean_square: Callable[[Tensor], Tensor] = kinetic_energy,
) -> Tensor:
    """Squared V-norm of a velocity ``(K, d, *size)``: mean over voxels and time of ``|L v|^2``, a
    scalar.

    Args:
        mean_square: the mean over voxels and time of the squared length of such a velocity.
    """
    return mean_square(operator(velocity, alpha, power, boundary))


def _symbol(
    rates: list[Tensor], cells: Sequence[int], alpha: float, power: float, like: Tensor
) -> Tensor:
    """What ``L`` multiplies each mode by; ``rates`` are cycles per voxel, ``cells`` voxels per
    unit, by axis.
    """
    eigenvalues = torch.zeros((), device=like.device, dtype=like.dtype)
    for rate, n in zip(rates, cells, strict=True):
        eigenvalues = eigenvalues[..., None] + ((2 - 2 * torch.cos(2 * math.pi * rate)) * n**2).to(
            like
        )
    return (1 + alpha * eigenvalues) ** power


def _sine_transform(field: Tensor, axis: int) -> Tensor:
    """Orthonormal DST-I along ``axis``; it is its own inverse."""
    basis = _sine_basis(field.shape[axis + 2]).to(field)
    return torch.movedim(torch.tensordot(field, basis, dims=([axis + 2], [0])), -1, axis + 2)


@lru_cache(maxsize=16)
def _sine_basis(n: int) -> Tensor:
    modes = torch.arange(1, n + 1, dtype=torch.float64)
    return math.sqrt(2 / (n + 1)) * torch.sin(math.pi * torch.outer(modes, modes) / (n + 1))
