"""The mean squared difference of intensities, for scans of one contrast and one scale."""

from __future__ import annotations

from collections.abc import Callable

from diffeode.geometry.shapes import ImageTensor, LossTensor, MaskTensor
from diffeode.losses.average import weighted_mean


def squared_difference_to(
    fixed: ImageTensor, mask: MaskTensor | None = None
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``moving -> mean (moving - fixed)^2``; the mean is weighted by ``mask``.

    >>> import torch
    >>> fixed = torch.zeros(1, 1, 2, 2)
    >>> squared_difference_to(fixed)(fixed + 3).item()
    9.0
    """
    return lambda moving: weighted_mean((moving - fixed) ** 2, mask)
