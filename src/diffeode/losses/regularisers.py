"""Regularisers of a displacement ``u (N, d, *size)`` in voxels of its grid; each returns a scalar."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
    excess = torch.relu(barrier - jacobian_determinant(displacement))
    return (excess * excess if squared else excess).mean()


def gradient_magnitude(displacement: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Sum over the axes of the mean squared forward differences, arXiv 2512.22689 equation 11 (NODEO's ``loss_df``).

    Args:
        spacing: of the grid, mm; differences are then of millimetres per millimetre. None: all axes alike.
    """
    dimensions = displacement.dim() - 2
    lengths = displacement.new_tensor(spacing or [1.0] * dimensions)
    total = displacement.new_zeros(())
    for axis in range(dimensions):
        slope = torch.diff(displacement, dim=axis + 2) * (lengths / lengths[axis]).view(1, -1, *[1] * dimensions)
        total = total + (slope * slope).mean()
    return total


def magnitude(velocity: Tensor) -> Tensor:
    """Mean squared length of the vectors, arXiv 2512.22689 equation 12."""
    return (velocity * velocity).sum(dim=1).mean()


def _forward_difference(displacement: Tensor, axis: int) -> Tensor:
    """Difference along ``axis``, cut to the voxels that have a neighbour along every axis."""
    difference = torch.diff(displacement, dim=axis + 2)
    for other in range(displacement.dim() - 2):
        if other != axis:
            difference = difference.narrow(other + 2, 0, displacement.shape[other + 2] - 1)
    return difference
