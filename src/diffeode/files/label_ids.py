"""The ids of a label map: whole numbers, as they were meant, in areas of one id; anything else is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffeode.errors import InputError

LARGEST_ID = 2**31 - 1
"""What label maps are written with, int32, holds no more."""
MOST_IDS = 2**16 - 1

_NEARLY_WHOLE = 1e-3
_COARSEST_SLOPE = 0.5
_LARGEST_EXACT_SINGLE = 2**24
_LEAST_ALIKE = 0.3
"""Of neighbouring voxels with a label, how many have the same one at least. In 42 label maps of
newborns, adults, mice and virtual persons it was 74 to 96 %, and 43 to 81 % where every fourth
voxel was kept; in 85 scans 17 % at most.
"""
_FEWEST_NEIGHBOURS = 1000
_FEW_IDS = 8
_SHOWN = 12


def ids_of(values: np.ndarray, slope: float, stored: np.dtype, name: str) -> np.ndarray:
    """``values (X, Y, Z)`` of a file as ids, int32.

    Args:
        values: with the header's slope and intercept applied.
        slope: what stored whole numbers were multiplied by. Programs that turn numbers into whole
            ones on writing, such as nibabel, choose one that is no whole number; each value is then
            off by half of it at most.
        stored: the type of number in the file.
        name: what messages call the label map.

    Raises:
        InputError: a value is negative, or not whole up to 0.001 or half of the slope; larger than
            2^31 - 1, or so large that single precision did not keep it; the slope is 0.5 or more
            and no whole number; or the values differ from voxel to voxel as those of a scan.
    """
    whole = values
    if values.dtype.kind == "f":
        whole = np.rint(values)
        _require_nearly_whole(values, whole, slope, stored, name)
    least, largest = float(whole.min()), float(whole.max())
    if least < 0:
        raise InputError(f"{name} is not a label map: its values must be whole numbers from 0 on.")
    if largest > LARGEST_ID:
        raise InputError(
            f"Label map {name} holds the id {int(largest)}; ids above {LARGEST_ID} cannot be "
            "kept, so give its structures smaller ones."
        )
    if stored.kind == "f" and stored.itemsize == 4 and largest > _LARGEST_EXACT_SINGLE:
        raise InputError(
            f"Label map {name} holds the id {int(largest)} in single precision, in which "
            f"neighbouring ids above {_LARGEST_EXACT_SINGLE} are the same; make it anew with "
            "whole numbers (int32)."
        )
    ids = whole.astype(np.int32)
    _require_areas(ids, name)
    return ids


def alike_neighbours(ids: np.ndarray) -> float | None:
    """Of neighbouring voxels above 0, which share has the same value; None where there are too few
    to tell.
    """
    alike, pairs = 0, 0
    for axis in range(ids.ndim):
        here, there = np.moveaxis(ids, axis, 0)[:-1], np.moveaxis(ids, axis, 0)[1:]
        both = (here > 0) & (there > 0)
        pairs += int(both.sum())
        alike += int((both & (here == there)).sum())
    return alike / pairs if pairs >= _FEWEST_NEIGHBOURS else None


def lost_labels(before: np.ndarray, after: np.ndarray) -> list[int]:
    """Labels above 0 of a map ``before`` resampling that are nowhere in it ``after``."""
    return [int(i) for i in np.setdiff1d(before, after) if i > 0]


def shown(ids: Sequence[int] | np.ndarray) -> str:
    """The first of ``ids``, and how many more there are, as messages show them."""
    return ", ".join(str(i) for i in ids[:_SHOWN]) + (
        f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    )


def looks_like_labels(values: np.ndarray) -> bool:
    """Whether ``values (X, Y, Z)`` are ids of more than one structure, as far as can be told from
    them.
    """
    whole = np.rint(values)
    if not np.array_equal(whole, values) or whole.min() < 0 or whole.max() > LARGEST_ID:
        return False
    share = alike_neighbours(whole)
    return (
        share is not None
        and share >= _LEAST_ALIKE
        and bool(((whole > 0) & (whole < whole.max())).any())
    )


def _require_nearly_whole(
    values: np.ndarray, whole: np.ndarray, slope: float, stored: np.dtype, name: str
) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            f"{name} is not a label map: its values must be whole numbers from 0 on, and some are "
            "NaN."
        )
    if stored.kind in "iu" and abs(slope) >= _COARSEST_SLOPE and slope != np.rint(slope):
        raise InputError(
            f"{name} is stored with a slope of {slope:.3g}, which lets neighbouring ids become "
            "one; save the label map anew as whole numbers."
        )
    off = float(np.abs(values - whole).max())
    scaled = stored.kind in "iu" and 0 < abs(slope) < _COARSEST_SLOPE
    if off > (max(_NEARLY_WHOLE, 0.501 * abs(slope)) if scaled else _NEARLY_WHOLE):
        kept = f" (stored with a slope of {slope:.3g})" if stored.kind in "iu" else ""
        raise InputError(
            f"{name} is not a label map: its values must be whole numbers from 0 on, and one is "
            f"{off:.3g} off{kept}; give the label map, saved as whole numbers."
        )


def _require_areas(ids: np.ndarray, name: str) -> None:
    share = alike_neighbours(ids)
    if share is None or share >= _LEAST_ALIKE:
        return
    count = len(np.unique(ids))
    if count > _FEW_IDS:
        raise InputError(
            f"{name} is not a label map but looks like a scan: {count} different values, and only "
            f"{100 * share:.0f} % of neighbouring voxels have the same; give the label map."
        )
