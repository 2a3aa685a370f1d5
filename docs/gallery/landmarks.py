"""Send landmarks of one person to another person, and measure how far they miss."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
one, two = Path("virtual/sub-01/anat"), Path("virtual/sub-02/anat")
result = de.register(one / "sub-01_T2w.nii.gz", two / "sub-02_T1w.nii.gz")

fixed = de.load_points(one / "sub-01_landmarks.tsv")
moving = de.load_points(two / "sub-02_landmarks.tsv")
moved = result.transform.map(fixed)  # points of the fixed scan, in the moving scan
de.save_points("in_moving.mrk.json", moved, overwrite=True)  # for 3-D Slicer


def missed(points):
    return np.linalg.norm(points[["x", "y", "z"]] - moving[["x", "y", "z"]], axis=1)


errors = {
    "as scanned": missed(fixed),
    "after the affine": missed(result.affine.map(fixed)),
    "registered": missed(moved),
}
figure = Figure(figsize=(6, 2.4), layout="constrained")
panel = figure.subplots()
panel.boxplot(list(errors.values()), tick_labels=list(errors), orientation="horizontal")
panel.invert_yaxis()
panel.set_xlabel(f"distance of {len(fixed)} landmarks from where they lie (mm)")
figure.savefig("landmarks.png")
