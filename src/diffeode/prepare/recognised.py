"""Tell label maps from scans by their values, where a user says of an image neither."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.files.label_ids import looks_like_labels
from diffeode.files.pictures import Picture

IN_A_STUDY = "are_scans: true in its dataset, or diffeode study --are-scans"
"""By what a user says that the files of a study are scans."""
_IDS_OF_A_PICTURE = 64
"""Largest number of grey values of a picture that counts as a label map; photographs have more."""
_SMALL, _FEW_IDS, _VOXELS_OF_AN_ID = 4000, 32, 8
"""Largest number of voxels above 0, largest number of ids, and least mean number of voxels of an
id, where a small volume counts as a label map.
"""


def looks_like_a_label_map(volume: np.ndarray, picture: Picture | None = None) -> bool:
    """Return whether an image looks like a label map or a mask.

    Args:
        volume: its values, ``(X, Y, Z)``.
        picture: the picture that it comes from; None where it comes from none.
    """
    if picture is not None and not _may_show_labels(picture):
        return False
    # NumPy would round numbers of 8 bits in half precision.
    values = volume.astype(np.float64) if volume.dtype.kind != "f" else volume
    return looks_like_labels(values) or _is_mask(values) or _is_small_map(values)


def require_scan(volume: np.ndarray, name: str, how_to_say: str) -> None:
    """Raise :class:`InputError` where ``volume (X, Y, Z)`` looks like a label map or a mask.

    Args:
        name: what the message calls the image.
        how_to_say: by what a user says that it is a scan nevertheless.
    """
    if looks_like_a_label_map(volume):
        raise InputError(
            f"{name} looks like a label map or a mask, whose values are no intensities; give the "
            f"scan, or say that this is one, by {how_to_say}."
        )


def _may_show_labels(picture: Picture) -> bool:
    """Return whether a picture may be a label map: grey, of whole numbers and of few of them."""
    values = picture.values
    return (
        values.shape[2] == 1
        and values.dtype.kind in "iu"
        and len(np.unique(values)) <= _IDS_OF_A_PICTURE
    )


def _is_mask(volume: np.ndarray) -> bool:
    """Return whether a volume holds 0 and one other whole number, and no third value."""
    largest = volume.max()
    return bool(
        volume.min() == 0
        and largest > 0
        and largest == np.rint(largest)
        and ((volume == 0) | (volume == largest)).all()
    )


def _is_small_map(volume: np.ndarray) -> bool:
    """Return whether a volume with few voxels above 0, too few to compare neighbours, holds few
    whole numbers.
    """
    above = volume[volume > 0]
    if volume.min() != 0 or not 0 < above.size <= _SMALL or (above != np.rint(above)).any():
        return False
    different = len(np.unique(above))
    return different <= _FEW_IDS and above.size >= _VOXELS_OF_AN_ID * different
