"""Onto a grid of another voxel size, without aliasing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.geometry.image import sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def antialiased(
    data: np.ndarray, grid: Grid, target: Grid, to_source: Affine | None = None
) -> np.ndarray:
    """``data (X, Y, Z)`` of ``grid`` on ``target``: smoothed, then linearly sampled, once.

    Args:
        target: a grid with axes parallel to those of ``grid``, or with cubic voxels.
        to_source: points of ``target`` to points of ``grid``, RAS mm; the identity where not given.

    The Gaussian makes up the difference in point spread between the two voxel sizes (Cardoso et
    al., MICCAI 2015: variances of FWHM subtract); a finer target is not smoothed.
    """
    factor = target.spacing / grid.spacing
    sigma_vox = np.sqrt(np.maximum(factor**2 - 1, 0)) / _FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(data.astype(np.float32), sigma_vox, mode="constant")
    points = target.points_mm()
    return sample(smooth, grid.to_voxel(to_source(points) if to_source else points), order=1)
