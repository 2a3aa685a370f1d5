"""Linear interpolation at moved voxels and its gradients (:func:`diffeode.warp.pull_back`)."""

from __future__ import annotations

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel


def pull_back_fused(image: Tensor, displacement: Tensor, border: bool) -> Tensor:
    """``x -> image(x + displacement(x))``, linear; beyond the image its border values continue, or zeros.

    Args:
        image: ``(1, C, X, Y, Z)``, float32, on the CPU.
        displacement: ``(1, 3, X, Y, Z)``, voxels.
    """
    return _PullBack.apply(image, displacement, border)


class _PullBack(torch.autograd.Function):
    @staticmethod
    def forward(context, image: Tensor, displacement: Tensor, border: bool) -> Tensor:
        context.save_for_backward(image, displacement)
        context.border = border
        out = torch.empty(image.shape[:2] + displacement.shape[2:])
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
            _slopes(_array(image), _array(displacement), _array(outer), context.border, by_displacement[0].numpy())
        return by_image, by_displacement, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach()[0].contiguous().numpy()


@inlined
def _place(at, n, border):
    """Lower voxel, fraction above it, and whether moving the point moves the place, along an axis of ``n`` voxels."""
    if border:
        if at <= 0.0:
            return 0, np.float32(0), False
        if at >= n - 1:
            return max(n - 2, 0), np.float32(min(n - 1, 1)), False
    lower = int(np.floor(at))
    return lower, np.float32(at - lower), True


@inlined
def _lost(px, py, pz):
    """Whether a point is nowhere: not finite, or so far off that its index would overflow."""
    return not (abs(px) + abs(py) + abs(pz) < 1e6)


@inlined
def _corner(image, channel, i, j, k):
    """The value at a voxel, 0 beyond the image."""
    _, nx, ny, nz = image.shape
    if 0 <= i < nx and 0 <= j < ny and 0 <= k < nz:
        return image[channel, i, j, k]
    return np.float32(0)


@inlined
def _corners(image, channel, i, j, k):
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


@kernel
def _sample(image, displacement, border, out):
    channels, nx, ny, nz = image.shape
    _, mx, my, mz = displacement.shape
    for x in prange(mx):
        for y in range(my):
            for z in range(mz):
                px, py, pz = x + displacement[0, x, y, z], y + displacement[1, x, y, z], z + displacement[2, x, y, z]
                if _lost(px, py, pz):
                    for channel in range(channels):
                        out[channel, x, y, z] = np.nan
                    continue
                i, a, _ = _place(px, nx, border)
                j, b, _ = _place(py, ny, border)
                k, c, _ = _place(pz, nz, border)
                for channel in range(channels):
                    v = _corners(image, channel, i, j, k)
                    low = _mix(_mix(v[0], v[1], c), _mix(v[2], v[3], c), b)
                    high = _mix(_mix(v[4], v[5], c), _mix(v[6], v[7], c), b)
                    out[channel, x, y, z] = _mix(low, high, a)


@kernel
def _slopes(image, displacement, outer, border, by_displacement):
    """Derivative by the displacement."""
    channels, nx, ny, nz = image.shape
    _, mx, my, mz = displacement.shape
    for x in prange(mx):
        for y in range(my):
            for z in range(mz):
                px, py, pz = x + displacement[0, x, y, z], y + displacement[1, x, y, z], z + displacement[2, x, y, z]
                for axis in range(3):
                    by_displacement[axis, x, y, z] = np.nan if _lost(px, py, pz) else 0
                if _lost(px, py, pz):
                    continue
                i, a, free_x = _place(px, nx, border)
                j, b, free_y = _place(py, ny, border)
                k, c, free_z = _place(pz, nz, border)
                for channel in range(channels):
                    v = _corners(image, channel, i, j, k)
                    g = outer[channel, x, y, z]
                    edges = _mix(_mix(v[1] - v[0], v[3] - v[2], b), _mix(v[5] - v[4], v[7] - v[6], b), a)
                    low, high = _mix(v[0], v[1], c), _mix(v[2], v[3], c)
                    low_above, high_above = _mix(v[4], v[5], c), _mix(v[6], v[7], c)
                    if free_x:
                        by_displacement[0, x, y, z] += g * (_mix(low_above, high_above, b) - _mix(low, high, b))
                    if free_y:
                        by_displacement[1, x, y, z] += g * _mix(high - low, high_above - low_above, a)
                    if free_z:
                        by_displacement[2, x, y, z] += g * edges


@kernel
def _scatter(outer, displacement, border, by_image):
    """Derivative by the image. Points go anywhere, so only channels can be worked on side by side."""
    channels, nx, ny, nz = by_image.shape
    _, mx, my, mz = displacement.shape
    for channel in prange(channels):
        for x in range(mx):
            for y in range(my):
                for z in range(mz):
                    px = x + displacement[0, x, y, z]
                    py = y + displacement[1, x, y, z]
                    pz = z + displacement[2, x, y, z]
                    if _lost(px, py, pz):
                        continue
                    i, a, _ = _place(px, nx, border)
                    j, b, _ = _place(py, ny, border)
                    k, c, _ = _place(pz, nz, border)
                    _spread(outer[channel, x, y, z], by_image[channel], i, j, k, a, b, c)


@inlined
def _spread(value, image, i, j, k, a, b, c):
    nx, ny, nz = image.shape
    for di in range(2):
        for dj in range(2):
            for dk in range(2):
                u, v, w = i + di, j + dj, k + dk
                if 0 <= u < nx and 0 <= v < ny and 0 <= w < nz:
                    weight = (a if di else 1 - a) * (b if dj else 1 - b) * (c if dk else 1 - c)
                    image[u, v, w] += value * weight
