"""Leave a lesion out of the registration, so that it does not bend the map."""

from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
fixed = "virtual/sub-01/anat/sub-01_T2w.nii.gz"
scan = nib.load("virtual/sub-02/anat/sub-02_T1w.nii.gz")
data, centre = scan.get_fdata(), np.array([28.0, -20.0, 30.0])
places = nib.affines.apply_affine(scan.affine, np.moveaxis(np.indices(data.shape), 0, -1))
lesion = np.linalg.norm(places - centre, axis=-1) < 16
spoiled = np.where(lesion, 0.3 * data.max(), data), scan.affine
mask = np.where(lesion, 0.0, 1.0), scan.affine  # 1 where the scan counts

true = de.register(fixed, scan).transform.to_nibabel().get_fdata()
images = [data, spoiled[0]]
for title, moving_mask in (("without a mask", None), ("with a mask", mask)):
    result = de.register(fixed, spoiled, moving_mask=moving_mask)
    change = result.transform.to_nibabel().get_fdata() - true
    images.append(np.linalg.norm(change[:, :, :, 0], axis=-1))
    print(f"{title}: the lesion changes the map by up to {images[-1].max():.1f} mm")

titles = ("moving scan", "with a lesion", "map changed by (mm)", "with a mask")
figure = Figure(figsize=(7.2, 2.4), layout="constrained")
for panel, image, title in zip(figure.subplots(1, 4), images, titles, strict=True):
    colours = {"vmin": 0, "vmax": 8} if title in titles[2:] else {"cmap": "gray"}
    panel.imshow(image[:, :, image.shape[2] * 3 // 5].T, origin="lower", **colours)
    panel.set_title(title, fontsize=9)
    panel.set_axis_off()
figure.savefig("lesion.png")
