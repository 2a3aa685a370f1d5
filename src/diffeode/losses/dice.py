"""Overlap of label maps that can be differentiated, for networks trained with labels."""

from __future__ import annotations

from torch import Tensor


def dice_loss(warped: Tensor, fixed: Tensor) -> Tensor:
    """``1 - mean over channels of 2 sum(a b) / sum(a + b)``.

    Args:
        warped, fixed: ``(1, labels, *size)`` in [0, 1], a channel a label, the background one of
            them.
    """
    axes = tuple(range(2, fixed.dim()))
    overlap, total = (warped * fixed).sum(axes), (warped + fixed).sum(axes)
    return 1 - (2 * overlap / total.clamp(min=1e-5)).mean()
