"""Measure where a brain grows between two visits of one person."""

from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
first = nib.load("virtual/sub-01/anat/sub-01_T1w.nii.gz")

# The second visit: what lies around the ventricles has grown. The known map leads back from there.
places = np.moveaxis(np.indices(first.shape), 0, -1)
away = nib.affines.apply_affine(first.affine, places) - [0, -15, 15]
bump = np.exp(-np.square(away / 30).sum(axis=-1, keepdims=True))
back = de.Transform.from_displacement(-0.25 * bump * away, first)
second = back.apply(first)

# Both visits lie in one frame and have one contrast.
result = de.register(second, first, method="node-mono", init="identity")
found, true = (-np.log(each.jacobian().get_fdata()) for each in (result.transform, back))
inner = np.linalg.norm(away, axis=-1) < 15
print(f"growth within 15 mm: {np.exp(found[inner].mean()):.2f}")
print(f"in truth: {np.exp(true[inner].mean()):.2f}")

figure = Figure(figsize=(7.2, 2.4), layout="constrained")
images = first.get_fdata(), second.get_fdata(), found, true
shown = second.get_fdata() > 0
titles = ("first visit", "second visit", "log growth, found", "log growth, true")
for panel, image, title in zip(figure.subplots(1, 4), images, titles, strict=True):
    kind = {"cmap": "RdBu_r", "vmin": -0.8, "vmax": 0.8} if "log" in title else {"cmap": "gray"}
    layer = np.where(shown, image, np.nan if "log" in title else 0)[:, :, image.shape[2] * 3 // 5]
    panel.imshow(layer.T, origin="lower", **kind)
    panel.set_title(title, fontsize=9)
    panel.set_axis_off()
figure.savefig("growth.png")
