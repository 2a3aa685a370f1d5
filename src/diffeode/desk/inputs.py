"""The scans and label maps of a pair that is registered at a desk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.slices import SliceFile, are_slices, read_slice, read_slice_labels
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice
from diffeode.prepare.scan import read_scan_labels


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """The user's scans and label maps in memory, checked, with intensities as they were given.

    Attributes:
        fixed, moving: the scans, each on its own grid.
        fixed_name, moving_name: what messages and the metrics call them, such as their paths.
        fixed_labels, moving_labels: their label maps on their grids, or None.
        slices: how the files hold the fixed and the moving image, where they are slices.
    """

    fixed: Image
    moving: Image
    fixed_name: str = "the fixed image"
    moving_name: str = "the moving image"
    fixed_labels: Labels | None = None
    moving_labels: Labels | None = None
    slices: tuple[SliceFile, SliceFile] | None = None


def read_inputs(
    fixed: Path,
    moving: Path,
    fixed_labels: Path | None,
    moving_labels: Path | None,
    orientation: str | None = None,
) -> Inputs:
    """Read two scans and, where given, their label maps.

    Args:
        orientation: the orientation of the axes of those files whose headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: a file is missing or unreadable; a label map holds no labels or does not lie on
            the grid of its scan; the two label maps have no id in common; or only the fixed one is
            given.
    """
    if fixed_labels and not moving_labels:
        raise InputError(
            f"The overlap of {fixed_labels} cannot be measured without a label map of the moving "
            "scan; give one by --labels, or leave --fixed-labels out."
        )
    slices = None
    if are_slices(fixed, moving):
        slices = read_slice(fixed, orientation), read_slice(moving, orientation)
        fixed_scan, moving_scan = (slice_.image for slice_ in slices)
    else:
        fixed_scan, moving_scan = (io.read_image(scan, orientation) for scan in (fixed, moving))
    fixed_map = _read_labels(fixed_labels, fixed_scan, fixed, orientation) if fixed_labels else None
    moving_map = (
        _read_labels(moving_labels, moving_scan, moving, orientation) if moving_labels else None
    )
    if fixed_map and moving_map:
        _require_shared_ids(fixed_map, moving_map, f"{fixed_labels} and {moving_labels}")
    names = str(fixed), str(moving)
    return Inputs(fixed_scan, moving_scan, *names, fixed_map, moving_map, slices)


def _read_labels(path: Path, scan: Image, name: Path, orientation: str | None) -> Labels:
    read = read_slice_labels if is_slice(scan.grid) else read_scan_labels
    return read(path, scan.grid, name, orientation)


def read_as_told(paths: Iterable[Path]) -> list[str]:
    """Return a warning for each of ``paths`` that only the user's ``--orientation`` made readable.

    Other programs may read such a file in another orientation.
    """
    return [
        f"{path} was read in the orientation that you gave; correct its header before other "
        "programs apply the maps"
        for path in paths
        if _leaves_open(path)
    ]


def _leaves_open(path: Path) -> bool:
    try:
        io.read_grid(path)
    except InputError:
        return True
    return False


def _require_shared_ids(fixed: Labels, moving: Labels, names: str) -> None:
    fixed_ids, moving_ids = (np.unique(labels.data[labels.data > 0]) for labels in (fixed, moving))
    if not np.intersect1d(fixed_ids, moving_ids).size:
        shown = " and ".join(f"{ids[0]} to {ids[-1]}" for ids in (fixed_ids, moving_ids))
        raise InputError(
            f"Label maps {names} have no id in common ({shown}); give maps with the same ids."
        )
