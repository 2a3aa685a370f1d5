"""Regularisers: penalties of a displacement or of a velocity."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.regularisers import gradient_magnitude_fused, jacobian_barrier_fused
from diffeode.geometry.shapes import DisplacementTensor, LossTensor, VelocityTensor


def jacobian_determinant(displacement: DisplacementTensor) -> Tensor:
    """Return ``det(I + grad u)`` by forward differences, ``(N, *(size - 1))``.

    The last voxel along each axis has no forward neighbour, hence the smaller size.

    >>> twice_as_wide = torch.arange(4.0).expand(1, 1, 4, 4)
    >>> jacobian_determinant(torch.cat([torch.zeros(1, 1, 4, 4), twice_as_wide], 1)).unique()
    tensor([2.])
    """
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


def jacobian_barrier(
    displacement: DisplacementTensor, barrier: float, squared: bool = False
) -> LossTensor:
    """Return ``mean ReLU(barrier - |J|)``, where ``|J|`` is the determinant of the map's Jacobian.

    This is equation 10 of arXiv 2512.22689.

    Args:
        barrier: the determinant above which nothing is penalised.
        squared: whether to average ``ReLU(barrier - |J|)^2`` instead, as NODEO's code does.

    >>> at_rest = torch.zeros(1, 2, 4, 4)
    >>> jacobian_barrier(at_rest, 0.5).item(), jacobian_barrier(at_rest, 3.0, squared=True).item()
    (0.0, 4.0)
    """
    if serves(displacement) and min(displacement.shape[2:]) > 1:
        return jacobian_barrier_fused(displacement, barrier, squared)
    excess = torch.relu(barrier - jacobian_determinant(displacement))
    return _mean(excess * excess if squared else excess, None)


def gradient_magnitude(
    displacement: DisplacementTensor | VelocityTensor,
    spacing: Sequence[float] | None = None,
    weight: Tensor | None = None,
) -> LossTensor:
    """Return the sum over the axes of the mean squared forward differences.

    This is equation 11 of arXiv 2512.22689, and NODEO's ``loss_df``. The mean runs over voxels and
    components.

    Args:
        spacing: the spacing of the grid, mm; the differences then are millimetres per millimetre.
            None takes voxels per voxel.
        weight: the factor of the squares at each voxel, ``(1, 1, *size)``; a difference between two
            voxels takes their mean. None: 1.

    >>> slope = torch.arange(4.0).expand(1, 1, 4, 4)
    >>> gradient_magnitude(torch.cat([slope, torch.zeros(1, 1, 4, 4)], 1)).item()
    0.5
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
    displacement: DisplacementTensor,
    spacing: Sequence[float] | None = None,
    weight: Tensor | None = None,
) -> LossTensor:
    """Return the bending energy: the sum over axes ``i, j`` of ``mean |d^2 u / dx_i dx_j|^2``.

    Its unit is 1 / mm^2, and it is 0 for affine displacements (Rueckert et al., IEEE Transactions
    on Medical Imaging 18(8), 1999). A derivative along one axis is the second difference at a
    voxel. A mixed derivative is a difference over a cell of four voxels; it counts twice, as ``ij``
    and as ``ji``. An axis that is too short for a difference adds nothing.

    Args:
        spacing: the spacing of the grid, mm; None: 1 along all axes.
        weight: the factor of the squares at each voxel, ``(1, 1, *size)``; a cell takes the mean of
            its voxels. None: 1.

    >>> parabola = torch.arange(6.0).square().view(1, 1, 1, 6).expand(1, 1, 4, 6)
    >>> bending_energy(torch.cat([parabola, torch.zeros(1, 1, 4, 6)], 1)).item()
    4.0
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
    # The means above run over voxels and components; the squared length sums over components.
    return len(lengths) * total


def magnitude(velocity: VelocityTensor) -> LossTensor:
    """Return the mean squared length of the vectors, equation 12 of arXiv 2512.22689.

    >>> magnitude(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)).item()
    25.0
    """
    return (velocity * velocity).sum(dim=1).mean()


def _lengths(displacement: Tensor, spacing: Sequence[float] | None) -> Tensor:
    """Return the lengths of a voxel along the axes, ``(d,)``; 1 where no spacing is given."""
    return displacement.new_tensor(spacing or [1.0] * (displacement.dim() - 2))


def _per_channel(factors: Tensor) -> Tensor:
    """Return ``factors (d,)`` as ``(1, d, 1, ...)``, one for each component of a field."""
    return factors.view(1, -1, *[1] * len(factors))


def _between(weight: Tensor, axis: int) -> Tensor:
    """Return the mean of each two neighbours along ``axis``."""
    n = weight.shape[axis + 2] - 1
    return 0.5 * (weight.narrow(axis + 2, 0, n) + weight.narrow(axis + 2, 1, n))


def _mean(squares: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean over voxels and channels; 0 where there are no voxels."""
    if squares.numel() == 0:
        return squares.new_zeros(())
    return squares.mean() if weight is None else (squares * weight).mean()


def _forward_difference(displacement: Tensor, axis: int) -> Tensor:
    """Return the forward difference along ``axis``.

    It is cut to the voxels that have a forward neighbour along every axis.
    """
    difference = torch.diff(displacement, dim=axis + 2)
    for other in range(displacement.dim() - 2):
        if other != axis:
            difference = difference.narrow(other + 2, 0, displacement.shape[other + 2] - 1)
    return difference
