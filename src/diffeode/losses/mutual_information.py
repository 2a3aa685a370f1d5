"""Mutual information by Gaussian Parzen windows, over the whole image or averaged over patches.

Intensities in [0, 1] are softly assigned to bins with a Gaussian as wide as a bin. Soft assignments are the memory of
these losses, so they are made chunk by chunk and made again for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_FLOOR = 1e-10
_CHUNK_FLOATS = 2_000_000
"""Soft assignments of one image held at once; bounds the memory whatever the image."""


def mutual_information_to(
    fixed: Tensor, bins: int, normalised: bool = False, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> - MI`` in nats, or minus the normalised ``(H_fixed + H_moving) / H_joint``.

    Wells et al., MedIA 1(1), 1996; Studholme et al., Pattern Recognition 32(1), 1999.

    Args:
        fixed: ``(1, 1, *size)`` in [0, 1], and so the images the loss is asked for.
        mask: weights of the voxels in the joint histogram.
    """
    inside = torch.ones_like(fixed, dtype=torch.bool) if mask is None else mask > 0
    target = fixed[inside]
    weights = torch.full_like(target, 1 / len(target)) if mask is None else mask[inside] / mask.sum()
    per_chunk = max(1, _CHUNK_FLOATS // bins)
    measure = _normalised_information if normalised else _information

    def loss(moving: Tensor) -> Tensor:
        chunks = zip(*(values.split(per_chunk) for values in (target, moving[inside], weights)), strict=True)
        joint = sum(checkpoint(_joint_histogram, a, b, w, bins, use_reentrant=False) for a, b, w in chunks)
        return -measure(joint)

    return loss


def local_mutual_information_to(
    fixed: Tensor, patch: int, bins: int, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> - mean MI`` over the non-overlapping patches of ``patch`` voxels, in nats.

    arXiv 2512.22689, equations 22 and 23. Images are extended with zeros to whole patches; patches in which ``fixed``
    is constant are left out: they hold no information whatever lies on them.

    Args:
        fixed: ``(1, 1, *size)`` in [0, 1], and so the images the loss is asked for.
        mask: a patch counts as much as the mean of the mask over it; its histogram is of all its voxels.
    """
    patches = _patches(fixed, patch)
    shares = torch.ones_like(patches[:, 0])
    if mask is not None:
        shares = _patches(mask, patch).sum(1) / _patches(torch.ones_like(mask), patch).sum(1)
    chosen = (patches.amax(1) > patches.amin(1)) & (shares > 0)
    target, shares = patches[chosen], shares[chosen]
    per_chunk = max(1, _CHUNK_FLOATS // (bins * patch ** (fixed.dim() - 2)))

    def loss(moving: Tensor) -> Tensor:
        chunks = zip(*(values.split(per_chunk) for values in (target, _patches(moving, patch)[chosen])), strict=True)
        found = [checkpoint(_patch_information, a, b, bins, use_reentrant=False) for a, b in chunks]
        return -(torch.cat(found) * shares).sum() / shares.sum() if found else moving.new_zeros(())

    return loss


def _patch_information(fixed: Tensor, moving: Tensor, bins: int) -> Tensor:
    """Information of each patch, ``(patches,)``, from intensities ``(patches, voxels)``."""
    return _information(_joint_histogram(fixed, moving, torch.full_like(fixed, 1 / fixed.shape[1]), bins))


def _joint_histogram(fixed: Tensor, moving: Tensor, weights: Tensor, bins: int) -> Tensor:
    """Sum over voxels ``(..., voxels)`` of their weights, as ``(..., bins of fixed, bins of moving)``."""
    return (_soft_bins(fixed, bins) * weights.unsqueeze(-1)).transpose(-1, -2) @ _soft_bins(moving, bins)


def _information(joint: Tensor) -> Tensor:
    """Mutual information of joint histograms ``(..., bins, bins)`` that sum to 1."""
    independent = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return (joint * torch.log((joint + _FLOOR) / (independent + _FLOOR))).sum(dim=(-1, -2))


def _normalised_information(joint: Tensor) -> Tensor:
    return (_entropy(joint.sum(-1)) + _entropy(joint.sum(-2))) / _entropy(joint.flatten(-2))


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * torch.log(probabilities + _FLOOR)).sum(-1)


def _soft_bins(values: Tensor, bins: int) -> Tensor:
    """``(..., voxels)`` in [0, 1] as weights ``(..., voxels, bins)`` that sum to 1."""
    centres = torch.linspace(0, 1, bins, device=values.device, dtype=values.dtype)
    distance = (values.clamp(0, 1).unsqueeze(-1) - centres) * (bins - 1)
    return torch.softmax(-0.5 * distance * distance, dim=-1)


def _patches(image: Tensor, patch: int) -> Tensor:
    """``(1, 1, *size)`` as ``(patches, patch^d)``."""
    size = image.shape[2:]
    pad = [amount for n in reversed(size) for amount in (0, -n % patch)]
    image = F.pad(image, pad)[0, 0]
    for axis in range(len(size)):
        image = image.unfold(axis, patch, patch)
    return image.reshape(-1, patch ** len(size))
