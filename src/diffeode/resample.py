"""Onto a grid of another voxel size, without aliasing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.image import sample
from diffeode.space import Grid

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def antialiased(data: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """``data (X, Y, Z)`` of ``grid`` on ``target``, a grid with parallel axes: smoothed, then linearly sampled.

    The Gaussian makes up the difference in point spread between the two voxel sizes (Cardoso et al., MICCAI 2015:
    variances of FWHM subtract); a finer target is not smoothed.
    """
    factor = target.spacing / grid.spacing
    sigma_vox = np.sqrt(np.maximum(factor**2 - 1, 0)) / _FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(data.astype(np.float32), sigma_vox, mode="constant")
    return sample(smooth, grid.to_voxel(target.points_mm()), order=1)
