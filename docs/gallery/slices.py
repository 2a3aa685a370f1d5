"""Register two pictures of slices in their plane, and move a point of one to the other."""

from pathlib import Path

import nibabel as nib
from PIL import Image

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
for number, name in ((1, "fixed.png"), (2, "moving.png")):
    scan = nib.load(f"virtual/sub-0{number}/anat/sub-0{number}_T1w.nii.gz").get_fdata()
    layer = 255 * scan[:, ::-1, scan.shape[2] // 2].T / scan.max()
    picture = Image.fromarray(layer.clip(0, 255).astype("uint8"))
    picture.resize((5 * picture.width, 5 * picture.height), Image.Resampling.BICUBIC).save(name)

result = de.register("fixed.png", "moving.png")  # the default for slices is the run node-2d
x, y, _ = result.transform.map([-100.0, -120.0, 0.0])  # column 100, row 120 of fixed.png
print(f"Column 100, row 120 of fixed.png lies at column {-x:.1f}, row {-y:.1f} of moving.png.")
result.plot().savefig("slices.png")
