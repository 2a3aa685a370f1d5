"""The overlap of label maps."""

from __future__ import annotations

import numpy as np


def dice_by_label(
    fixed: np.ndarray, warped: np.ndarray, count: int, in_moving: np.ndarray | None = None
) -> np.ndarray:
    """Return the Dice coefficient ``2 |A and B| / (|A| + |B|)`` of each label (Dice, Ecology 26,
    1945).

    Args:
        fixed, warped: label indices ``0..count`` on one grid
            (:func:`diffeode.evaluation.labels.to_indices`).
        in_moving: which labels the moving scan has on its own grid, ``(count,)`` bool. A label that
            the fixed scan lacks then counts as 0 even where the map pushes it off the grid, so that
            the choice of averaged labels never depends on the method.

    Returns:
        ``(count,)``; 0 for a label that one side lacks, NaN for a label that both sides lack.
    """
    both = fixed[fixed == warped]
    in_fixed, in_warped, in_both = (
        np.bincount(a.ravel(), minlength=count + 1)[1:] for a in (fixed, warped, both)
    )
    sizes = in_fixed + in_warped
    dice = np.full(count, np.nan)
    np.divide(2.0 * in_both, sizes, out=dice, where=sizes > 0)
    if in_moving is not None:
        dice[np.isnan(dice) & in_moving] = 0.0
    return dice
