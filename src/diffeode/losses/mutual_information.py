"""Mutual information by Gaussian Parzen windows, over the whole image or averaged over patches.

Intensities in [0, 1] are softly assigned to bins with a Gaussian as wide as a bin. Soft assignments
are the memory of these losses, so they are made chunk by chunk and never kept.
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

_FLOOR = 1e-10
_CHUNK_FLOATS = 2_000_000
"""Soft assignments of one image held at once; bounds the memory whatever the image."""


def mutual_information_to(
    fixed: Tensor, bins: int, normalised: bool = False, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> - MI`` in nats, or minus the normalised ``(H_fixed + H_moving) /
    H_joint``.

    Wells et al., MedIA 1(1), 1996; Studholme et al., Pattern Recognition 32(1), 1999.

    Args:
        fixed: ``(1, 1, *size)`` in [0, 1], and so the images the loss is asked for.
        mask: weights of the voxels in the joint histogram.
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

    def loss(moving: Tensor) -> Tensor:
        chunks = zip(
            *(values.split(per_chunk) for values in (target, moving[inside], weights)), strict=True
        )
        joint = sum(
            checkpoint(_joint_histogram, a, b, bins, w, use_reentrant=False) for a, b, w in chunks
        )
        return -measure(joint)

    return loss


def local_mutual_information_to(
    fixed: Tensor, patch: int, bins: int, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> - mean MI`` over the non-overlapping patches of ``patch`` voxels, in
    nats.

    arXiv 2512.22689, equations 22 and 23. Images are extended with zeros to whole patches, alike on
    both sides;
    patches in which ``fixed`` is constant are left out: they hold no information whatever lies on
    them.

    Args:
        fixed: ``(1, 1, *size)`` in [0, 1], and so the images the loss is asked for.
        mask: a patch counts as much as the mean of the mask over it; its histogram is of all its
            voxels.
    """
    patches = _patches(fixed, patch)
    shares = torch.ones_like(patches[:, 0])
    if mask is not None:
        shares = _patches(mask, patch).sum(1) / _patches(torch.ones_like(mask), patch).sum(1)
    chosen = (patches.amax(1) > patches.amin(1)) & (shares > 0)
    target, shares = patches[chosen], shares[chosen]
    per_chunk = max(1, _CHUNK_FLOATS // (bins * patch ** (fixed.dim() - 2)))

    def loss(moving: Tensor) -> Tensor:
        inside = _patches(moving, patch)[chosen]
        return -_SumOverPatches.apply(inside, target, shares, bins, per_chunk) / shares.sum().clamp(
            min=_FLOOR
        )

    return loss


class _SumOverPatches(torch.autograd.Function):
    """Sum of ``shares (patches,)`` times the information of patches ``(patches, voxels)``.

    A sum's gradient is known chunk by chunk, so it is taken on the way: nothing need be made twice
    or kept.
    """

    @staticmethod
    def forward(
        ctx, moving: Tensor, fixed: Tensor, shares: Tensor, bins: int, per_chunk: int
    ) -> Tensor:
        total, gradients = moving.new_zeros(()), [moving[:0]]
        for values, target, share in zip(
            *(t.split(per_chunk) for t in (moving, fixed, shares)), strict=True
        ):
            with torch.enable_grad():
                variable = values.detach().requires_grad_()
                part = (
                    share * _information(_joint_histogram(target, variable, bins) / target.shape[1])
                ).sum()
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
    """Sum over voxels ``(..., voxels)``, of their weights if any, as ``(..., bins of fixed, bins of
    moving)``.
    """
    of_fixed = _soft_bins(fixed.clamp(0, 1), bins)
    if weights is not None:
        of_fixed = of_fixed * weights.unsqueeze(-2)
    return of_fixed @ _soft_bins(moving.clamp(0, 1), bins).transpose(-1, -2)


def _information(joint: Tensor) -> Tensor:
    """Mutual information of joint histograms ``(..., bins, bins)`` that sum to 1."""
    independent = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return (joint * torch.log((joint + _FLOOR) / (independent + _FLOOR))).sum(dim=(-1, -2))


def _normalised_information(joint: Tensor) -> Tensor:
    return (_entropy(joint.sum(-1)) + _entropy(joint.sum(-2))) / _entropy(joint.flatten(-2))


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * torch.log(probabilities + _FLOOR)).sum(-1)


def _soft_bins(values: Tensor, bins: int) -> Tensor:
    """``(..., voxels)`` in [0, 1] as weights ``(..., bins, voxels)`` that sum to 1 over the bins.

    Of ``-(v - c)^2 / 2 = v c - c^2 / 2 - v^2 / 2`` the last term is common to all bins ``c`` and
    drops out.
    """
    centres = (
        torch.arange(bins, device=values.device, dtype=values.dtype).unsqueeze(-1) - (bins - 1) / 2
    )
    positions = (values.unsqueeze(-2) - 0.5) * (bins - 1)
    return torch.softmax(positions * centres - 0.5 * centres * centres, dim=-2)


def _room_beyond(n: int, patch: int) -> tuple[int, int]:
    """Voxels before and behind ``n`` of them that make whole patches: equal ones, unless both
    lengths forbid it.
    """
    room = -n % patch
    if room % 2 and patch % 2:
        room += patch
    return room // 2, room - room // 2


def _patches(image: Tensor, patch: int) -> Tensor:
    """``(1, 1, *size)`` as ``(patches, patch^d)``, extended alike on both sides, as far as whole
    voxels allow.
    """
    size = image.shape[2:]
    image = F.pad(image, [amount for n in reversed(size) for amount in _room_beyond(n, patch)])[
        0, 0
    ]
    for axis in range(len(size)):
        image = image.unfold(axis, patch, patch)
    return image.reshape(-1, patch ** len(size))
