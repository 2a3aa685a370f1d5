"""Landmarks: points that are known in both scans, and the errors of a map at them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffeode.geometry.transform import DisplacementField


def shared_landmarks(fixed: pd.DataFrame, moving: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the landmarks that both scans have, ``(N, 3)`` of each scan, RAS mm, in the order of
    the fixed scan's table.

    Args:
        fixed, moving: tables as :func:`diffeode.files.landmarks.read_landmarks` returns them.
    """
    sides = [table.set_index("name")[["x", "y", "z"]] for table in (fixed, moving)]
    names = sides[0].index.intersection(sides[1].index)
    return tuple(side.loc[names].to_numpy(dtype=float) for side in sides)


def target_registration_errors_mm(
    fixed_mm: np.ndarray, moving_mm: np.ndarray, warp: DisplacementField
) -> np.ndarray:
    """Return the distance between each mapped fixed landmark and its moving counterpart, mm,
    ``(N,)``.

    Args:
        fixed_mm, moving_mm: the same landmarks in the same order, ``(N, 3)`` each, RAS mm.
        warp: the whole map, from points of the fixed grid to points of the moving scan.
    """
    return np.linalg.norm(warp(fixed_mm) - moving_mm, axis=-1)
