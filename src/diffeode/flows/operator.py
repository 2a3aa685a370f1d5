"""The operator of LDDMM, ``L = (Id - alpha Laplacian)^power`` on the unit cube.

``L`` goes back to Beg et al., IJCV 61(2), 2005. The discrete Laplacian of second differences is
diagonal in a trigonometric basis, so every power of ``Id - alpha Laplacian``, and with it the
inverse, is exact up to rounding. There are two boundary conditions:

- ``dirichlet``: the field is 0 one voxel beyond the border. The basis is that of the discrete sine
  transform of type I (DST-I), the spacing is ``1 / (n + 1)``. This is the condition of arXiv
  2512.22689, section III-D1 and equation 24.
- ``periodic``: opposite sides are neighbours. The basis is Fourier's, the spacing is ``1 / n``.

The text of arXiv 2512.22689 has lost its ``alpha`` and ``power``. Those of ``paper-mind``,
``paper-cl`` and ``paper-lmi`` were searched for (``benchmarks/results/search.md``); the defaults
0.0025 and 2, which ``paper-lddmm`` takes, are an assumption after Beg et al. and the papers of
Hernández on LDDMM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from diffeode.flows.velocity import kinetic_energy
from diffeode.geometry.shapes import ChannelsTensor, LossTensor, VelocityTensor

BOUNDARIES = ("dirichlet", "periodic")
"""Names of the boundary conditions."""


def operator(
    field: ChannelsTensor, alpha: float, power: float, boundary: str = "dirichlet"
) -> ChannelsTensor:
    """Return ``L field``, each channel by itself; ``L`` is self-adjoint.

    Args:
        alpha: the factor of the Laplacian, in squared widths of the box.
        power: the exponent of ``Id - alpha Laplacian``; below 0 for the inverse.
        boundary: one of :data:`BOUNDARIES`.

    >>> constant = torch.ones(1, 1, 8, 8)
    >>> torch.allclose(operator(constant, 0.0025, 2.0, "periodic"), constant)
    True
    """
    size, axes = field.shape[2:], range(field.dim() - 2)
    if boundary == "periodic":
        spectrum = torch.fft.rfftn(field, dim=[axis + 2 for axis in axes])
        # Along the last axis rfftn stores the modes up to half a cycle per voxel; the others are
        # their conjugates. The cosine is even, so negative frequencies need no care.
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
    field: ChannelsTensor, alpha: float, power: float, boundary: str = "dirichlet"
) -> ChannelsTensor:
    """Return ``L^-1 field``, which is a smoothed ``field``; see :func:`operator`.

    >>> field = torch.rand(1, 2, 6, 5, dtype=torch.float64)
    >>> rough = operator(field, 0.0025, 2.0)
    >>> torch.allclose(inverse_operator(rough, 0.0025, 2.0), field)
    True
    """
    return operator(field, alpha, -power, boundary)


def operator_norm(
    velocity: VelocityTensor,
    alpha: float,
    power: float,
    boundary: str = "dirichlet",
    mean_square: Callable[[VelocityTensor], LossTensor] = kinetic_energy,
) -> LossTensor:
    """Return the squared V-norm of ``velocity``: the mean over voxels and time of ``|L v|^2``.

    Args:
        mean_square: returns the mean over voxels and time of the squared length of such a velocity.
    """
    return mean_square(operator(velocity, alpha, power, boundary))


def _symbol(
    rates: list[Tensor], cells: Sequence[int], alpha: float, power: float, like: Tensor
) -> Tensor:
    """Return the factor by which ``L`` multiplies each mode, one axis of the result for each axis.

    Args:
        rates: the frequencies of the modes along each axis, cycles per voxel.
        cells: the number of voxels per unit of length along each axis.
        like: the result has its device and dtype.
    """
    eigenvalues = torch.zeros((), device=like.device, dtype=like.dtype)
    for rate, n in zip(rates, cells, strict=True):
        # Minus the second difference (-1, 2, -1) multiplies a mode by 2 - 2 cos(2 pi rate).
        along = (2 - 2 * torch.cos(2 * math.pi * rate)) * n**2
        eigenvalues = eigenvalues[..., None] + along.to(like)
    return (1 + alpha * eigenvalues) ** power


def _sine_transform(field: ChannelsTensor, axis: int) -> ChannelsTensor:
    """Return the orthonormal DST-I of ``field`` along ``axis``; the transform is its own
    inverse.
    """
    basis = _sine_basis(field.shape[axis + 2]).to(field)
    return torch.movedim(torch.tensordot(field, basis, dims=([axis + 2], [0])), -1, axis + 2)


@lru_cache(maxsize=16)
def _sine_basis(n: int) -> Tensor:
    """Return the matrix ``(n, n)`` of the orthonormal DST-I, in double precision."""
    modes = torch.arange(1, n + 1, dtype=torch.float64)
    return math.sqrt(2 / (n + 1)) * torch.sin(math.pi * torch.outer(modes, modes) / (n + 1))
