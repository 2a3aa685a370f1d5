"""Mutual information by Gaussian Parzen windows, over the whole image or averaged over patches.

Each intensity in [0, 1] is shared among the bins by a Gaussian whose standard deviation is the
distance between two bins (Parzen windows as in Wells et al., Medical Image Analysis 1(1), 1996).
The shares take most of the memory of these losses, one number for each voxel and bin. They are
therefore computed for one part of the voxels after the other, and never kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from diffeode.fused.compiler import serves
from diffeode.fused.mutual_information import FusedInformation
from diffeode.geometry.shapes import ImageTensor, LossTensor, MaskTensor

_FLOOR = 1e-10
"""A number that is added to probabilities, so that the logarithm of an empty bin is finite."""
_CHUNK_FLOATS = 2_000_000
"""Number of shares of one image that are held at once, which bounds the memory."""


def mutual_information_to(
    fixed: ImageTensor, bins: int, normalised: bool = False, mask: MaskTensor | None = None
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``moving -> - MI``, the negative mutual information in nats.

    With ``H`` the entropy, mutual information is ``MI = H_fixed + H_moving - H_joint`` (Wells et
    al., Medical Image Analysis 1(1), 1996).

    Args:
        fixed: intensities in [0, 1], as those of the moving images must be.
        bins: the number of bins of either image.
        normalised: whether the loss is ``-(H_fixed + H_moving) / H_joint`` instead (Studholme et
            al., Pattern Recognition 32(1), 1999).
        mask: the weights of the voxels in the joint histogram.

    >>> fixed, other = torch.rand(2, 1, 1, 32, 32, dtype=torch.float64)
    >>> loss = mutual_information_to(fixed[None], bins=16)
    >>> torch.allclose(loss(fixed[None]), loss(1 - fixed[None]))
    True
    >>> bool(loss(fixed[None]) < loss(other[None]) < 0)
    True
    """
    measure = _normalised_information if normalised else _information
    if serves(fixed):
        return FusedInformation(fixed, bins, partial(_soft_bins, bins=bins), measure, mask)
    inside = torch.ones_like(fixed, dtype=torch.bool) if mask is None else mask > 0
    target = fixed[inside]
    weights = (
        torch.full_like(target, 1 / len(target)) if mask is None else mask[inside] / mask.sum()
    )
    per_chunk = max(1, _CHUNK_FLOATS // bins)

    def loss(moving: ImageTensor) -> LossTensor:
        split = [values.split(per_chunk) for values in (target, moving[inside], weights)]
        joint = sum(
            checkpoint(_joint_histogram, of_fixed, of_moving, bins, weight, use_reentrant=False)
            for of_fixed, of_moving, weight in zip(*split, strict=True)
        )
        return -measure(joint)

    return loss


def local_mutual_information_to(
    fixed: ImageTensor, patch: int, bins: int, mask: MaskTensor | None = None
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``moving -> - mean MI``, the mean over patches of the images, in nats.

    The patches do not overlap (arXiv 2512.22689, equations 22 and 23). Images are extended with
    zeros to whole patches, equally on both sides. Patches in which ``fixed`` is constant are left
    out: they hold no information about any moving image.

    Args:
        fixed: intensities in [0, 1], as those of the moving images must be.
        patch: the width of the patches along each axis, voxels.
        bins: the number of bins of either image in the histogram of a patch.
        mask: its mean over a patch is the patch's weight; the histogram is of all voxels of the
            patch.
    """
    patches = _patches(fixed, patch)
    shares = torch.ones_like(patches[:, 0])
    if mask is not None:
        shares = _patches(mask, patch).sum(1) / _patches(torch.ones_like(mask), patch).sum(1)
    chosen = (patches.amax(1) > patches.amin(1)) & (shares > 0)
    target, shares = patches[chosen], shares[chosen]
    per_chunk = max(1, _CHUNK_FLOATS // (bins * patch ** (fixed.dim() - 2)))

    def loss(moving: ImageTensor) -> LossTensor:
        inside = _patches(moving, patch)[chosen]
        total = _SumOverPatches.apply(inside, target, shares, bins, per_chunk)
        return -total / shares.sum().clamp(min=_FLOOR)

    return loss


class _SumOverPatches(torch.autograd.Function):
    """The sum of ``shares (patches,)`` times the information of the patches ``(patches, voxels)``.

    The gradient of a sum does not depend on the other terms. So the gradient of each chunk of
    patches is computed together with its value, and no histogram is kept or made twice.
    """

    @staticmethod
    def forward(
        ctx, moving: Tensor, fixed: Tensor, shares: Tensor, bins: int, per_chunk: int
    ) -> Tensor:
        total, gradients = moving.new_zeros(()), [moving[:0]]
        split = [tensor.split(per_chunk) for tensor in (moving, fixed, shares)]
        for values, target, share in zip(*split, strict=True):
            with torch.enable_grad():
                variable = values.detach().requires_grad_()
                joint = _joint_histogram(target, variable, bins) / target.shape[1]
                part = (share * _information(joint)).sum()
            gradients += torch.autograd.grad(part, variable)
            total += part.detach()
        ctx.save_for_backward(torch.cat(gradients))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None, None, None


def _joint_histogram(
    fixed: Tensor, moving: Tensor, bins: int, weights: Tensor | None = None
) -> Tensor:
    """Return the joint histogram ``(..., bins of fixed, bins of moving)`` of two sets of voxels.

    Args:
        fixed, moving: the intensities of the same voxels, ``(..., voxels)``.
        weights: the weight of each voxel; None: 1.
    """
    of_fixed = _soft_bins(fixed.clamp(0, 1), bins)
    if weights is not None:
        of_fixed = of_fixed * weights.unsqueeze(-2)
    return of_fixed @ _soft_bins(moving.clamp(0, 1), bins).transpose(-1, -2)


def _information(joint: Tensor) -> Tensor:
    """Return the mutual information of joint histograms ``(..., bins, bins)`` whose sum is 1."""
    independent = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return (joint * torch.log((joint + _FLOOR) / (independent + _FLOOR))).sum(dim=(-1, -2))


def _normalised_information(joint: Tensor) -> Tensor:
    """Return the normalised mutual information of joint histograms whose sum is 1."""
    return (_entropy(joint.sum(-1)) + _entropy(joint.sum(-2))) / _entropy(joint.flatten(-2))


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * torch.log(probabilities + _FLOOR)).sum(-1)


def _soft_bins(values: Tensor, bins: int) -> Tensor:
    """Return the shares ``(..., bins, voxels)`` of intensities ``(..., voxels)``, sum 1 over bins.

    With ``v`` the intensity and ``c`` the centre of a bin, in units of the distance between bins,
    the share is proportional to ``exp(-(v - c)^2 / 2)``. In the exponent ``v c - c^2 / 2 - v^2 /
    2`` the last term is the same for all bins, so the softmax over bins does not need it.
    """
    centres = (
        torch.arange(bins, device=values.device, dtype=values.dtype).unsqueeze(-1) - (bins - 1) / 2
    )
    positions = (values.unsqueeze(-2) - 0.5) * (bins - 1)
    return torch.softmax(positions * centres - 0.5 * centres * centres, dim=-2)


def _room_beyond(n: int, patch: int) -> tuple[int, int]:
    """Return the numbers of voxels to add before and behind ``n`` voxels to make whole patches.

    The two are equal where that is possible, so that an image and its mirror image have the same
    patches. It is not where ``patch`` is even and ``n`` is odd.
    """
    room = -n % patch
    if room % 2 and patch % 2:
        room += patch  # one patch more, and the sum of the two is even
    return room // 2, room - room // 2


def _patches(image: ImageTensor, patch: int) -> Tensor:
    """Return the patches of ``image``, ``(patches, patch^d)``; zeros complete the outer ones."""
    size = image.shape[2:]
    pad: list[int] = []
    for n in reversed(size):  # torch pads the last axis first
        pad += _room_beyond(n, patch)
    image = F.pad(image, pad)[0, 0]
    for axis in range(len(size)):
        image = image.unfold(axis, patch, patch)
    return image.reshape(-1, patch ** len(size))
