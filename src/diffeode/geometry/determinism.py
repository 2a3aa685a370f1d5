"""The same map every time on a GPU: what torch has no deterministic gradient for there, in
operations that have one.

A GPU adds many small contributions in whatever order they arrive, and rounding depends on the
order. After ``torch.use_deterministic_algorithms(True)`` torch takes an order for most operations
and refuses the gradients of the others; of those this package uses two, averages over windows in
three dimensions and ``grid_sample``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def deterministic(device: torch.device, wanted: bool) -> Iterator[None]:
    """Where ``wanted``, have torch take its deterministic operations on ``device``, or refuse; on a
    CPU it always does.

    Matrix products need the environment's ``CUBLAS_WORKSPACE_CONFIG``, which is set where it is
    not; a process that multiplied matrices on the GPU before may have made its choice.
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
    """Whether torch was told so, and ``tensor`` lies where that costs something."""
    return tensor.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


def window_average(image: Tensor, window: Sequence[int], stride: int = 1) -> Tensor:
    """Mean of ``image (N, C, *size)`` over ``window`` voxels along each axis, where it fits, at
    every ``stride``.
    """
    if image.dim() == 4:
        return F.avg_pool2d(image, list(window), stride)
    if not must_be_deterministic(image):
        return F.avg_pool3d(image, list(window), stride)
    first, *others = window
    planes = F.avg_pool2d(image.flatten(0, 1), others, stride)
    columns = F.avg_pool2d(planes.flatten(2), [first, 1], [stride, 1])
    return columns.view(*image.shape[:2], columns.shape[1], *planes.shape[2:])


def gathered(image: Tensor, voxels: Tensor, border: bool) -> Tensor:
    """``image (N, C, *size)`` at voxel coordinates ``(N, d, *out)``, linear, as ``(N, C, *out)``,
    corner by corner.

    Beyond the image its border values continue, without a slope, or zeros: values and gradients are
    ``grid_sample``'s.
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
    inside = (coordinate > 0) & (coordinate < n - 1)
    return torch.where(inside, coordinate, coordinate.detach().clamp(0, n - 1))
