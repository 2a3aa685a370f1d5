"""Register the T1w of one person to the T2w of another, and look at the pair."""

from pathlib import Path

import diffeode as de
from diffeode.datasets.virtual import make_cohort

make_cohort(Path("virtual"), persons=2, spacing_mm=4, seed=7)
one, two = Path("virtual/sub-01/anat"), Path("virtual/sub-02/anat")

result = de.register(
    fixed=one / "sub-01_T2w.nii.gz",
    moving=two / "sub-02_T1w.nii.gz",
    fixed_labels=one / "sub-01_dseg.nii.gz",
    labels=two / "sub-02_dseg.nii.gz",
)
result.save("OUT", overwrite=True)
print(f"Dice {result.metrics['dice']:.3f}, {result.metrics['ndv_percent']:.3g} % folded")
result.plot().savefig("two_contrasts.png")
