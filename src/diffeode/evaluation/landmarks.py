"""Landmarks: points known in both scans, and how far a map misses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.names import nearest
from diffeode.transform import Affine, DisplacementField

_COLUMNS = ("name", "x", "y", "z")


def read_landmarks(path: Path | str) -> pd.DataFrame:
    """Points of a scan, RAS mm: columns ``x y z``, indexed by ``name``.

    Raises:
        InputError: missing file or column, a coordinate that is no number, a name that comes twice.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"There is no landmark table {path}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table of tab-separated columns ({str(error).strip()}).") from None
    for column in _COLUMNS:
        if column not in table:
            raise InputError(f"Landmark table {path} has no column {column!r}{nearest(column, table.columns)}.")
    if table["name"].duplicated().any():
        raise InputError(f"Landmark table {path} names {table['name'][table['name'].duplicated()].iloc[0]!r} twice.")
    points = table.set_index("name")[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(points.to_numpy()).all():
        raise InputError(f"Landmark table {path} has a coordinate that is not a number; give RAS millimetres.")
    return points


def shared_landmarks(fixed: pd.DataFrame, moving: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks that both scans have, ``(N, 3)`` twice in one order, RAS mm."""
    names = fixed.index.intersection(moving.index)
    return fixed.loc[names].to_numpy(dtype=float), moving.loc[names].to_numpy(dtype=float)


def target_registration_errors_mm(
    fixed_mm: np.ndarray, moving_mm: np.ndarray, warp: DisplacementField, fixed_to_scan: Affine
) -> np.ndarray:
    """Distance between each mapped fixed landmark and its moving counterpart, mm, ``(N,)``.

    Args:
        fixed_mm, moving_mm: ``(N, 3)`` RAS mm of the two scans, in one order.
        warp: the whole map, fixed grid to moving scan.
        fixed_to_scan: points of the fixed grid to points of the fixed scan.
    """
    return np.linalg.norm(warp(fixed_to_scan.inverse()(fixed_mm)) - moving_mm, axis=-1)
