"""Mean squared difference of intensities, for scans of one contrast and scale."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffeode.losses.average import weighted_mean


def squared_difference_to(fixed: Tensor, mask: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> mean (moving - fixed)^2`` over ``mask``, images ``(1, 1, *size)``."""
    return lambda moving: weighted_mean((moving - fixed) ** 2, mask)
