"""The scans and label maps of a pair that is registered at a desk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode import io
from diffeode.image import Image, Labels
from diffeode.prepare.scan import read_scan_labels


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """What the user gave, read and checked; intensities as they are in the files."""

    fixed: Image
    moving: Image
    fixed_path: Path
    moving_path: Path
    fixed_labels: Labels | None
    moving_labels: Labels | None


def read_inputs(
    fixed: Path,
    moving: Path,
    fixed_labels: Path | None,
    moving_labels: Path | None,
    orientation: str | None = None,
) -> Inputs:
    """Read two scans and, where given, their label maps.

    Args:
        orientation: how those of them lie whose headers leave it open (:func:`diffeode.headers.grid_of`).

    Raises:
        InputError: a file is missing or unreadable, or a label map is none or does not lie on the grid of its scan.
    """
    fixed_scan, moving_scan = (io.read_image(scan, orientation) for scan in (fixed, moving))
    return Inputs(
        fixed_scan,
        moving_scan,
        fixed,
        moving,
        read_scan_labels(fixed_labels, fixed_scan.grid, fixed, orientation) if fixed_labels else None,
        read_scan_labels(moving_labels, moving_scan.grid, moving, orientation) if moving_labels else None,
    )
