"""A real pair for the contract tests, small enough for all of them."""

import numpy as np
import pytest

from diffeode.files.io import read_image, read_labels
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.transform import Affine, warp_image, warp_labels
from diffeode.registration.base import Pair


@pytest.fixture(scope="module")
def newborns(data_root):
    """T2w of one newborn, T1w and labels of another, at 3 mm."""
    anat = [data_root / "albert" / f"sub-{number}" / "anat" for number in ("01", "02")]
    fixed = read_image(next(anat[0].glob("*T2w.nii*")))
    moving, labels = (
        read_image(next(anat[1].glob("*T1w.nii*"))),
        read_labels(next(anat[1].glob("*dseg.nii*"))),
    )
    grid = fixed.grid.resample(3.0)
    images = [
        warp_image(Image(i.data / np.quantile(i.data, 0.999), i.grid), Affine(), grid)
        for i in (fixed, moving)
    ]
    clipped = [Image(np.clip(i.data, 0, 1), grid) for i in images]
    return Pair(*clipped, *(foreground(i) for i in clipped)), warp_labels(labels, Affine(), grid)
