"""Similarities by name: from the fixed image to a loss of the warped one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffeode.descriptors.mind import mind_ssc
from diffeode.losses.correlation import local_ncc

Similarity = Callable[[Tensor], Tensor]


def mind_similarity(fixed: Tensor, radius: int, dilation: int) -> Similarity:
    """Mean squared difference of MIND-SSC, the warped image's computed anew (arXiv 2512.22689, section III-B1)."""
    target = mind_ssc(fixed, radius, dilation).detach()

    def loss(warped: Tensor) -> Tensor:
        difference = mind_ssc(warped, radius, dilation) - target
        return (difference * difference).mean()

    return loss


def ncc_similarity(fixed: Tensor, window: int) -> Similarity:
    """One minus the squared local correlation (NODEO)."""
    return lambda warped: local_ncc(fixed, warped, window)
