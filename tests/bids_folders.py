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

    The label map has two structures, 1 and 7.
    """
    position = np.indices((16, 16, 16)) - 7.5
    inside = np.sum((position / np.array([radius, 5, 6])[:, None, None, None]) ** 2, axis=0) <= 1
    shading = np.where(inside, 100 + 10 * position[0], 0)
    volumes = {
        "T1w": shading,
        "T2w": np.where(inside, 300 - shading, 0),
        "dseg": np.where(inside, np.where(position[2] > 0, 7, 1), 0),
    }
    visit = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    folder = root.joinpath(*visit.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        kind = np.uint8 if suffix == "dseg" else np.float32
        name = f"{visit}{desc}_{suffix}.nii.gz"
        nib.save(nib.Nifti1Image(volumes[suffix].astype(kind), AFFINE), folder / name)
    return folder
