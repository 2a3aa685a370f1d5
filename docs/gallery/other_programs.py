"""Hand the map to SimpleITK, and see that it warps the scan as we do."""

from pathlib import Path

import numpy as np
import SimpleITK
from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
fixed = "virtual/sub-01/anat/sub-01_T2w.nii.gz"
moving = "virtual/sub-02/anat/sub-02_T1w.nii.gz"
result = de.register(fixed, moving)
# antsApplyTransforms -t warp.nii.gz takes this file.
result.transform.save("warp.nii.gz", overwrite=True)
result.inverse.save("inverse_warp.nii.gz", overwrite=True)

images = SimpleITK.ReadImage(moving, SimpleITK.sitkFloat32), SimpleITK.ReadImage(fixed)
itk = SimpleITK.Resample(*images, result.transform.to_itk(), SimpleITK.sitkLinear)
theirs = SimpleITK.GetArrayFromImage(itk).T  # SimpleITK's arrays run z, y, x
ours = result.warped.get_fdata()
print(f"Largest difference: {np.abs(theirs - ours).max() / ours.max():.1e} of the brightest voxel")

figure = Figure(figsize=(6, 2.6), layout="constrained")
titles = ("diffeode", "SimpleITK", "difference")
for panel, image, title in zip(
    figure.subplots(1, 3), (ours, theirs, theirs - ours), titles, strict=True
):
    layer = image[:, :, image.shape[2] // 2].T
    panel.imshow(layer, cmap="gray", origin="lower", vmin=0, vmax=ours.max())
    panel.set_title(title, fontsize=9)
    panel.set_axis_off()
figure.savefig("other_programs.png")
