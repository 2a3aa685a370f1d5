"""Penalties of a displacement and their gradients (:mod:`diffeode.losses.regularisers`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel
from diffeode.fused.gradient import with_gradient


def gradient_magnitude_fused(displacement: Tensor, lengths: Sequence[float]) -> Tensor:
    """Return the sum over the axes of the mean squared forward differences.

    Args:
        displacement: ``(1, 3, X, Y, Z)``, voxels, float32, on the CPU.
        lengths: the length of a voxel along each axis.
    """
    # A difference of component i along axis j counts by (length_i / length_j)^2, divided by the
    # number of such differences, of which an axis of a single voxel has none. `divide.outer` is
    # that quotient of lengths.
    size = displacement.shape[2:]
    pairs = [3 * displacement[0, 0].numel() // n * (n - 1) for n in size]
    squared = np.square(np.divide.outer(lengths, lengths))
    factors = np.divide(squared, pairs, out=np.zeros((3, 3)), where=np.array(pairs) > 0)

    def value_and_gradient(field: Tensor) -> tuple[float, Tensor]:
        gradient = field.new_empty(field.shape)
        return _squared_differences(
            field.contiguous()[0].numpy(), factors, gradient[0].numpy()
        ), gradient

    return with_gradient(displacement, value_and_gradient)


def jacobian_barrier_fused(displacement: Tensor, barrier: float, squared: bool) -> Tensor:
    """Return ``mean ReLU(barrier - |J|)``, or the mean of its square.

    Args:
        displacement: ``(1, 3, X, Y, Z)``, voxels, float32, on the CPU, with two voxels or more
            along each axis.
    """

    def value_and_gradient(field: Tensor) -> tuple[float, Tensor]:
        source, gradient = field.contiguous()[0].numpy(), field.new_zeros(field.shape)
        cells = tuple(n - 1 for n in field.shape[2:])
        slopes = np.empty(cells, np.float32)
        value = _excess(source, np.float32(barrier), squared, 1.0 / slopes.size, slopes)
        _by_corners(source, slopes, gradient[0].numpy())
        return value, gradient

    return with_gradient(displacement, value_and_gradient)


@kernel
def _squared_differences(field, factors, gradient):
    """Return the weighted sum of squared forward differences; derivatives go to ``gradient``.

    Every voxel collects the derivatives of the differences to its neighbours on both sides, so that
    threads write to places of their own. Each difference is therefore computed twice, and only the
    forward one is added to the total.

    Args:
        factors: the weight of a squared difference, by component and axis.
    """
    channels, nx, ny, _nz = field.shape
    totals = np.zeros(channels * nx, np.float64)
    for plane in prange(channels * nx):
        channel, x = plane // nx, plane % nx
        along_x, along_y, along_z = factors[channel, 0], factors[channel, 1], factors[channel, 2]
        total = 0.0
        for y in range(ny):
            here, slopes = field[channel, x, y], gradient[channel, x, y]
            slopes[:] = 0
            if x > 0:
                _difference(here, field[channel, x - 1, y], along_x, slopes)
            if x < nx - 1:
                total += _difference(here, field[channel, x + 1, y], along_x, slopes)
            if y > 0:
                _difference(here, field[channel, x, y - 1], along_y, slopes)
            if y < ny - 1:
                total += _difference(here, field[channel, x, y + 1], along_y, slopes)
            _difference(here[1:], here[:-1], along_z, slopes[1:])
            total += _difference(here[:-1], here[1:], along_z, slopes[:-1])
        totals[plane] = total
    return totals.sum()


@inlined
def _difference(here, there, factor, slopes):
    """Return the weighted sum of squares of ``here - there``; add its derivative by ``here`` to
    ``slopes``.
    """
    total, twice = 0.0, np.float32(2 * factor)
    for z in range(here.shape[0]):
        difference = here[z] - there[z]
        total += difference * difference
        slopes[z] += twice * difference
    return factor * total


@inlined
def _differences(field, x, y, z):
    """Return the nine numbers of ``I + grad u`` by forward differences, one row for each axis."""
    a, b, c = field[0, x, y, z], field[1, x, y, z], field[2, x, y, z]
    one = np.float32(1)
    return (
        field[0, x + 1, y, z] - a + one,
        field[1, x + 1, y, z] - b,
        field[2, x + 1, y, z] - c,
        field[0, x, y + 1, z] - a,
        field[1, x, y + 1, z] - b + one,
        field[2, x, y + 1, z] - c,
        field[0, x, y, z + 1] - a,
        field[1, x, y, z + 1] - b,
        field[2, x, y, z + 1] - c + one,
    )


@inlined
def _cross(a, b, c, u, v, w):
    """Return the cross product ``(a, b, c) x (u, v, w)``.

    It is the derivative, by the third row, of the determinant whose first two rows these are.
    """
    return b * w - c * v, c * u - a * w, a * v - b * u


@kernel
def _excess(field, barrier, squared, scale, slopes):
    """Return the mean of ``ReLU(barrier - |J|)``, or of its square, over all cells.

    The derivatives by the determinants of the cells are written to ``slopes``. A cell is a voxel
    with its three forward neighbours.
    """
    nx, ny, nz = slopes.shape
    totals = np.zeros(nx, np.float64)
    for x in prange(nx):
        total = 0.0
        for y in range(ny):
            for z in range(nz):
                a, b, c, d, e, f, g, h, i = _differences(field, x, y, z)
                # The determinant is the first row times the cross product of the other two.
                p, q, r = _cross(d, e, f, g, h, i)
                excess = barrier - (a * p + b * q + c * r)
                slopes[x, y, z] = 0
                if not excess <= 0:  # true for NaN, too, which must reach the total
                    total += excess * excess if squared else excess
                    slopes[x, y, z] = -scale * (2 * excess if squared else 1)
        totals[x] = total
    return totals.sum() * scale


@kernel
def _by_corners(field, slopes, gradient):
    """Add to ``gradient`` the derivatives by the four voxels of every cell.

    A cell in plane ``x`` adds to voxels of the planes ``x`` and ``x + 1``. So the even planes are
    done in parallel first, and then the odd ones: cells of every second plane share no voxel. Cells
    whose determinant is above the barrier have a slope of 0 and are skipped.
    """
    nx, ny, nz = slopes.shape
    for parity in range(2):
        for half in prange((nx - parity + 1) // 2):
            x = 2 * half + parity
            for y in range(ny):
                for z in range(nz):
                    slope = slopes[x, y, z]
                    if slope == 0:
                        continue
                    # Each row holds the differences along one axis, so its derivative goes to the
                    # neighbour along that axis.
                    a, b, c, d, e, f, g, h, i = _differences(field, x, y, z)
                    p, q, r = _cross(d, e, f, g, h, i)
                    _share(slope * p, slope * q, slope * r, gradient, x, y, z, x + 1, y, z)
                    p, q, r = _cross(g, h, i, a, b, c)
                    _share(slope * p, slope * q, slope * r, gradient, x, y, z, x, y + 1, z)
                    p, q, r = _cross(a, b, c, d, e, f)
                    _share(slope * p, slope * q, slope * r, gradient, x, y, z, x, y, z + 1)


@inlined
def _share(p, q, r, gradient, x, y, z, i, j, k):
    """Add the derivative by a difference to the neighbour, and subtract it from the voxel."""
    gradient[0, x, y, z] -= p
    gradient[1, x, y, z] -= q
    gradient[2, x, y, z] -= r
    gradient[0, i, j, k] += p
    gradient[1, i, j, k] += q
    gradient[2, i, j, k] += r
