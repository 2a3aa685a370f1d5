"""The orientation of the gradient without its sign, which two contrasts of one edge share."""

from __future__ import annotations

import itertools

import torch

from diffeode.descriptors.registry import Descriptor
from diffeode.geometry.shapes import ChannelsTensor

_EDGE = 1.0
"""Gradients shorter than this multiple of the image's mean gradient count as noise."""


def gradient_orientation(image: ChannelsTensor) -> ChannelsTensor:
    """Return the products ``n_i n_j`` with ``i <= j`` of the normalised gradient of an image.

    With ``eta`` the image's mean gradient, ``n = grad I / sqrt(|grad I|^2 + eta^2)`` by central
    differences (Haber and Modersitzki, MICCAI 2006). The products are the same for ``n`` and
    ``-n``.

    Args:
        image: ``(N, 1, *size)``; the result has 6 channels in three dimensions and 3 in two.

    >>> image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    >>> torch.allclose(gradient_orientation(image), gradient_orientation(1 - image))
    True
    """
    gradient = torch.cat(torch.gradient(image, dim=tuple(range(2, image.dim()))), dim=1)
    length = gradient.square().sum(dim=1, keepdim=True)
    eta = _EDGE * length.detach().sqrt().mean(dim=tuple(range(1, image.dim())), keepdim=True)
    normal = gradient / (length + eta**2 + torch.finfo(image.dtype).tiny).sqrt()
    pairs = itertools.combinations_with_replacement(range(gradient.shape[1]), 2)
    return torch.stack([normal[:, i] * normal[:, j] for i, j in pairs], dim=1)


def make(weights: str) -> Descriptor:
    """Return :func:`gradient_orientation`, which has no weights."""
    return gradient_orientation
