"""Mutual information by Gaussian Parzen windows, over the whole image or averaged over patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_FLOOR = 1e-10
_CHUNK_FLOATS = 16_000_000
"""Soft assignments held at once; bounds the memory whatever the image."""


def local_mutual_information(fixed: Tensor, moving: Tensor, patch: int, bins: int) -> Tensor:
    """``- mean MI`` over the non-overlapping patches of ``patch`` voxels that hold foreground, in nats.

    arXiv 2512.22689, equations 22 and 23. Intensities in [0, 1] are softly assigned to ``bins`` bins with a Gaussian as
    wide as a bin. Images are extended with zeros to whole patches; patches where either image is constant are left out,
    since their information is zero and their gradient too.

    Args:
        fixed, moving: ``(1, 1, *size)`` in [0, 1].
    """
    a, b = _patches(fixed, patch), _patches(moving, patch)
    informative = (a.amax(1) > a.amin(1)) & (b.amax(1) > b.amin(1))
    a, b = a[informative], b[informative]
    if a.shape[0] == 0:
        return moving.sum() * 0
    per_chunk = max(1, _CHUNK_FLOATS // (2 * bins * a.shape[1]))
    chunks = zip(a.split(per_chunk), b.split(per_chunk), strict=True)
    total = sum(checkpoint(_summed_information, x, y, bins, use_reentrant=False) for x, y in chunks)
    return -total / a.shape[0]


def _summed_information(a: Tensor, b: Tensor, bins: int) -> Tensor:
    """Sum of the mutual information of the rows of ``a`` and ``b (patches, voxels)``."""
    joint = torch.bmm(_soft_bins(a, bins).transpose(1, 2), _soft_bins(b, bins)) / a.shape[1]
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
