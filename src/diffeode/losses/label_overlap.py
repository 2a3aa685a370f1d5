"""The overlap of label maps under a map, on a grid that may be coarser than that of the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from diffeode.geometry.shapes import ChannelsTensor, DisplacementTensor, LossTensor
from diffeode.geometry.warp import pull_back_from_rest
from diffeode.losses.dice import dice_loss


def partial_volumes(labels: np.ndarray, count: int, size: Sequence[int]) -> np.ndarray:
    """Return the share of each label in each voxel of a coarser grid, ``(count, *size)`` float32.

    Args:
        labels: numbers of labels from 0 to ``count``; 0 is background, which has no channel.
        size: the number of voxels of the coarser grid over the same box along each axis, at most
            that of ``labels``.

    >>> partial_volumes(np.array([[1, 1, 0, 2], [1, 2, 2, 2]]), 2, (1, 2)).tolist()
    [[[0.75, 0.0]], [[0.25, 0.75]]]
    """
    along = [
        ((np.arange(n) + 0.5) * m / n).astype(np.int64)
        for n, m in zip(labels.shape, size, strict=True)
    ]
    cells = np.ravel_multi_index(np.meshgrid(*along, indexing="ij", sparse=True), tuple(size))
    cells = np.broadcast_to(cells, labels.shape)
    number = int(np.prod(size))
    voxels = np.bincount(cells.ravel(), minlength=number)
    shares = np.empty((count, number), dtype=np.float32)
    for label in range(1, count + 1):
        shares[label - 1] = np.bincount(cells[labels == label], minlength=number) / voxels
    return shares.reshape(count, *size)


def label_overlap_to(
    fixed: ChannelsTensor, moving: ChannelsTensor
) -> Callable[[DisplacementTensor], LossTensor]:
    """Return the loss ``displacement -> 1 - mean Dice`` of warped labels
    (:func:`diffeode.losses.dice.dice_loss`).

    Args:
        fixed, moving: the share of each label in each voxel, ``(1, labels, *size)``.
    """
    return lambda displacement: dice_loss(
        pull_back_from_rest(moving, displacement, padding="border"), fixed
    )
