"""Linear interpolation at moved voxels and its gradients (:mod:`diffeode.geometry.warp`).

A point is found by the whole part and the fraction of its displacement, not of its coordinate,
whose fraction would have fewer digits in single precision. For points inside the image the eight
corners of a cell are read without checks, at indices along the flattened image. The other points
take a slower way that checks every index.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel


def pull_back_fused(image: Tensor, displacement: Tensor, border: bool) -> Tensor:
    """Return ``x -> image(x + displacement(x))`` by linear interpolation.

    Args:
        image: ``(1, C, X, Y, Z)``, float32, on the CPU.
        displacement: ``(1, 3, X, Y, Z)``, voxels.
        border: whether the border values continue beyond the image; otherwise it is 0 there.
    """
    return _PullBack.apply(image, displacement, border)


def pull_back_resized_fused(image: Tensor, displacement: Tensor, border: bool) -> Tensor:
    """Pull ``image`` back by a displacement that lies on another grid over the same box.

    The displacement is resized row by row as it is used, and never written to memory on the image's
    grid. There is no derivative by the image.

    Args:
        image: ``(1, C, X, Y, Z)``, float32, on the CPU.
        displacement: ``(1, 3, *coarse)``, voxels of its own grid.
        border: as for :func:`pull_back_fused`.
    """
    return _PullBackResized.apply(image, displacement, border)


def twice_fused(displacement: Tensor) -> Tensor:
    """Return the displacement of ``x -> phi(phi(x))`` with ``phi(x) = x + displacement(x)``.

    Only ``displacement`` is kept for the gradient.

    Args:
        displacement: ``(1, 3, X, Y, Z)``, voxels, float32, on the CPU. Beyond the grid its border
            values continue.
    """
    return _Twice.apply(displacement)


class _PullBack(torch.autograd.Function):
    @staticmethod
    def forward(context, image: Tensor, displacement: Tensor, border: bool) -> Tensor:
        context.save_for_backward(image, displacement)
        context.border = border
        out = image.new_empty(image.shape[:2] + displacement.shape[2:])
        _sample(_array(image), _array(displacement), border, out[0].numpy())
        return out

    @staticmethod
    def backward(context, outer: Tensor) -> tuple[Tensor | None, ...]:
        image, displacement = context.saved_tensors
        by_image = by_displacement = None
        if context.needs_input_grad[0]:
            by_image = torch.zeros_like(image)
            _scatter(_array(outer), _array(displacement), context.border, by_image[0].numpy())
        if context.needs_input_grad[1]:
            by_displacement = torch.empty_like(displacement)
            _slopes(
                _array(image),
                _array(displacement),
                _array(outer),
                context.border,
                by_displacement[0].numpy(),
            )
        return by_image, by_displacement, None


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(context, displacement: Tensor) -> Tensor:
        context.save_for_backward(displacement)
        out = displacement.new_empty(displacement.shape)
        _sample(_array(displacement), _array(displacement), True, out[0].numpy())
        return out.add_(displacement)

    @staticmethod
    def backward(context, outer: Tensor) -> Tensor:
        # The displacement d enters three times: as the summand, as the field that is sampled, and
        # as the points at which it is sampled.
        (displacement,) = context.saved_tensors
        moved, total = _array(displacement), displacement.new_empty(displacement.shape)
        _slopes(moved, moved, _array(outer), True, total[0].numpy())
        total.add_(outer)
        _scatter(_array(outer), moved, True, total[0].numpy())
        return total


class _PullBackResized(torch.autograd.Function):
    @staticmethod
    def forward(context, image: Tensor, displacement: Tensor, border: bool) -> Tensor:
        context.save_for_backward(image, displacement)
        context.border = border
        out = torch.empty_like(image)
        at, ratios = _relation(displacement, image)
        _sample_resized(_array(image), _array(displacement), at, ratios, border, out[0].numpy())
        return out

    @staticmethod
    def backward(context, outer: Tensor) -> tuple[Tensor | None, ...]:
        image, displacement = context.saved_tensors
        at, ratios = _relation(displacement, image)
        fine, coarse = image.shape[2:], displacement.shape[2:]
        planes = np.empty((fine[0], 3, *coarse[1:]), np.float32)
        _slopes_resized(
            _array(image), _array(displacement), at, ratios, _array(outer), context.border, planes
        )
        by_displacement = torch.empty_like(displacement)
        _gather_planes(planes, at[0], by_displacement[0].numpy())
        return None, by_displacement, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach()[0].contiguous().numpy()


def _relation(displacement: Tensor, image: Tensor) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return how two grids over one box relate, for each axis.

    The first result holds the coordinates of the image's voxels on the grid of the displacement;
    the second holds the number of the image's voxels in one voxel of that grid. As in
    :func:`diffeode.geometry.warp.resize`, the value of the outermost voxels continues beyond their
    centres.
    """
    sizes = list(zip(displacement.shape[2:], image.shape[2:], strict=True))
    at = tuple(
        np.maximum((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0.0) for coarse, fine in sizes
    )
    return at, np.array([fine / coarse for coarse, fine in sizes], np.float32)


@inlined
def _locate(x, y, u, v, w, size, border, corner, within):
    """Find the cell in which each voxel of a moved row comes to lie.

    ``corner (Z,)`` receives the index of the cell's lowest corner along the flattened image, and
    ``within (3, Z)`` the place in the cell, in [0, 1]. For a point that does not lie inside the
    image, or of which that is not certain, the corner is -1.
    """
    nx, ny, nz = size
    # With continued border values a point on the border moves into a region without slope. Cells
    # at the lower border are left to the slower way, which looks for that.
    first = 1 if border else 0
    for z in range(u.shape[0]):
        du, dv, dw = np.floor(u[z]), np.floor(v[z]), np.floor(w[z])
        within[0, z], within[1, z], within[2, z] = u[z] - du, v[z] - dv, w[z] - dw
        i, j, k = np.float32(x) + du, np.float32(y) + dv, np.float32(z) + dw
        inside = (
            (i >= first) & (j >= first) & (k >= first) & (i < nx - 1) & (j < ny - 1) & (k < nz - 1)
        )
        corner[z] = (np.int64(i) * ny + np.int64(j)) * nz + np.int64(k) if inside else -1


@inlined
def _cell(image, corner, ny, nz):
    """Return the values at the eight corners of a cell inside the flattened image.

    The last axis varies fastest among them, then the middle one.
    """
    # Indices are unsigned. For signed ones numba would test whether they count from the end.
    low = np.uintp(corner)
    left, high = low + np.uintp(nz), low + np.uintp(ny * nz)
    right, one = high + np.uintp(nz), np.uintp(1)
    return (
        image[low],
        image[low + one],
        image[left],
        image[left + one],
        image[high],
        image[high + one],
        image[right],
        image[right + one],
    )


@inlined
def _place(index, move, n, border):
    """Return where a moved voxel lies along an axis of ``n`` voxels.

    The results are the voxel below, the fraction of the way to the next one, and whether the value
    changes as the point moves on. It does not where continued border values are read.
    """
    whole = np.floor(move)
    lower, fraction = index + np.int64(whole), move - whole
    if border:
        if lower < 0 or (lower == 0 and fraction == 0):
            return 0, np.float32(0), False
        if lower >= n - 1:
            return max(n - 2, 0), np.float32(min(n - 1, 1)), False
    return lower, fraction, True


@inlined
def _lost(u, v, w):
    """Return whether a displacement is not finite, or so large that an index could overflow."""
    return not (abs(u) + abs(v) + abs(w) < np.float32(1e6))


@inlined
def _corner(image, channel, i, j, k):
    """Return the value at a voxel, or 0 beyond the image."""
    _, nx, ny, nz = image.shape
    if 0 <= i < nx and 0 <= j < ny and 0 <= k < nz:
        return image[channel, i, j, k]
    return np.float32(0)


@inlined
def _corners(image, channel, i, j, k):
    """Return the values at the eight corners of a cell, as :func:`_cell` orders them."""
    return (
        _corner(image, channel, i, j, k),
        _corner(image, channel, i, j, k + 1),
        _corner(image, channel, i, j + 1, k),
        _corner(image, channel, i, j + 1, k + 1),
        _corner(image, channel, i + 1, j, k),
        _corner(image, channel, i + 1, j, k + 1),
        _corner(image, channel, i + 1, j + 1, k),
        _corner(image, channel, i + 1, j + 1, k + 1),
    )


@inlined
def _mix(a, b, fraction):
    return a + fraction * (b - a)


@inlined
def _value(v, a, b, c):
    """Return the value between the eight corners ``v`` of a cell, at ``a``, ``b``, ``c`` in it."""
    low = _mix(_mix(v[0], v[1], c), _mix(v[2], v[3], c), b)
    return _mix(low, _mix(_mix(v[4], v[5], c), _mix(v[6], v[7], c), b), a)


@inlined
def _slope(v, a, b, c):
    """Return the derivatives of :func:`_value` by ``a``, ``b`` and ``c``."""
    low, high = _mix(v[0], v[1], c), _mix(v[2], v[3], c)
    low_above, high_above = _mix(v[4], v[5], c), _mix(v[6], v[7], c)
    # Along the last axis the slope is interpolated between the differences along four edges. Along
    # the others it is the difference of two interpolated faces or edges.
    edges = _mix(_mix(v[1] - v[0], v[3] - v[2], b), _mix(v[5] - v[4], v[7] - v[6], b), a)
    return (
        _mix(low_above, high_above, b) - _mix(low, high, b),
        _mix(high - low, high_above - low_above, a),
        edges,
    )


@inlined
def _sample_row(image, flat, x, y, u, v, w, border, corner, within, out):
    """Write the values at the moved voxels of a row to ``out``; ``u``, ``v``, ``w`` move them."""
    channels, nx, ny, nz = image.shape
    _locate(x, y, u, v, w, (nx, ny, nz), border, corner, within)
    for z in range(u.shape[0]):
        if corner[z] >= 0:
            for channel in range(channels):
                cell = _cell(flat[channel], corner[z], ny, nz)
                out[channel, x, y, z] = _value(cell, within[0, z], within[1, z], within[2, z])
        elif _lost(u[z], v[z], w[z]):
            for channel in range(channels):
                out[channel, x, y, z] = np.nan
        else:
            i, a, _ = _place(x, u[z], nx, border)
            j, b, _ = _place(y, v[z], ny, border)
            k, c, _ = _place(z, w[z], nz, border)
            for channel in range(channels):
                out[channel, x, y, z] = _value(_corners(image, channel, i, j, k), a, b, c)


@inlined
def _slopes_row(image, flat, x, y, u, v, w, border, corner, within, outer, by_u, by_v, by_w):
    """Write the derivatives by the displacement of a row to ``by_u``, ``by_v`` and ``by_w``."""
    channels, nx, ny, nz = image.shape
    _locate(x, y, u, v, w, (nx, ny, nz), border, corner, within)
    for z in range(u.shape[0]):
        du, dv, dw = np.float32(0), np.float32(0), np.float32(0)
        if corner[z] >= 0:
            for channel in range(channels):
                cell = _cell(flat[channel], corner[z], ny, nz)
                slope = _slope(cell, within[0, z], within[1, z], within[2, z])
                g = outer[channel, x, y, z]
                du, dv, dw = du + g * slope[0], dv + g * slope[1], dw + g * slope[2]
        elif _lost(u[z], v[z], w[z]):
            du, dv, dw = np.float32(np.nan), np.float32(np.nan), np.float32(np.nan)
        else:
            i, a, free_x = _place(x, u[z], nx, border)
            j, b, free_y = _place(y, v[z], ny, border)
            k, c, free_z = _place(z, w[z], nz, border)
            for channel in range(channels):
                slope = _slope(_corners(image, channel, i, j, k), a, b, c)
                g = outer[channel, x, y, z]
                du += g * slope[0] if free_x else np.float32(0)
                dv += g * slope[1] if free_y else np.float32(0)
                dw += g * slope[2] if free_z else np.float32(0)
        by_u[z], by_v[z], by_w[z] = du, dv, dw


@inlined
def _flat(image):
    """Return ``image (C, X, Y, Z)`` as ``(C, X Y Z)``."""
    return image.reshape(image.shape[0], image.shape[1] * image.shape[2] * image.shape[3])


@kernel
def _sample(image, displacement, border, out):
    _, mx, my, mz = displacement.shape
    flat = _flat(image)
    for x in prange(mx):
        corner, within = np.empty(mz, np.int64), np.empty((3, mz), np.float32)
        for y in range(my):
            u, v, w = displacement[0, x, y], displacement[1, x, y], displacement[2, x, y]
            _sample_row(image, flat, x, y, u, v, w, border, corner, within, out)


@kernel
def _slopes(image, displacement, outer, border, by_displacement):
    """Write the derivative by the displacement to ``by_displacement``."""
    _, mx, my, mz = displacement.shape
    flat = _flat(image)
    for x in prange(mx):
        corner, within = np.empty(mz, np.int64), np.empty((3, mz), np.float32)
        for y in range(my):
            u, v, w = displacement[0, x, y], displacement[1, x, y], displacement[2, x, y]
            du, dv, dw = (
                by_displacement[0, x, y],
                by_displacement[1, x, y],
                by_displacement[2, x, y],
            )
            _slopes_row(image, flat, x, y, u, v, w, border, corner, within, outer, du, dv, dw)


@kernel
def _scatter(outer, displacement, border, by_image):
    """Add the derivative by the image to ``by_image``.

    Two points can lie in one cell, wherever they come from. So threads share the channels alone.
    """
    channels, nx, ny, nz = by_image.shape
    _, mx, my, mz = displacement.shape
    flat = _flat(by_image)
    for channel in prange(channels):
        corner, within = np.empty(mz, np.int64), np.empty((3, mz), np.float32)
        for x in range(mx):
            for y in range(my):
                u, v, w = displacement[0, x, y], displacement[1, x, y], displacement[2, x, y]
                _locate(x, y, u, v, w, (nx, ny, nz), border, corner, within)
                for z in range(mz):
                    value = outer[channel, x, y, z]
                    if corner[z] >= 0:
                        _spread_inside(
                            value,
                            flat[channel],
                            corner[z],
                            ny,
                            nz,
                            within[0, z],
                            within[1, z],
                            within[2, z],
                        )
                    elif not _lost(u[z], v[z], w[z]):
                        i, a, _ = _place(x, u[z], nx, border)
                        j, b, _ = _place(y, v[z], ny, border)
                        k, c, _ = _place(z, w[z], nz, border)
                        _spread(value, by_image[channel], i, j, k, a, b, c)


@inlined
def _spread_inside(value, image, corner, ny, nz, a, b, c):
    """Add ``value`` to the corners of a cell inside the flattened image, by their weights."""
    low = np.uintp(corner)
    left, high = low + np.uintp(nz), low + np.uintp(ny * nz)
    right, one = high + np.uintp(nz), np.uintp(1)
    # Each weight is a product of three factors. The value is split along one axis after the other,
    # so that the eight parts add up to it.
    above = value * a
    below = value - above
    above_left, below_left = above * b, below * b
    _share(below - below_left, image, low, one, c)
    _share(below_left, image, left, one, c)
    _share(above - above_left, image, high, one, c)
    _share(above_left, image, right, one, c)


@inlined
def _share(value, image, at, one, fraction):
    """Add ``value`` to two neighbours along the last axis, by their weights."""
    part = value * fraction
    image[at] += value - part
    image[at + one] += part


@inlined
def _spread(value, image, i, j, k, a, b, c):
    """Add ``value`` to the corners of a cell that lie inside the image, by their weights."""
    nx, ny, nz = image.shape
    for di in range(2):
        for dj in range(2):
            for dk in range(2):
                u, v, w = i + di, j + dj, k + dk
                if 0 <= u < nx and 0 <= v < ny and 0 <= w < nz:
                    weight = (a if di else 1 - a) * (b if dj else 1 - b) * (c if dk else 1 - c)
                    image[u, v, w] += value * weight


@kernel
def _sample_resized(image, coarse, at, ratios, border, out):
    _, mx, my, mz = image.shape
    at_x, at_y, at_z = at
    flat = _flat(image)
    for x in prange(mx):
        corner, within = np.empty(mz, np.int64), np.empty((3, mz), np.float32)
        plane, rows = np.empty((3, coarse.shape[2], mz), np.float32), np.empty((3, mz), np.float32)
        _resize_plane(coarse, at_x[x], at_z, ratios, plane)
        for y in range(my):
            _resize_row(plane, at_y[y], rows)
            _sample_row(image, flat, x, y, rows[0], rows[1], rows[2], border, corner, within, out)


@kernel
def _slopes_resized(image, coarse, at, ratios, outer, border, planes):
    """Write the derivative by the displacement to ``planes (X, 3, *coarse[1:])``.

    For every plane of the image it is the derivative by the displacement on the coarse grid of the
    last two axes. Resizing along the first axis is left to :func:`_gather_planes`, because planes
    of the image that are done in parallel share planes of the coarse grid.
    """
    _, mx, my, mz = image.shape
    at_x, at_y, at_z = at
    flat = _flat(image)
    for x in prange(mx):
        corner, within = np.empty(mz, np.int64), np.empty((3, mz), np.float32)
        plane, rows = np.empty((3, coarse.shape[2], mz), np.float32), np.empty((3, mz), np.float32)
        by_plane, by_rows = np.zeros(plane.shape, np.float32), np.empty((3, mz), np.float32)
        _resize_plane(coarse, at_x[x], at_z, ratios, plane)
        for y in range(my):
            _resize_row(plane, at_y[y], rows)
            u, v, w = rows[0], rows[1], rows[2]
            du, dv, dw = by_rows[0], by_rows[1], by_rows[2]
            _slopes_row(image, flat, x, y, u, v, w, border, corner, within, outer, du, dv, dw)
            _add_row(by_rows, at_y[y], by_plane)
        _narrow_plane(by_plane, at_z, ratios, planes[x])


@inlined
def _between(at, n):
    """Return the two voxels around the coordinate ``at``, and the fraction of the way between them.

    The axis has ``n`` voxels; beyond the last one both are the last one.
    """
    before = np.int64(at)
    return before, min(before + 1, n - 1), np.float32(at - before)


@inlined
def _resize_plane(coarse, at_x, at_z, ratios, plane):
    """Write the displacement at a plane of the image to ``plane (3, coarse Y, Z)``.

    It is resized along the first and the last axis. :func:`_resize_row` does the middle axis, so
    that each coarse row is resized along the last axis once, not once for every row of the image.
    """
    _, nx, ny, nz = coarse.shape
    before, after, fraction = _between(at_x, nx)
    row = np.empty(nz, np.float32)
    for axis in range(3):
        for y in range(ny):
            low, high = coarse[axis, before, y], coarse[axis, after, y]
            for z in range(nz):
                row[z] = ratios[axis] * _mix(low[z], high[z], fraction)
            for z in range(plane.shape[2]):
                left, right, part = _between(at_z[z], nz)
                plane[axis, y, z] = _mix(row[left], row[right], part)


@inlined
def _resize_row(plane, at_y, rows):
    """Write the displacement of a row of the image to ``rows (3, Z)``."""
    before, after, fraction = _between(at_y, plane.shape[1])
    for axis in range(3):
        low, high, row = plane[axis, before], plane[axis, after], rows[axis]
        for z in range(row.shape[0]):
            row[z] = _mix(low[z], high[z], fraction)


@inlined
def _add_row(by_rows, at_y, by_plane):
    """Add the derivatives by a row to those by the plane: the transpose of :func:`_resize_row`."""
    before, after, fraction = _between(at_y, by_plane.shape[1])
    for axis in range(3):
        low, high, row = by_plane[axis, before], by_plane[axis, after], by_rows[axis]
        for z in range(row.shape[0]):
            low[z] += (1 - fraction) * row[z]
        for z in range(row.shape[0]):
            high[z] += fraction * row[z]


@inlined
def _narrow_plane(by_plane, at_z, ratios, out):
    """Write the derivatives by the coarse rows to ``out``.

    This is the transpose of :func:`_resize_plane` along the last axis.
    """
    for axis in range(3):
        for y in range(by_plane.shape[1]):
            row = out[axis, y]
            row[:] = 0
            for z in range(by_plane.shape[2]):
                left, right, part = _between(at_z[z], row.shape[0])
                value = ratios[axis] * by_plane[axis, y, z]
                row[left] += (1 - part) * value
                row[right] += part * value


@kernel
def _gather_planes(planes, at_x, by_coarse):
    """Write the derivative by the displacement to ``by_coarse``.

    This is the transpose of resizing along the first axis. Every coarse plane collects from the
    planes of the image to which it contributed, so that threads write to places of their own.
    """
    _, nx, ny, nz = by_coarse.shape
    for coarse in prange(nx):
        for axis in range(3):
            for y in range(ny):
                by_coarse[axis, coarse, y] = 0
        for x in range(planes.shape[0]):
            before, after, fraction = _between(at_x[x], nx)
            weight = (1 - fraction if before == coarse else np.float32(0)) + (
                fraction if after == coarse else np.float32(0)
            )
            if weight > 0:
                for axis in range(3):
                    for y in range(ny):
                        total, part = by_coarse[axis, coarse, y], planes[x, axis, y]
                        for z in range(nz):
                            total[z] += weight * part[z]
