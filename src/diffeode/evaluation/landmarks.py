"""Landmarks: points that are known in both scans, and the errors of a map at them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.files.label_ids import shown
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


def require_pairing(fixed: pd.DataFrame, moving: pd.DataFrame) -> None:
    """Raise :class:`InputError` where the landmarks of both scans are told apart by their numbers
    alone, and the scans have different counts of them.

    Where one is missing, those after it would have partners that they do not belong to.

    Args:
        fixed, moving: tables as for :func:`shared_landmarks`.
    """
    if _are_numbered(fixed) and _are_numbered(moving) and len(fixed) != len(moving):
        raise InputError(
            f"The fixed scan has {len(fixed)} landmarks and the moving one {len(moving)}, and they "
            "have numbers in place of names, so it is not known which belong together; give them "
            "names (a column 'name')."
        )


def what_is_not_measured(fixed: pd.DataFrame, moving: pd.DataFrame) -> list[str]:
    """Return sentences about the landmarks that one scan alone has, which are not measured.

    Args:
        fixed, moving: tables as for :func:`shared_landmarks`.
    """
    return [
        f"landmarks {shown(table['name'][~table['name'].isin(other['name'])].to_list())} are in "
        f"the table of the {side} scan only and are not measured"
        for side, table, other in (("fixed", fixed, moving), ("moving", moving, fixed))
        if not table["name"].isin(other["name"]).all()
    ]


def _are_numbered(table: pd.DataFrame) -> bool:
    """Return whether the names of landmarks are their numbers from 1 on."""
    return [str(name) for name in table["name"]] == [str(n + 1) for n in range(len(table))]


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
