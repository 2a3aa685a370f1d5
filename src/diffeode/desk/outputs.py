"""Names of the files that a registration at a desk writes to the user's folder."""

from __future__ import annotations

from pathlib import Path

from diffeode.files.pictures import SUFFIXES
from diffeode.units.registration import RegistrationUnit

AFFINE = "affine.txt"
WARPED_LABELS = "warped_labels.nii.gz"
WARPED_PICTURE = "warped"
"""Name of the warped picture, which ends as that of the moving picture does."""
OVERVIEW = "overview.png"
METRICS = "metrics.json"
REPORT = "report.html"
ALIGNED_BY = "aligned_by"
"""The entry of the metrics that says which program found the alignment."""
START_BENDS = "start_bends"
"""The entry of the metrics that says that the start was a map of the user's own and no affine."""


def output_names() -> tuple[str, ...]:
    """Return the names of all files that a registration at a desk may write."""
    unit = RegistrationUnit(Path())
    files = (unit.warp_file, unit.inverse_warp_file, unit.warped_file, unit.trace_file)
    pictures = (f"{WARPED_PICTURE}{suffix}" for suffix in SUFFIXES)
    own = (AFFINE, WARPED_LABELS, OVERVIEW, METRICS, REPORT)
    return (*(file.name for file in files), *pictures, *own)
