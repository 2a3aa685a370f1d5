"""Choose how stiff the map is: the weight of the penalty of its gradient."""

from pathlib import Path

from matplotlib.figure import Figure

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
one, two = Path("virtual/sub-01/anat"), Path("virtual/sub-02/anat")
weights = (0.05, 0.35, 3)  # 0.35 is the default of the run node

figure = Figure(figsize=(7.2, 3.6), layout="constrained")
for panel, weight in zip(figure.subplots(1, 3), weights, strict=True):
    result = de.register(
        one / "sub-01_T2w.nii.gz",
        two / "sub-02_T1w.nii.gz",
        fixed_labels=one / "sub-01_dseg.nii.gz",
        labels=two / "sub-02_dseg.nii.gz",
        settings={"penalties.gradient.weight": weight},
    )
    dice, spread = result.metrics["dice"], result.metrics["sdlogj"]
    warped = result.warped.get_fdata()
    panel.imshow(warped[:, :, warped.shape[2] // 2].T, cmap="gray", origin="lower")
    panel.set_title(f"weight {weight}: Dice {dice:.3f}\nSD of log |J| {spread:.2f}", fontsize=9)
    panel.set_axis_off()
figure.savefig("stiffness.png")
