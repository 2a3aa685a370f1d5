"""The contrastive loss of descriptors, and measures of what it has achieved.

The loss makes descriptors of one place alike and descriptors of different places different.
Descriptors are ``(N, C)``; the rows ``i`` of two sets belong to one place in two contrasts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_UNIFORMITY_SCALE = 2.0
"""The factor ``t`` of Wang and Isola, ICML 2020."""


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the symmetric contrastive loss InfoNCE (van den Oord et al., arXiv 1807.03748).

    For each row of one set the rows of the other set are classes, and its own place is the right
    one. The loss is the cross-entropy of the cosines divided by ``temperature``, averaged over the
    rows and over both directions (arXiv 2512.22689, equations 19 and 20).
    """
    cosines = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    own = torch.arange(len(first), device=first.device)
    return 0.5 * (F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own))


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared distance of the two descriptors of a place; 0 is best.

    Wang and Isola, ICML 2020.
    """
    return ((F.normalize(first, dim=1) - F.normalize(second, dim=1)) ** 2).sum(dim=1).mean()


def uniformity(descriptors: Tensor) -> Tensor:
    """Return ``log mean exp(-2 |a - b|^2)`` over pairs of different rows; lower is better.

    Wang and Isola, ICML 2020.
    """
    distances = torch.pdist(F.normalize(descriptors, dim=1)) ** 2
    return torch.log(torch.exp(-_UNIFORMITY_SCALE * distances).mean())


def retrieval(first: Tensor, second: Tensor) -> float:
    """Return the fraction of rows of ``first`` whose nearest row of ``second`` is of the same
    place.

    Where several rows are nearest, a row counts by the reciprocal of their number.

    >>> places = torch.eye(4)
    >>> retrieval(places, places), retrieval(places, places.roll(1, 0))
    (1.0, 0.0)
    """
    distances = torch.cdist(first.double(), second.double())
    own = distances.diagonal()[:, None]
    slack = 1e-9 * (1 + own)  # distances that differ by rounding alone are equal
    nearer = (distances < own - slack).sum(dim=1)
    as_near = ((distances - own).abs() <= slack).sum(dim=1)
    return torch.where(nearer == 0, 1.0 / as_near, 0.0).mean().item()
