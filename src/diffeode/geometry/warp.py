"""Sampling on regular grids in torch; no other module says ``align_corners``.

Two grids over the same box share the outer edges of their voxels. So voxel ``i`` of ``n`` voxels
has its centre at the fraction ``(i + 1/2) / n`` of the box, whatever ``n`` is. Shapes are those of
:mod:`diffeode.geometry.shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.sampling import pull_back_fused, pull_back_resized_fused, twice_fused
from diffeode.geometry.determinism import gathered, must_be_deterministic
from diffeode.geometry.shapes import (
    ChannelsTensor,
    DisplacementTensor,
    VelocityTensor,
    VoxelsTensor,
)

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def voxel_centres(size: Sequence[int], like: Tensor) -> VoxelsTensor:
    """Return the index of every voxel, ``(1, d, *size)``, with the device and dtype of ``like``."""
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample_at(
    image: ChannelsTensor, voxels: VoxelsTensor, padding: str = "zeros"
) -> ChannelsTensor:
    """Return ``image`` at the points ``voxels (N, d, *out)``, linearly interpolated, ``(N, C,
    *out)``.

    Args:
        padding: what lies outside the image: ``zeros``, or with ``border`` the value of the nearest
            voxel.
    """
    if must_be_deterministic(image):
        return gathered(image, voxels, padding == "border")
    size = image.shape[2:]
    # With align_corners, -1 and 1 are the centres of the outermost voxels. An axis of one voxel has
    # no width; any scale then sends coordinate 0 to -1, which is that voxel.
    scale = torch.tensor(
        [2.0 / max(n - 1, 1) for n in size], device=voxels.device, dtype=voxels.dtype
    )
    normalised = torch.movedim(voxels, 1, -1) * scale - 1.0
    # grid_sample wants the coordinate along the last axis first; its "bilinear" is linear along
    # every axis, in three dimensions too.
    return F.grid_sample(
        image, normalised.flip(-1), mode="bilinear", padding_mode=padding, align_corners=True
    )


def pull_back(
    image: ChannelsTensor, displacement: DisplacementTensor, padding: str = "zeros"
) -> ChannelsTensor:
    """Return ``x -> image(x + displacement(x))``; both lie on one grid.

    Args:
        padding: see :func:`sample_at`.

    >>> image = torch.tensor([[[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]]])
    >>> half_a_column = torch.zeros(1, 2, 2, 3)
    >>> half_a_column[:, 1] = 0.5
    >>> pull_back(image, half_a_column)[0, 0].tolist()
    [[1.5, 3.0, 2.0], [12.0, 24.0, 16.0]]
    >>> pull_back(image, half_a_column, padding="border")[0, 0].tolist()
    [[1.5, 3.0, 4.0], [12.0, 24.0, 32.0]]
    """
    if serves(image, displacement):
        return pull_back_fused(image, displacement, padding == "border")
    return sample_at(
        image, voxel_centres(displacement.shape[2:], displacement) + displacement, padding
    )


def pull_back_resized(
    image: ChannelsTensor, displacement: DisplacementTensor, padding: str = "zeros"
) -> ChannelsTensor:
    """Pull ``image`` back by a ``displacement`` that may lie on another grid over the same box.

    The result is that of :func:`resize_displacement` followed by :func:`pull_back`.
    """
    resizes = displacement.shape[2:] != image.shape[2:]
    if resizes and serves(image, displacement) and not image.requires_grad:
        return pull_back_resized_fused(image, displacement, padding == "border")
    return pull_back(image, resize_displacement(displacement, image.shape[2:]), padding)


def pull_back_from_rest(
    image: ChannelsTensor, displacement: DisplacementTensor, padding: str = "zeros"
) -> ChannelsTensor:
    """Pull ``image`` back as :func:`pull_back_resized` does, with a symmetric gradient at rest.

    The derivative of linear interpolation jumps at voxel centres, and torch takes the derivative of
    one side there. A registration starts with a displacement of zero, that is, with all points on
    voxel centres. It would lean to that side from its first step on, and flipped images would not
    give the flipped map. Where the displacement is zero everywhere, the derivative is therefore the
    mean of both sides, which is the central difference.
    """
    if any(torch.aminmax(displacement.detach())):  # the least or the greatest value is not 0
        return pull_back_resized(image, displacement, padding)
    slopes = torch.gradient(image, dim=list(range(2, image.dim())))
    # The value is the image, since the displacement is zero; the term after it has the gradient.
    at_rest = resize_displacement(displacement, image.shape[2:])
    return image + sum(slope * at_rest.narrow(1, axis, 1) for axis, slope in enumerate(slopes))


def compose(first: DisplacementTensor, second: DisplacementTensor) -> DisplacementTensor:
    """Return the displacement of the map that applies ``first`` and then ``second``.

    Both displacements lie on one grid.
    """
    return first + pull_back(second, first, padding="border")


def twice(displacement: DisplacementTensor) -> DisplacementTensor:
    """Return the displacement of the map ``phi`` applied twice, ``x -> phi(phi(x))``.

    >>> shift = torch.full((1, 2, 4, 4), 0.75)
    >>> twice(shift).unique().tolist()
    [1.5]
    """
    if serves(displacement):
        return twice_fused(displacement)
    return compose(displacement, displacement)


def resize(image: ChannelsTensor, size: Sequence[int]) -> ChannelsTensor:
    """Return ``image`` on a grid of ``size`` voxels over the same box.

    The image is interpolated linearly and not smoothed before; for a coarser grid without aliasing
    see :func:`diffeode.optimise.pyramid.reduce`.
    """
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode=_MODES[len(size)], align_corners=False)


def resize_displacement(
    displacement: DisplacementTensor | VelocityTensor, size: Sequence[int]
) -> DisplacementTensor | VelocityTensor:
    """Return ``displacement`` on a grid of ``size`` voxels over the same box, in voxels of that
    grid.

    >>> one_voxel = torch.ones(1, 2, 4, 4)
    >>> resize_displacement(one_voxel, (8, 2))[0, :, 0, 0].tolist()
    [2.0, 0.5]
    """
    old = displacement.shape[2:]
    if tuple(old) == tuple(size):
        return displacement
    ratio = torch.tensor(
        [b / a for a, b in zip(old, size, strict=True)],
        device=displacement.device,
        dtype=displacement.dtype,
    )
    return resize(displacement, size) * ratio.view(1, -1, *[1] * len(old))
