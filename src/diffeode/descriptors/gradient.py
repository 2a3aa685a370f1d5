"""Orientation of the gradient, blind to its sign: what two contrasts of one edge share."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from diffeode.descriptors.registry import Descriptor

_EDGE = 1.0
"""Gradients below this multiple of the image's mean gradient count as noise."""


def gradient_orientation(image: Tensor) -> Tensor:
    """The products ``n_i n_j`` (i <= j) of the normalised gradient of ``image (N, 1, *size)``: 6
    channels in 3-D.

    ``n = grad I / sqrt(|grad I|^2 + eta^2)`` by central differences, ``eta`` the image's mean
    gradient (Haber and Modersitzki, 2006).
    """
    gradient = torch.cat(torch.gradient(image, dim=tuple(range(2, image.dim()))), dim=1)
    length = gradient.square().sum(dim=1, keepdim=True)
    eta = _EDGE * length.detach().sqrt().mean(dim=tuple(range(1, image.dim())), keepdim=True)
    normal = gradient / (length + eta**2 + torch.finfo(image.dtype).tiny).sqrt()
    pairs = itertools.combinations_with_replacement(range(gradient.shape[1]), 2)
    return torch.stack([normal[:, i] * normal[:, j] for i, j in pairs], dim=1)


def make(weights: str) -> Descriptor:
    """:func:`gradient_orientation`; it has no weights."""
    return gradient_orientation
