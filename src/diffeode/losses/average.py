"""The mean over voxels, of all of them or of those in a mask."""

from __future__ import annotations

from torch import Tensor


def weighted_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``values (N, C, *size)`` over voxels and channels, voxels weighted by ``mask (1, 1,
    *size)`` in [0, 1].

    None is the mean over everything; a mask that is 0 everywhere has no mean (NaN).
    """
    return values.mean() if mask is None else (values * mask).mean() / mask.mean()
