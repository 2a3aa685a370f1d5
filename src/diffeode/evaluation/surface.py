"""Distances between the surfaces of labels, by Google DeepMind's package ``surface-distance``."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from surface_distance import compute_robust_hausdorff, compute_surface_distances


def hd95_by_label(
    fixed: np.ndarray, warped: np.ndarray, count: int, spacing_mm: np.ndarray
) -> np.ndarray:
    """Return the 95th percentile of the symmetric surface distance of each label, mm.

    Nikolov et al., arXiv 1809.04430.

    Args:
        fixed, warped: label indices ``0..count`` on one grid
            (:func:`diffeode.evaluation.labels.to_indices`).

    Returns:
        ``(count,)``; NaN for a label that one side or both sides lack, because it has no surface
        there.
    """
    boxes = zip(
        ndimage.find_objects(fixed, count), ndimage.find_objects(warped, count), strict=True
    )
    return np.array(
        [
            np.nan
            if box is None or other is None
            else _hd95(fixed, warped, index, _union(box, other), spacing_mm)
            for index, (box, other) in enumerate(boxes, start=1)
        ]
    )


def _hd95(
    fixed: np.ndarray,
    warped: np.ndarray,
    index: int,
    box: tuple[slice, ...],
    spacing_mm: np.ndarray,
) -> float:
    distances = compute_surface_distances(fixed[box] == index, warped[box] == index, spacing_mm)
    return float(compute_robust_hausdorff(distances, 95))


def _union(a: tuple[slice, ...], b: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )
