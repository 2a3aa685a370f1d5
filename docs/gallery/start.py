"""Start from a transform of your own, where a scan lies turned."""

from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
fixed = nib.load("virtual/sub-01/anat/sub-01_T1w.nii.gz")
scan = nib.load("virtual/sub-02/anat/sub-02_T1w.nii.gz")
angle = np.deg2rad(35)
turn = np.eye(4)
turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
turned = scan.get_fdata(), turn @ scan.affine  # the same head, turned in the scanner

found = {
    "the headers": de.register(fixed, turned, init="identity"),
    "my transform": de.register(fixed, turned, init=de.Transform.from_matrix(turn)),
    "an affine that is found": de.register(fixed, turned, init="affine"),
}
images = {"fixed scan": fixed.get_fdata()}
for start, result in found.items():
    print(f"From {start}: {result.suspect or 'nothing looks wrong'}")
    images[f"from {start}"] = result.warped.get_fdata()
figure = Figure(figsize=(7.2, 2.4), layout="constrained")
for panel, (title, image) in zip(figure.subplots(1, 4), images.items(), strict=True):
    panel.imshow(image[:, :, image.shape[2] // 2].T, cmap="gray", origin="lower")
    panel.set_title(title, fontsize=9)
    panel.set_axis_off()
figure.savefig("start.png")
