"""Mean squared difference between MIND-SSC and a given descriptor, with its gradient.

:func:`diffeode.descriptors.mind.mind_ssc` has the formula. The distances of the six pairs of
patches are computed and kept. From them the twelve channels are computed one row of voxels at a
time, compared with the given descriptor and turned into derivatives by the distances; the channels
are never written to memory. Two more passes take the derivatives back through the box means and the
squared differences to the image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import exponential_of_negative, inlined, kernel
from diffeode.fused.gradient import with_gradient

_PAIRS = 6
"""Number of fields of distances; each holds two channels."""
_CHANNELS = 12
_LOW, _HIGH = np.float32(1e-3), np.float32(1e3)
"""The bounds of the variance, the same as in :mod:`diffeode.descriptors.mind`."""
_SLAB = 6
"""Least number of planes of a slab, see :func:`_compare`."""
_TINY = np.finfo(np.float32).tiny
"""A number that keeps the reciprocal of the variance finite in an image without contrast."""


def mind_ssc_difference(
    image: Tensor, target: Tensor, radius: int, dilation: int, mask: Tensor | None = None
) -> Tensor:
    """Return the mean over voxels and channels of ``(mind_ssc(image) - target)^2``.

    Args:
        image: ``(1, 1, X, Y, Z)``, float32, on the CPU.
        target: the descriptor to compare with, ``(1, 12, X, Y, Z)``.
        mask: the weights of the voxels, ``(1, 1, X, Y, Z)``; None: all alike.
    """
    weights = torch.ones_like(image) if mask is None else mask
    target, weights = _together(target[0]).numpy(), weights[0, 0].contiguous().numpy()
    return with_gradient(
        _extended(image, radius, dilation),
        lambda extended: _value_and_gradient(
            extended[0, 0].numpy(), target, weights, radius, dilation
        ),
    )


def mind_ssc_descriptor(image: Tensor, radius: int, dilation: int) -> Tensor:
    """Return the descriptor of ``image``, ``(1, 12, X, Y, Z)``, with which others are compared.

    It is rounded as :func:`mind_ssc_difference` rounds the descriptor of its image. Its rows lie in
    memory in the order in which they are read there.
    """
    extended = _extended(image, radius, dilation)[0, 0].numpy()
    size = np.array(image.shape[2:])
    layout, distances, variance = _distances(extended, size, radius, dilation)
    descriptor = np.empty((*size[:2], _CHANNELS, size[2]), np.float32)
    _describe(distances, layout, variance, descriptor)
    return torch.from_numpy(descriptor).permute(2, 0, 1, 3)[None]


def _extended(image: Tensor, radius: int, dilation: int) -> Tensor:
    """Return ``image`` extended by its border values, so that all patches lie inside."""
    return F.pad(image, [dilation + radius] * 6, mode="replicate")


def _together(channels: Tensor) -> Tensor:
    """Return ``channels (12, X, Y, Z)`` as ``(X, Y, 12, Z)``.

    All channels of a row of voxels then lie in one stretch of memory, which is fetched fast.
    """
    return channels.permute(1, 2, 0, 3).contiguous()


def _value_and_gradient(
    extended: np.ndarray, target: np.ndarray, weights: np.ndarray, radius: int, dilation: int
) -> tuple[float, Tensor]:
    """Return the loss and its gradient with respect to the extended image."""
    size = np.array(weights.shape)
    layout, distances, variance = _distances(extended, size, radius, dilation)
    # On the way back the derivative by a distance is spread over its window. There is room for that
    # on either side, so that the sums need no conditions at the border.
    slopes = np.zeros((_PAIRS, *(size + dilation + 4 * radius)), np.float32)
    scale = 1.0 / (_CHANNELS * weights.sum(dtype=np.float64))
    value = _compare(
        distances, target, weights, layout, variance, np.float32(scale), radius, slopes
    )
    _box_sums(slopes, layout, radius, distances)
    gradient = np.empty_like(extended)
    _gather(extended, distances, layout, radius, gradient)
    return value * scale, torch.from_numpy(gradient)[None, None]


def _distances(
    extended: np.ndarray, size: np.ndarray, radius: int, dilation: int
) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Return the layout of the distances, the distances, and the mean of the local variance."""
    layout = _layout(size, radius, dilation)
    distances = np.empty((_PAIRS, *(size + dilation + 2 * radius)), np.float32)
    _box_means_of_squared_differences(extended, layout, radius, distances)
    return (
        layout,
        distances,
        np.float32(_variance_sum(distances, layout, tuple(size.tolist())) / size.prod()),
    )


