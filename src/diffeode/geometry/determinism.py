"""Operations whose gradient is the same every time on a GPU.

A GPU adds many small contributions in whatever order they arrive, and rounding depends on the
order. After ``torch.use_deterministic_algorithms(True)`` torch fixes the order for most operations
and refuses to compute the gradients of the others. This package uses two of the refused ones,
averages over windows in three dimensions and ``grid_sample``. They are written here in terms of
operations that torch can order.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.geometry.shapes import ChannelsTensor, VoxelsTensor


@contextmanager
def deterministic(device: torch.device, wanted: bool) -> Iterator[None]:
    """Make torch use deterministic operations on ``device`` while this context lasts.

    Nothing changes where it is not ``wanted``, nor on a CPU, where torch is always deterministic.
    On a GPU torch raises an error for an operation that has no deterministic form.

    Matrix products also need the environment variable ``CUBLAS_WORKSPACE_CONFIG``. It is set here
    unless it is set already; that is too late in a process that multiplied matrices on the GPU
    before.
    """
    if not wanted or device.type == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def must_be_deterministic(tensor: Tensor) -> bool:
    """Return whether torch must be deterministic and ``tensor`` lies on a GPU.

    On a CPU the usual operations are deterministic, so they need no replacement.
    """
    return tensor.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


def window_average(image: ChannelsTensor, window: Sequence[int], stride: int = 1) -> ChannelsTensor:
    """Return the means of ``image`` over windows that lie wholly inside it.

    The mean over a box is the mean over its planes of the means within each plane. In three
    dimensions the deterministic form therefore averages twice in two dimensions, for which torch
    has a deterministic gradient.

    Args:
        window: the number of voxels of a window along each axis.
        stride: the distance between neighbouring windows, voxels.
    """
    if image.dim() == 4:
        return F.avg_pool2d(image, list(window), stride)
    if not must_be_deterministic(image):
        return F.avg_pool3d(image, list(window), stride)
    first, *others = window
    planes = F.avg_pool2d(image.flatten(0, 1), others, stride)
    columns = F.avg_pool2d(planes.flatten(2), [first, 1], [stride, 1])
    return columns.view(*image.shape[:2], columns.shape[1], *planes.shape[2:])


def gathered(image: ChannelsTensor, voxels: VoxelsTensor, border: bool) -> ChannelsTensor:
    """Return ``image`` at the points ``voxels (N, d, *out)``, linearly interpolated, ``(N, C,
    *out)``.

    The values and the gradients are those of ``grid_sample``. The sum over the ``2^d`` corners of
    the cell around each point is written out here, because ``index_select`` has a deterministic
    gradient.

    Args:
        border: whether the border values continue beyond the image, with a slope of 0; otherwise
            the image is 0 there.
    """
    count, channels, *size = image.shape
    if border:
        voxels = torch.cat(
            [_held_within(voxels.narrow(1, axis, 1), n) for axis, n in enumerate(size)], dim=1
        )
    lower = voxels.detach().floor()
    share = voxels - lower
    flat = image.transpose(0, 1).flatten(1)
    batch = torch.arange(count, device=image.device).view(-1, *[1] * len(size))
    total = image.new_zeros(())
    for corner in itertools.product((0, 1), repeat=len(size)):
        # `index` counts along the flattened image: number of the image first, last axis last.
        index, weight = batch, torch.ones_like(share[:, 0])
        for axis, (step, n) in enumerate(zip(corner, size, strict=True)):
            at = lower[:, axis] + step
            within = (at >= 0) & (at < n)
            weight = weight * (share[:, axis] if step else 1 - share[:, axis]) * within
            index = index * n + at.clamp(0, n - 1).long()
        values = flat.index_select(1, index.flatten()).view(channels, *index.shape)
        total = total + values * weight
    return total.transpose(0, 1)


def _held_within(coordinate: Tensor, n: int) -> Tensor:
    """Return ``coordinate`` clamped to an axis of ``n`` voxels.

    The gradient is 0 where the coordinate was clamped, as well as on the outermost centres
    themselves.
    """
    inside = (coordinate > 0) & (coordinate < n - 1)
    return torch.where(inside, coordinate, coordinate.detach().clamp(0, n - 1))
