"""Averages along the axes of a volume, and their transposes (:mod:`diffeode.flows.smoothing`).

Kernels are symmetric, so a voxel and its mirror image share a weight: they are added before they
are multiplied, which halves the products, and only half of the weights is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel


def average_fused(
    field: Tensor, kernels: Sequence[Tensor], continued: bool, adjoint: bool
) -> Tensor:
    """Return the average of ``field`` by a symmetric kernel along each axis.

    Args:
        field: ``(1, C, X, Y, Z)``, float32, on the CPU.
        kernels: the weights along each axis, an odd number.
        continued: whether the border values continue beyond the border; otherwise zeros do.
        adjoint: whether to apply the transpose of the average instead.
    """
    along_x, along_y, along_z = (_half(weights) for weights in kernels)
    source, planes, out = (
        field.contiguous()[0].numpy(),
        field.new_empty(field.shape),
        field.new_empty(field.shape),
    )
    _average_planes(source, along_y, along_z, continued, adjoint, planes[0].numpy())
    _average_across(planes[0].numpy(), along_x, continued, adjoint, out[0].numpy())
    return out


def _half(weights: Tensor) -> np.ndarray:
    """Return the middle weight and those behind it; those before it are the same."""
    return weights[weights.numel() // 2 :].numpy().astype(np.float32)


@kernel
def _average_planes(source, along_y, along_z, continued, adjoint, out):
    """Write the averages along the last two axes to ``out``, plane by plane."""
    channels, nx, ny, nz = source.shape
    for plane in prange(channels * nx):
        # Both axes lie in one plane. So a row that was averaged across rows is averaged along
        # itself at once, and nothing in between is written to memory.
        channel, x = plane // nx, plane % nx
        row, padded = np.empty(nz, np.float32), np.empty(nz + 2 * along_z.shape[0] - 2, np.float32)
        for y in range(ny):
            _average_rows(source[channel, x], y, along_y, continued, adjoint, row)
            _average_row(row, along_z, continued, adjoint, padded, out[channel, x, y])


@kernel
def _average_across(source, along_x, continued, adjoint, out):
    """Write the averages along the first axis to ``out``.

    The innermost loop runs along rows all the same, since a whole row is averaged with its
    neighbours at once.
    """
    channels, nx, ny, _nz = source.shape
    for plane in prange(channels * ny):
        channel, y = plane // ny, plane % ny
        for x in range(nx):
            _average_rows(source[channel, :, y], x, along_x, continued, adjoint, out[channel, x, y])


@inlined
def _average_rows(rows, at, weights, continued, adjoint, out):
    """Write the average of the rows around row ``at`` of ``rows (n, Z)`` to ``out``."""
    n, nz = rows.shape
    radius = weights.shape[0] - 1
    for z in range(nz):
        out[z] = weights[0] * rows[at, z]
    for k in range(1, radius + 1):
        low, high, weight = at - k, at + k, weights[k]
        if continued and not adjoint:
            low, high = max(low, 0), min(high, n - 1)
        if low >= 0 and high < n:
            for z in range(nz):
                out[z] += weight * (rows[low, z] + rows[high, z])
        elif low >= 0 or high < n:
            inside = low if low >= 0 else high
            for z in range(nz):
                out[z] += weight * rows[inside, z]
    if continued and adjoint:
        # Rows within `radius` of an end read the row at that end in place of all rows beyond it, so
        # the transpose hands their values back to it, times the sum of the weights beyond.
        for distance in range(min(radius, n)):
            beyond = weights[distance + 1 :].sum()
            if at == 0:
                for z in range(nz):
                    out[z] += beyond * rows[distance, z]
            if at == n - 1:
                for z in range(nz):
                    out[z] += beyond * rows[n - 1 - distance, z]


@inlined
def _average_row(row, weights, continued, adjoint, padded, out):
    """Write the average along ``row (Z,)`` to ``out``.

    The row is copied to ``padded`` with its continuation, so that the loop over weights needs no
    conditions at the ends.
    """
    nz, radius = row.shape[0], weights.shape[0] - 1
    continues = continued and not adjoint
    for z in range(radius):
        padded[z] = row[0] if continues else np.float32(0)
        padded[nz + radius + z] = row[nz - 1] if continues else np.float32(0)
    for z in range(nz):
        padded[radius + z] = row[z]
        out[z] = weights[0] * row[z]
    for k in range(1, radius + 1):
        weight, low, high = weights[k], padded[radius - k :], padded[radius + k :]
        for z in range(nz):
            out[z] += weight * (low[z] + high[z])
    if continued and adjoint:
        for distance in range(min(radius, nz)):
            beyond = weights[distance + 1 :].sum()
            out[0] += beyond * row[distance]
            out[nz - 1] += beyond * row[nz - 1 - distance]