def _layout(size: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """Return where the distances of each pair lie, ``(6, 5, 3)``.

    For each pair there are five rows of indices along the three axes:

    - 0: the number of distances that are needed.
    - 1: the corner of the window of the first distance, in the extended image.
    - 2: the step from the first patch of a distance to the second.
    - 3 and 4: the indices, among the distances, of the two channels at the first voxel of the image
      (``B(x + s a)`` and ``B(x - s b)`` of :func:`diffeode.descriptors.mind.patch_distances`).
    """
    rows = np.zeros((_PAIRS, 5, 3), np.int64)
    pairs = [(i, j, sign) for i, j in ((0, 1), (0, 2), (1, 2)) for sign in (1, -1)]
    for row, (i, j, sign) in zip(rows, pairs, strict=True):
        row[0] = size
        row[0, [i, j]] += dilation
        row[1] = dilation
        row[1, j] -= dilation if sign > 0 else 0
        row[2, [i, j]] = -dilation, sign * dilation
        row[3, i] = dilation
        row[3, j] = dilation if sign > 0 else 0
        row[4, j] = 0 if sign > 0 else dilation
    return rows


@kernel
def _box_means_of_squared_differences(image, layout, radius, means):
    """Write the mean squared differences between patches to ``means``, for every pair.

    A box mean is three sums, along a row, across the rows and across the planes. Only the sums of
    the last ``window`` planes are kept, in a ring. The sums are made anew at every voxel; running
    sums would gather rounding errors in single precision.
    """
    window = 2 * radius + 1
    scale = np.float32(1.0 / window**3)
    for pair in prange(_PAIRS):
        nx, ny, nz = layout[pair, 0]
        ox, oy, oz = layout[pair, 1]
        sx, sy, sz = layout[pair, 2]
        squares = np.empty(nz + 2 * radius, np.float32)
        rows = np.empty((ny + 2 * radius, nz), np.float32)
        planes = np.empty((window, ny, nz), np.float32)
        for x in range(nx + 2 * radius):
            for y in range(ny + 2 * radius):
                here = image[ox + x, oy + y, oz : oz + nz + 2 * radius]
                there = image[ox + sx + x, oy + sy + y, oz + sz : oz + sz + nz + 2 * radius]
                for z in range(nz + 2 * radius):
                    step = here[z] - there[z]
                    squares[z] = step * step
                _window_sum_along(squares, window, rows[y])
            _plane_sum(rows, window, planes[x % window])
            if x >= 2 * radius:
                _sum_of_planes(planes, scale, means[pair, x - 2 * radius])


@kernel
def _box_sums(slopes, layout, radius, sums):
    """Write the sums of ``slopes`` over windows to ``sums``, scaled as the means are.

    This is the transpose of the box means.
    """
    window = 2 * radius + 1
    scale = np.float32(1.0 / window**3)
    for pair in prange(_PAIRS):
        nx, ny, nz = layout[pair, 0] + 2 * radius
        rows = np.empty((ny + 2 * radius, nz), np.float32)
        planes = np.empty((window, ny, nz), np.float32)
        for x in range(nx + 2 * radius):
            for y in range(ny + 2 * radius):
                _window_sum_along(slopes[pair, x, y], window, rows[y])
            _plane_sum(rows, window, planes[x % window])
            if x >= 2 * radius:
                _sum_of_planes(planes, scale, sums[pair, x - 2 * radius])


@inlined
def _window_sum_along(values, window, sums):
    """Write the sums over windows along a row to ``sums``."""
    for z in range(sums.shape[0]):
        sums[z] = values[z]
    for offset in range(1, window):
        for z in range(sums.shape[0]):
            sums[z] += values[z + offset]


@inlined
def _plane_sum(rows, window, plane):
    """Write the sums over windows across the rows to ``plane``."""
    for y in range(plane.shape[0]):
        for z in range(plane.shape[1]):
            plane[y, z] = rows[y, z]
        for offset in range(1, window):
            for z in range(plane.shape[1]):
                plane[y, z] += rows[y + offset, z]


@inlined
def _sum_of_planes(planes, scale, total):
    """Write the sum of all ``planes``, times ``scale``, to ``total``."""
    for y in range(planes.shape[1]):
        for z in range(planes.shape[2]):
            total[y, z] = planes[0, y, z]
        for p in range(1, planes.shape[0]):
            for z in range(planes.shape[2]):
                total[y, z] += planes[p, y, z]
        for z in range(planes.shape[2]):
            total[y, z] *= scale


@inlined
def _excess_over_least(distances, layout, x, y, excess, variance):
    """Write what the channels of a row of voxels need.

    ``excess (12, Z)`` receives the distance of each channel less the least one, and ``variance
    (Z,)`` the mean of these over the channels.
    """
    nz = variance.shape[0]
    least = np.empty(nz, np.float32)
    for z in range(nz):
        least[z] = np.inf
        variance[z] = 0
    for channel in range(_CHANNELS):
        pair, first = channel // 2, layout[channel // 2, 3 + channel % 2]
        row = distances[pair, x + first[0], y + first[1], first[2] : first[2] + nz]
        for z in range(nz):
            excess[channel, z] = row[z]
            least[z] = min(least[z], row[z])
    for channel in range(_CHANNELS):
        for z in range(nz):
            excess[channel, z] -= least[z]
            variance[z] += excess[channel, z]
    for z in range(nz):
        variance[z] /= np.float32(_CHANNELS)


@kernel
def _variance_sum(distances, layout, size):
    """Return the sum of the local variances of all voxels."""
    nx, ny, nz = size
    total = np.zeros(nx, np.float64)
    for x in prange(nx):
        excess = np.empty((_CHANNELS, nz), np.float32)
        variance = np.empty(nz, np.float32)
        for y in range(ny):
            _excess_over_least(distances, layout, x, y, excess, variance)
            # A row is short enough for a sum in single precision; planes are added in double.
            row = np.float32(0)
            for z in range(nz):
                row += variance[z]
            total[x] += row
    return total.sum()


@inlined
def _invert(variance, low, high, inverse):
    """Write one over the variance, which is held within ``low`` and ``high``, to ``inverse``."""
    for z in range(variance.shape[0]):
        inverse[z] = np.float32(1) / (min(max(variance[z], low), high) + _TINY)


@kernel
def _describe(distances, layout, typical, descriptor):
    """Write the channels of all voxels to ``descriptor``."""
    nx, ny, _, nz = descriptor.shape
    for x in prange(nx):
        excess = np.empty((_CHANNELS, nz), np.float32)
        variance, inverse = np.empty(nz, np.float32), np.empty(nz, np.float32)
        for y in range(ny):
            _excess_over_least(distances, layout, x, y, excess, variance)
            _invert(variance, _LOW * typical, _HIGH * typical, inverse)
            for channel in range(_CHANNELS):
                for z in range(nz):
                    descriptor[x, y, channel, z] = exponential_of_negative(
                        -excess[channel, z] * inverse[z]
                    )


@kernel
def _compare(distances, target, weights, layout, typical, scale, radius, slopes):
    """Return the weighted sum of squared differences; add the derivatives to ``slopes``.

    The two channels of a pair belong to one field of distances, at places up to ``dilation`` planes
    apart. So two threads could add to one place. Planes are therefore grouped into slabs that are
    at least as thick as that. All even slabs are done first, and no two of them add to one place;
    then all odd ones are done. The slabs do not depend on the number of threads, so neither does
    the result.
    """
    nx, _ny, _nz = weights.shape
    reach = 0
    for pair in range(_PAIRS):
        reach = max(reach, layout[pair, 3, 0])
    slab = max(reach, _SLAB)
    slabs = -(-nx // slab)
    totals = np.zeros(nx, np.float64)
    for parity in range(2):
        for half in prange((slabs + 1 - parity) // 2):
            start = (2 * half + parity) * slab
            _compare_slab(
                distances,
                target,
                weights,
                layout,
                typical,
                scale,
                radius,
                slopes,
                totals,
                start,
                min(nx, start + slab),
            )
    return totals.sum()


@inlined
def _compare_slab(
    distances, target, weights, layout, typical, scale, radius, slopes, totals, start, stop
):
    """Do the work of :func:`_compare` for the planes from ``start`` to before ``stop``.

    A channel is ``exp(-e / V)`` with ``e`` its distance less the least one and ``V`` the variance.
    ``pull`` collects the derivatives by ``e``. They act on the distance of the channel, and with
    the opposite sign on the least distance; the derivative by the variance, a mean of ``e``, adds
    to those of all channels.
    """
    ny, nz = weights.shape[1:]
    low, high = _LOW * typical, _HIGH * typical
    excess = np.empty((_CHANNELS, nz), np.float32)
    pull = np.empty((_CHANNELS, nz), np.float32)
    variance = np.empty(nz, np.float32)
    inverse = np.empty(nz, np.float32)
    by_variance = np.empty(nz, np.float32)
    by_least = np.empty(nz, np.float32)
    least_ones = np.empty(nz, np.float32)
    for x in range(start, stop):
        for y in range(ny):
            _excess_over_least(distances, layout, x, y, excess, variance)
            _invert(variance, low, high, inverse)
            for z in range(nz):
                by_variance[z] = 0
                by_least[z] = 0
                least_ones[z] = 0
            row = np.float32(0)
            for channel in range(_CHANNELS):
                for z in range(nz):
                    # The derivatives of exp(-e / V) are -exp(-e / V) / V by e, and
                    # exp(-e / V) e / V^2 by V.
                    similarity = exponential_of_negative(-excess[channel, z] * inverse[z])
                    difference = similarity - target[x, y, channel, z]
                    row += weights[x, y, z] * difference * difference
                    outer = (
                        np.float32(2)
                        * scale
                        * weights[x, y, z]
                        * difference
                        * similarity
                        * inverse[z]
                    )
                    pull[channel, z] = -outer
                    by_variance[z] += outer * excess[channel, z] * inverse[z]
            totals[x] += row
            # A variance outside its bounds was clamped, so nothing depends on it.
            for z in range(nz):
                free = low < variance[z] and variance[z] < high
                by_variance[z] = by_variance[z] / np.float32(_CHANNELS) if free else np.float32(0)
            for channel in range(_CHANNELS):
                for z in range(nz):
                    pull[channel, z] += by_variance[z]
                    by_least[z] += pull[channel, z]
                    least_ones[z] += np.float32(1) if excess[channel, z] == 0 else np.float32(0)
            for channel in range(_CHANNELS):
                pair, first = channel // 2, layout[channel // 2, 3 + channel % 2]
                begin = first[2] + 2 * radius
                out = slopes[
                    pair, x + first[0] + 2 * radius, y + first[1] + 2 * radius, begin : begin + nz
                ]
                # Where several channels have the least distance, they share its derivative.
                for z in range(nz):
                    share = (
                        by_least[z] / least_ones[z] if excess[channel, z] == 0 else np.float32(0)
                    )
                    out[z] += pull[channel, z] - share


@kernel
def _gather(image, slopes, layout, radius, gradient):
    """Write the derivative by each voxel of the image to ``gradient``.

    A voxel takes part in squared differences as the first of two voxels and as the second. It
    collects the derivatives of both kinds, so that threads write to places of their own.
    """
    nx, ny, nz = image.shape
    for x in prange(nx):
        for y in range(ny):
            for z in range(nz):
                gradient[x, y, z] = 0
            for pair in range(_PAIRS):
                size, first, step = layout[pair, 0] + 2 * radius, layout[pair, 1], layout[pair, 2]
                for end in range(2):
                    # The voxel is the first of the two, and in the next turn the second, whose
                    # difference lies one step back.
                    u, v = x - first[0] - end * step[0], y - first[1] - end * step[1]
                    if u < 0 or u >= size[0] or v < 0 or v >= size[1]:
                        continue
                    away = step if end == 0 else -step
                    begin = first[2] + end * step[2]
                    other = image[
                        x + away[0], y + away[1], begin + away[2] : begin + away[2] + size[2]
                    ]
                    here = image[x, y, begin : begin + size[2]]
                    out = gradient[x, y, begin : begin + size[2]]
                    row = slopes[pair, u, v, : size[2]]
                    for z in range(size[2]):
                        out[z] += np.float32(2) * (here[z] - other[z]) * row[z]
