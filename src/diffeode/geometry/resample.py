"""Resampling to a grid of another voxel size, without aliasing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.geometry.image import Image, sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
"""A Gaussian's full width at half maximum (FWHM), in its standard deviations."""


def antialiased(
    data: np.ndarray, grid: Grid, target: Grid, to_source: Affine | None = None
) -> np.ndarray:
    """Return ``data (X, Y, Z)``, which lies on ``grid``, resampled to ``target``.

    The data are smoothed and then interpolated linearly, once. The Gaussian makes up the difference
    between the point spreads of the two voxel sizes, whose squared widths (FWHM) subtract (Cardoso
    et al., MICCAI 2015). Where the target is finer, nothing is smoothed.

    Args:
        target: a grid with axes parallel to those of ``grid`` and in the same order, or with cubic
            voxels; the smoothing along each axis follows from the spacings along that axis.
        to_source: the map from points of ``target`` to points of ``grid``, RAS mm; None is the
            identity.
    """
    factor = target.spacing / grid.spacing
    sigma_vox = np.sqrt(np.maximum(factor**2 - 1, 0)) / _FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(data.astype(np.float32), sigma_vox, mode="constant")
    points = target.points_mm()
    return sample(smooth, grid.to_voxel(to_source(points) if to_source else points), order=1)


def coarser_slice(image: Image, factors: tuple[float, float]) -> Image:
    """Return a slice with pixels that are ``factors`` times as wide, smoothed before.

    Beyond its border the slice goes on with its values there, so that its rim does not darken.
    """
    scale = np.array([*factors, 1.0])
    grid = image.grid.resample(scale * image.grid.spacing)
    sigma_vox = np.sqrt(np.maximum(scale**2 - 1, 0)) / _FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(image.data, sigma_vox, mode="nearest")
    voxels = np.moveaxis(image.grid.to_voxel(grid.points_mm()), -1, 0)
    return Image(
        ndimage.map_coordinates(smooth, voxels, order=1, mode="nearest", prefilter=False), grid
    )
