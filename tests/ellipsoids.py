"""Persons for studies that must be quick: bright ellipsoids on few voxels."""

from pathlib import Path

import nibabel as nib
import numpy as np

LABELS = "id\tname\tabbreviation\themisphere\tgroup\n1\tEllipsoid\tE\tnone\tall\n"
"""The table of their one structure."""
DATASET = """\
title: A folder
population: ellipsoids
kind: bids
root: scans
labels: ellipsoid
prepare: {bias: none, brain: nonzero, intensity: robust, spacing_mm: null}
"""
"""The file of the dataset that they make, in the folder ``scans`` of a repository."""


def write_person(root: Path, subject: str, radius: float) -> None:
    """Write T1w, T2w and label map of one person, 16 x 16 x 16 voxels of 8 mm, uncompressed sizes
    alike for all.
    """
    position = np.indices((16, 16, 16)) - 7.5
    inside = np.sum((position / np.array([radius, 5, 6])[:, None, None, None]) ** 2, axis=0) <= 1
    # whole numbers in a few areas would be those of a label map, which is no scan
    shading = np.where(inside, 100.3 + 10 * position[0], 0)
    folder = root / f"sub-{subject}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, data in (
        ("T1w", shading),
        ("T2w", np.where(inside, 300 - shading, 0)),
        ("dseg", inside),
    ):
        kind = np.uint8 if suffix == "dseg" else np.float32
        scan = nib.Nifti1Image(data.astype(kind), np.diag([8.0, 8.0, 8.0, 1.0]))
        nib.save(scan, folder / f"sub-{subject}_{suffix}.nii.gz")


def write_landmarks(root: Path, subject: str, offset_mm: float) -> None:
    """Write one landmark of a person."""
    table = root / f"sub-{subject}" / "anat" / f"sub-{subject}_landmarks.tsv"
    table.write_text(f"name\tx\ty\tz\npole\t{60 + offset_mm}\t60\t60\n", encoding="utf-8")
