"""Sampling on regular grids in torch: the only home of ``align_corners``.

Layout: images ``(N, C, *size)``, displacements and velocities ``(N, d, *size)`` in voxels, channel
``a`` along array axis ``a``. Two grids over the same box have the same edges, so voxel ``i`` of a
grid of ``n`` voxels has its centre at ``(i + 1/2) / n`` of the box, whatever ``n`` is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.sampling import pull_back_fused, pull_back_resized_fused, twice_fused
from diffeode.geometry.determinism import gathered, must_be_deterministic

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def voxel_centres(size: Sequence[int], like: Tensor) -> Tensor:
    """Index of every voxel, ``(1, d, *size)``, with the device and dtype of ``like``."""
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample_at(image: Tensor, voxels: Tensor, padding: str = "zeros") -> Tensor:
    """``image (N, C, *size)`` at voxel coordinates ``(N, d, *out)``, linear, as ``(N, C, *out)``.

    Args:
        padding: ``zeros`` (outside is background) or ``border`` (the nearest voxel's value
            continues).
    """
    if must_be_deterministic(image):
        return gathered(image, voxels, padding == "border")
    size = image.shape[2:]
    scale = torch.tensor(
        [2.0 / max(n - 1, 1) for n in size], device=voxels.device, dtype=voxels.dtype
    )
    normalised = torch.movedim(voxels, 1, -1) * scale - 1.0
    return F.grid_sample(
        image, normalised.flip(-1), mode="bilinear", padding_mode=padding, align_corners=True
    )


def pull_back(image: Tensor, displacement: Tensor, padding: str = "zeros") -> Tensor:
    """``x -> image(x + displacement(x))`` on the grid of ``displacement``, which is the image's."""
    if serves(image, displacement):
        return pull_back_fused(image, displacement, padding == "border")
    return sample_at(
        image, voxel_centres(displacement.shape[2:], displacement) + displacement, padding
    )


def pull_back_resized(image: Tensor, displacement: Tensor, padding: str = "zeros") -> Tensor:
    """:func:`pull_back` by :func:`resize_displacement` of a ``displacement`` that may lie on
    another grid.
    """
    resizes = displacement.shape[2:] != image.shape[2:]
    if resizes and serves(image, displacement) and not image.requires_grad:
        return pull_back_resized_fused(image, displacement, padding == "border")
    return pull_back(image, resize_displacement(displacement, image.shape[2:]), padding)


def pull_back_from_rest(image: Tensor, displacement: Tensor, padding: str = "zeros") -> Tensor:
    """:func:`pull_back_resized` whose derivative favours no side where ``displacement`` is zero
    everywhere.

    The derivative of linear interpolation jumps at voxel centres, and there torch takes that of one
    side. A registration that starts at rest, with all its points on voxel centres, would lean to
    that side from its first step on, and flipped images would not give the flipped map. At rest the
    mean of both sides, the central difference, is taken instead.
    """
    if any(torch.aminmax(displacement.detach())):
        return pull_back_resized(image, displacement, padding)
    slopes = torch.gradient(image, dim=list(range(2, image.dim())))
    still = resize_displacement(displacement, image.shape[2:])
    return image + sum(slope * still.narrow(1, axis, 1) for axis, slope in enumerate(slopes))


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Displacement of ``x -> second(first(x))`` for two displacements on one grid."""
    return first + pull_back(second, first, padding="border")


def twice(displacement: Tensor) -> Tensor:
    """Displacement of ``x -> phi(phi(x))``: :func:`compose` with itself."""
    if serves(displacement):
        return twice_fused(displacement)
    return compose(displacement, displacement)


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """``image`` on a grid of ``size`` voxels over the same box, linear; nothing is
    smoothed first.
    """
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode=_MODES[len(size)], align_corners=False)


def resize_displacement(displacement: Tensor, size: Sequence[int]) -> Tensor:
    """``displacement`` on a grid of ``size`` voxels over the same box, in that grid's voxels."""
    old = displacement.shape[2:]
    if tuple(old) == tuple(size):
        return displacement
    ratio = torch.tensor(
        [b / a for a, b in zip(old, size, strict=True)],
        device=displacement.device,
        dtype=displacement.dtype,
    )
    return resize(displacement, size) * ratio.view(1, -1, *[1] * len(old))
