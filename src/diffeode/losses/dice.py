"""A differentiable overlap of label maps, for networks that are trained with labels."""

from __future__ import annotations

from diffeode.geometry.shapes import ChannelsTensor, LossTensor


def dice_loss(warped: ChannelsTensor, fixed: ChannelsTensor) -> LossTensor:
    """Return one minus the mean over channels of the Dice overlap ``2 sum(a b) / sum(a + b)``.

    The sums run over voxels (Dice, Ecology 26(3), 1945; its soft form: Milletari et al., 3DV 2016).

    Args:
        warped, fixed: values in [0, 1], ``(1, labels, *size)``; each label is one channel, the
            background among them.

    >>> import torch
    >>> left = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    >>> top = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2)
    >>> dice_loss(left, top).item(), dice_loss(left, left).item()
    (0.5, 0.0)
    """
    axes = tuple(range(2, fixed.dim()))
    overlap, total = (warped * fixed).sum(axes), (warped + fixed).sum(axes)
    return 1 - (2 * overlap / total.clamp(min=1e-5)).mean()
