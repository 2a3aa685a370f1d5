"""Mean squared difference between MIND-SSC and a given descriptor, with its gradient.

The formula is :func:`diffeode.descriptors.mind.mind_ssc`'s; there one reads what is computed, here
how: channels are never written to memory, and whatever a row of voxels needs stays in the
processor's cache.
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
_CHANNELS = 12
_LOW, _HIGH = np.float32(1e-3), np.float32(1e3)
_SLAB = 6
_TINY = np.finfo(np.float32).tiny


def mind_ssc_difference(
    image: Tensor, target: Tensor, radius: int, dilation: int, mask: Tensor | None = None
) -> Tensor:
    """Mean over voxels (weighted by ``mask``) and channels of ``(mind_ssc(image) - target)^2``.

    Args:
        image, mask: ``(1, 1, X, Y, Z)``, float32, on the CPU.
        target: ``(1, 12, X, Y, Z)``.
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
    """The descriptor ``(1, 12, X, Y, Z)`` to compare with, rounded as the difference rounds that of
    ``image``.

    Its rows lie in memory as the difference reads them.
    """
    extended = _extended(image, radius, dilation)[0, 0].numpy()
    size = np.array(image.shape[2:])
    layout, distances, variance = _distances(extended, size, radius, dilation)
    descriptor = np.empty((*size[:2], _CHANNELS, size[2]), np.float32)
    _describe(distances, layout, variance, descriptor)
    return torch.from_numpy(descriptor).permute(2, 0, 1, 3)[None]


def _extended(image: Tensor, radius: int, dilation: int) -> Tensor:
    """``image`` with room for the patches at its border, where its values continue."""
    return F.pad(image, [dilation + radius] * 6, mode="replicate")


def _together(channels: Tensor) -> Tensor:
    """``(12, X, Y, Z)`` as ``(X, Y, 12, Z)``: what belongs to a row of voxels lies in one place, so
    is fetched fast.
    """
    return channels.permute(1, 2, 0, 3).contiguous()


def _value_and_gradient(
    extended: np.ndarray, target: np.ndarray, weights: np.ndarray, radius: int, dilation: int
) -> tuple[float, Tensor]:
    """The loss and its gradient with respect to the extended image."""
    size = np.array(weights.shape)
    layout, distances, variance = _distances(extended, size, radius, dilation)
    # Each distance is spread over its window on the way back, so it needs room for the window on
    # either side.
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
    """Where distances between patches lie, the distances, and the mean of the local variance."""
    layout = _layout(size, radius, dilation)
    distances = np.empty((_PAIRS, *(size + dilation + 2 * radius)), np.float32)
    _box_means_of_squared_differences(extended, layout, radius, distances)
    return (
        layout,
        distances,
        np.float32(_variance_sum(distances, layout, tuple(size.tolist())) / size.prod()),
    )


def _layout(size: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """Where things lie, per pair of neighbours: rows of three indices along the axes.

    0: how many distances are needed. 1: where the first of them lies in the extended image (its
    window's corner). 2: the step from one patch to the other. 3 and 4: where the two channels of
    the image's first voxel lie.
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
    """For every pair, the mean of squared differences between patches of the image."""
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
    """Sums over the window of what lies in ``slopes``, scaled like the means: the way back of a box
    mean.
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
    for z in range(sums.shape[0]):
        sums[z] = values[z]
    for offset in range(1, window):
        for z in range(sums.shape[0]):
            sums[z] += values[z + offset]


@inlined
def _plane_sum(rows, window, plane):
    for y in range(plane.shape[0]):
        for z in range(plane.shape[1]):
            plane[y, z] = rows[y, z]
        for offset in range(1, window):
            for z in range(plane.shape[1]):
                plane[y, z] += rows[y + offset, z]


@inlined
def _sum_of_planes(planes, scale, total):
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
    """Per voxel of a row: each channel's distance less the least one, ``(12, Z)``, and
    their mean.
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
    """The local variances of all voxels, added up."""
    nx, ny, nz = size
    total = np.zeros(nx, np.float64)
    for x in prange(nx):
        excess = np.empty((_CHANNELS, nz), np.float32)
        variance = np.empty(nz, np.float32)
        for y in range(ny):
            _excess_over_least(distances, layout, x, y, excess, variance)
            row = np.float32(0)
            for z in range(nz):
                row += variance[z]
            total[x] += row
    return total.sum()


@inlined
def _invert(variance, low, high, inverse):
    for z in range(variance.shape[0]):
        inverse[z] = np.float32(1) / (min(max(variance[z], low), high) + _TINY)


@kernel
def _describe(distances, layout, typical, descriptor):
    """The channels of the descriptor."""
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
    """Sum of weighted squared differences to the target; its derivatives by the distances are added
    to ``slopes``.

    The two channels of a pair add to the same slopes from voxels some planes apart, so slabs of
    planes are worked on in two rounds, the even ones and the odd ones; always the same slabs, so
    that threads do not change the result.
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
                for z in range(nz):
                    share = (
                        by_least[z] / least_ones[z] if excess[channel, z] == 0 else np.float32(0)
                    )
                    out[z] += pull[channel, z] - share


@kernel
def _gather(image, slopes, layout, radius, gradient):
    """Derivative by each voxel of the image of the squared differences it takes part in, at either
    end.
    """
    nx, ny, nz = image.shape
    for x in prange(nx):
        for y in range(ny):
            for z in range(nz):
                gradient[x, y, z] = 0
            for pair in range(_PAIRS):
                size, first, step = layout[pair, 0] + 2 * radius, layout[pair, 1], layout[pair, 2]
                for end in range(2):
                    # As the first end of a difference, then as the second, a step further.
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
