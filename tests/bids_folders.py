"""Tiny BIDS folders: visits of persons whose brains are ellipsoids on few voxels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])


def describe(root: Path, **about: str) -> None:
    """Write ``dataset_description.json``."""
    root.mkdir(parents=True, exist_ok=True)
    content = {"Name": root.name, "BIDSVersion": "1.10.0", **about}
    (root / "dataset_description.json").write_text(json.dumps(content), encoding="utf-8")


def write_visit(
    root: Path,
    subject: str,
    session: str | None = None,
    radius: float = 5,
    suffixes: Sequence[str] = ("T1w", "T2w", "dseg"),
    desc: str = "",
) -> Path:
    """Write scans of one visit, 16 x 16 x 16 voxels of 8 mm, and return their folder.

    The label map has two structures, 7, a ball, and 1, the rest of the brain.
    """
    place = np.moveaxis(np.indices((16, 16, 16)), 0, -1) - 7.5
    inside = np.sum((place / (radius, 5, 6)) ** 2, axis=-1) <= 1
    # two balls off the centre, so that no turned scan matches as well
    one, other = (
        inside & (np.linalg.norm(place - centre, axis=-1) <= size)
        for centre, size in (((2, 2, 2), 2), ((-2, 1, -1.5), 1.7))
    )
    classes = inside.astype(int) + one + 2 * other
    # whole numbers would be those of a label map, which is no scan
    volumes = {
        "T1w": np.array([0, 100.5, 220.5, 160.5])[classes],
        "T2w": np.array([0, 220.5, 80.5, 150.5])[classes],
        "dseg": np.array([0, 1, 7, 1])[classes],
    }
    visit = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    folder = root.joinpath(*visit.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        kind = np.uint8 if suffix == "dseg" else np.float32
        name = f"{visit}{desc}_{suffix}.nii.gz"
        nib.save(nib.Nifti1Image(volumes[suffix].astype(kind), AFFINE), folder / name)
    return folder
