"""Regularisers of a displacement ``u (N, d, *size)`` in voxels of its grid; each returns a
scalar.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.regularisers import gradient_magnitude_fused, jacobian_barrier_fused


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """``det(I + grad u)`` by forward differences, ``(N, *(size - 1))``."""
    rows = [_forward_difference(displacement, axis) for axis in range(displacement.dim() - 2)]
    for axis, row in enumerate(rows):
        row[:, axis] += 1
    if len(rows) == 2:
        a, b = rows
        return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    a, b, c = rows
    return (
        a[:, 0] * (b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1])
        - a[:, 1] * (b[:, 0] * c[:, 2] - b[:, 2] * c[:, 0])
        + a[:, 2] * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    )


def jacobian_barrier(displacement: Tensor, barrier: float, squared: bool = False) -> Tensor:
    """``mean ReLU(barrier - |J|)``, arXiv 2512.22689 equation 10; squared as in NODEO's code."""
    if serves(displacement) and min(displacement.shape[2:]) > 1:
        return jacobian_barrier_fused(displacement, barrier, squared)
    excess = torch.relu(barrier - jacobian_determinant(displacement))
    return _mean(excess * excess if squared else excess, None)


def gradient_magnitude(
    displacement: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None
) -> Tensor:
    """Sum over the axes of the mean squared forward differences, arXiv 2512.22689 equation 11
    (NODEO's ``loss_df``).

    Args:
        spacing: of the grid, mm; differences are then of millimetres per millimetre. None: all axes
            alike.
        weight: ``(1, 1, *size)``, multiplies the squares; between two voxels their mean holds.
            None: 1.
    """
    lengths = _lengths(displacement, spacing)
    if serves(displacement) and weight is None:
        return gradient_magnitude_fused(displacement, lengths.tolist())
    total = displacement.new_zeros(())
    for axis in range(len(lengths)):
        slope = torch.diff(displacement, dim=axis + 2) * _per_channel(lengths / lengths[axis])
        total = total + _mean(slope * slope, None if weight is None else _between(weight, axis))
    return total


def bending_energy(
    displacement: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None
) -> Tensor:
    """Sum over pairs of axes ``i, j`` of the mean of ``|d^2 u / dx_i dx_j|^2``, per mm^2; 0 for
    affine displacements.

    Rueckert et al., IEEE TMI 18(8), 1999. Pure derivatives are second differences at a voxel, mixed
    ones (counted twice, as ``ij`` and ``ji``) differences over a cell of four voxels; an axis too
    short for one adds none.

    Args:
        spacing: of the grid, mm. None: 1 along all axes.
        weight: ``(1, 1, *size)``, multiplies the squares; in a cell the mean of its voxels holds.
            None: 1.
    """
    lengths = _lengths(displacement, spacing)
    total = displacement.new_zeros(())
    for i, j in itertools.combinations_with_replacement(range(len(lengths)), 2):
        bend = torch.diff(torch.diff(displacement, dim=i + 2), dim=j + 2)
        bend = bend * _per_channel(lengths / (lengths[i] * lengths[j]))
        if weight is None:
            here = None
        elif i == j:
            here = weight.narrow(i + 2, 1, max(0, weight.shape[i + 2] - 2))
        else:
            here = _between(_between(weight, i), j)
        total = total + (1 if i == j else 2) * _mean(bend * bend, here)
    return len(lengths) * total


def magnitude(velocity: Tensor) -> Tensor:
    """Mean squared length of the vectors, arXiv 2512.22689 equation 12."""
    return (velocity * velocity).sum(dim=1).mean()


def _lengths(displacement: Tensor, spacing: Sequence[float] | None) -> Tensor:
    return displacement.new_tensor(spacing or [1.0] * (displacement.dim() - 2))


def _per_channel(factors: Tensor) -> Tensor:
    """``(d,)`` as ``(1, d, 1, ...)``."""
    return factors.view(1, -1, *[1] * len(factors))


def _between(weight: Tensor, axis: int) -> Tensor:
    """Mean of neighbours along ``axis``."""
    n = weight.shape[axis + 2] - 1
    return 0.5 * (weight.narrow(axis + 2, 0, n) + weight.narrow(axis + 2, 1, n))


def _mean(squares: Tensor, weight: Tensor | None) -> Tensor:
    """Over voxels and channels; 0 where there are none."""
    if squares.numel() == 0:
        return squares.new_zeros(())
    return squares.mean() if weight is None else (squares * weight).mean()


def _forward_difference(displacement: Tensor, axis: int) -> Tensor:
    """Difference along ``axis``, cut to the voxels that have a neighbour along every axis."""
    difference = torch.diff(displacement, dim=axis + 2)
    for other in range(displacement.dim() - 2):
        if other != axis:
            difference = difference.narrow(other + 2, 0, displacement.shape[other + 2] - 1)
    return difference
