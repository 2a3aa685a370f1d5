"""The mean over all voxels, or over those of a mask."""

from __future__ import annotations

from diffeode.geometry.shapes import ChannelsTensor, LossTensor, MaskTensor


def weighted_mean(values: ChannelsTensor, mask: MaskTensor | None) -> LossTensor:
    """Return the mean of ``values`` over voxels and channels, the voxels weighted by ``mask``.

    Without a mask all voxels count alike. A mask that is 0 everywhere gives NaN.

    >>> import torch
    >>> values = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    >>> right_column = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    >>> weighted_mean(values, None).item(), weighted_mean(values, right_column).item()
    (3.0, 4.0)
    """
    return values.mean() if mask is None else (values * mask).mean() / mask.mean()
