"""Mutual information by Gaussian Parzen windows, over the whole image or averaged over patches."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_FLOOR = 1e-10
_CHUNK_FLOATS = 16_000_000
"""Soft assignments held at once; bounds the memory whatever the image."""


def local_mutual_information_to(fixed: Tensor, patch: int, bins: int) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> - mean MI`` over the non-overlapping patches of ``patch`` voxels, in nats.

    arXiv 2512.22689, equations 22 and 23. Intensities in [0, 1] are softly assigned to ``bins`` bins with a Gaussian as
    wide as a bin. Images are extended with zeros to whole patches; patches in which ``fixed`` is constant are left out:
    they hold no information whatever lies on them.

    Args:
        fixed: ``(1, 1, *size)`` in [0, 1], and so the images the loss is asked for.
    """
    patches = _patches(fixed, patch)
    informative = patches.amax(1) > patches.amin(1)
    target = _soft_bins(patches[informative], bins)
    per_chunk = max(1, _CHUNK_FLOATS // (bins * patch ** (fixed.dim() - 2)))

    def loss(moving: Tensor) -> Tensor:
        chosen = _patches(moving, patch)[informative]
        chunks = zip(target.split(per_chunk), chosen.split(per_chunk), strict=True)
        total = sum(
            (checkpoint(_information, a, b, bins, use_reentrant=False) for a, b in chunks), moving.new_zeros(())
        )
        return -total / max(1, len(target))

    return loss


def _information(fixed_weights: Tensor, moving: Tensor, bins: int) -> Tensor:
    """Summed information of patches: weights ``(patches, voxels, bins)`` and intensities ``(patches, voxels)``."""
    joint = torch.bmm(fixed_weights.transpose(1, 2), _soft_bins(moving, bins)) / moving.shape[1]
    independent = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return (joint * torch.log((joint + _FLOOR) / (independent + _FLOOR))).sum()


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
