"""Another voxel size, without aliasing."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine


def resample_brain(
    image: Image, mask: np.ndarray, grid: Grid, to_scan: Affine | None = None
) -> tuple[Image, np.ndarray]:
    """The brain of ``image`` and its mask on ``grid``.

    Each new voxel is the mean of the brain it covers (background does not darken the rim), and
    belongs to the brain where at least half of it does.

    Args:
        grid: one with axes parallel to those of the image, or with cubic voxels.
        to_scan: points of ``grid`` to points of ``image``, RAS mm; the identity where not given.
    """
    covered = antialiased(mask.astype(np.float32), image.grid, grid, to_scan)
    summed = antialiased(image.data * mask, image.grid, grid, to_scan)
    inside = covered >= 0.5
    return Image(np.divide(summed, covered, out=np.zeros_like(summed), where=inside), grid), inside
