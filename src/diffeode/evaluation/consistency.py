"""Inverse consistency: the distance by which a map and its inverse miss each other."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.transform import DisplacementField


def inverse_consistency_mm(
    warp: DisplacementField, inverse_warp: DisplacementField, mask: np.ndarray
) -> tuple[float, float]:
    """Return the mean and the 95th percentile of ``|inverse(warp(x)) - x|`` over the voxels of
    ``mask``, mm.

    Points that ``warp`` sends off the grid of the inverse are excluded, because the inverse is not
    known there. Both numbers are NaN where no point is left.

    Args:
        mask: the fixed brain on the grid of ``warp``, ``(X, Y, Z)`` bool.
    """
    start = warp.grid.to_world(np.argwhere(mask))
    reached = start + warp.displacement_mm[mask]
    voxels = inverse_warp.grid.to_voxel(reached)
    last = np.array(inverse_warp.grid.shape) - 1
    slack = np.where(last == 0, 0.5, 0)  # points of a slice lie in its plane but for rounding
    inside = np.logical_and(voxels >= -slack, voxels <= last + slack).all(axis=-1)
    if not inside.any():
        return float("nan"), float("nan")
    miss = np.linalg.norm(inverse_warp(reached[inside]) - start[inside], axis=-1)
    return float(miss.mean()), float(np.percentile(miss, 95))
