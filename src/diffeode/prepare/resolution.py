"""Bring a brain to another grid without aliasing."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine


def resample_brain(
    image: Image, mask: np.ndarray, grid: Grid, to_scan: Affine | None = None
) -> tuple[Image, np.ndarray]:
    """Return the brain of ``image`` and its mask on ``grid``.

    Each new voxel is the mean of the brain that it covers, so that the background does not darken
    the rim. It belongs to the brain where at least half of it does.

    Args:
        mask: the brain, ``(X, Y, Z)`` bool, on the grid of ``image``.
        grid: the new grid; its axes are parallel to those of the image, or its voxels are cubes.
        to_scan: the map from points of ``grid`` to points of ``image``, RAS mm; by default the
            identity.
    """
    covered = antialiased(mask.astype(np.float32), image.grid, grid, to_scan)
    summed = antialiased(image.data * mask, image.grid, grid, to_scan)
    inside = covered >= 0.5
    return Image(np.divide(summed, covered, out=np.zeros_like(summed), where=inside), grid), inside
