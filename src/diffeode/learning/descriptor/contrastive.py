"""What makes descriptors of one place alike and of different places different, and how far that
succeeded.

Descriptors are ``(N, C)``: row ``i`` of two sets belongs to one place, seen in two contrasts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_UNIFORMITY_SCALE = 2.0


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """The symmetric contrastive loss of arXiv 2512.22689, equations 19 and 20 (van den Oord et al.,
    2018).

    The cross-entropy of the cosines over ``temperature``, a row's own place being right and all
    others wrong, the mean over rows and over both directions.
    """
    cosines = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    own = torch.arange(len(first), device=first.device)
    return 0.5 * (F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own))


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared distance of what belongs together (Wang and Isola, ICML 2020); 0 is best."""
    return ((F.normalize(first, dim=1) - F.normalize(second, dim=1)) ** 2).sum(dim=1).mean()


def uniformity(descriptors: Tensor) -> Tensor:
    """``log mean exp(-2 |a - b|^2)`` over pairs of different rows (Wang and Isola, ICML 2020); the
    lower the better.
    """
    distances = torch.pdist(F.normalize(descriptors, dim=1)) ** 2
    return torch.log(torch.exp(-_UNIFORMITY_SCALE * distances).mean())


def retrieval(first: Tensor, second: Tensor) -> float:
    """How often the row of ``second`` nearest to a row of ``first`` is its own; ties count as their
    share.
    """
    distances = torch.cdist(first.double(), second.double())
    own = distances.diagonal()[:, None]
    slack = 1e-9 * (1 + own)
    nearer, as_near = (
        (distances < own - slack).sum(dim=1),
        ((distances - own).abs() <= slack).sum(dim=1),
    )
    return torch.where(nearer == 0, 1.0 / as_near, 0.0).mean().item()
