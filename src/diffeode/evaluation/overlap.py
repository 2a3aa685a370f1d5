"""Volume overlap of label maps."""

from __future__ import annotations

import numpy as np


def dice_by_label(fixed: np.ndarray, warped: np.ndarray, count: int, in_moving: np.ndarray | None = None) -> np.ndarray:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of each label (Dice, Ecology 26, 1945).

    Args:
        fixed, warped: label indices ``0..count`` on one grid (:func:`diffeode.evaluation.labels.to_indices`).
        in_moving: ``(count,)`` bool, which labels the moving scan has on its own grid. One that it has but the fixed
            scan lacks counts as 0 even where the map pushes it off the grid, so that which labels are averaged never
            depends on the method.

    Returns:
        ``(count,)``; 0 for a label of one side only, NaN for a label of neither: it is not counted.
    """
    joint = np.bincount(fixed.ravel().astype(np.int64) * (count + 1) + warped.ravel(), minlength=(count + 1) ** 2)
    joint = joint.reshape(count + 1, count + 1)
    sizes = (joint.sum(axis=1) + joint.sum(axis=0))[1:]
    dice = np.full(count, np.nan)
    np.divide(2.0 * np.diag(joint)[1:], sizes, out=dice, where=sizes > 0)
    if in_moving is not None:
        dice[np.isnan(dice) & in_moving] = 0.0
    return dice
