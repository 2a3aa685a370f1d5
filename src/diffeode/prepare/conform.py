"""Bring a scan to the grid that MeshNets were trained on, and bring their result back.

The grid is that of FreeSurfer's ``mri_convert --conform``: 256 x 256 x 256 voxels of 1 mm about the
centre of the scan.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid

SIDE = 256
_TO_RAS = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def conformed_grid(grid: Grid) -> Grid:
    """Return the grid of 256^3 voxels of 1 mm about the box of ``grid``.

    Its axes point to the left, to the feet and to the front (LIA), also where the scan is oblique.
    Where the box is longer than 256 mm, its rim is left out: equally on both sides, but from head
    to feet only at the feet.
    """
    corners = grid.to_world(
        np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape]), axis=-1)
    ).reshape(-1, 3)
    lower, upper = corners.min(axis=0), corners.max(axis=0)
    centre = (lower + upper) / 2
    centre[2] += max(0.0, (upper[2] - lower[2] - SIDE) / 2)
    affine = np.eye(4)
    affine[:3, :3] = _TO_RAS
    affine[:3, 3] = centre - _TO_RAS @ np.full(3, (SIDE - 1) / 2)
    return Grid((SIDE, SIDE, SIDE), affine)


def conform(image: Image) -> Image:
    """Return ``image``, interpolated linearly on its :func:`conformed_grid`.

    Scans with voxels below 1 mm are smoothed first. Voxels outside the scan get its minimum.

    Raises:
        InputError: a voxel is not finite, or all are equal.
    """
    image.check_usable("The scan")
    sigma = np.sqrt(np.maximum((1 / image.grid.spacing) ** 2 - 1, 0)) / _FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(image.data, sigma, mode="nearest")
    target = conformed_grid(image.grid)
    return Image(_resampled(smooth, image.grid, target, 1, float(image.data.min())), target)


def mask_back(mask: np.ndarray, conformed: Grid, grid: Grid) -> np.ndarray:
    """Return ``mask`` on ``grid``, ``(X, Y, Z)`` bool: where its linear interpolation is at least
    0.5.

    Args:
        mask: ``(256, 256, 256)`` bool, on the grid ``conformed``.
    """
    return _resampled(mask.astype(np.float32), conformed, grid, 1) >= 0.5


def labels_back(labels: np.ndarray, conformed: Grid, grid: Grid) -> np.ndarray:
    """Return ``labels (256, 256, 256)`` on ``grid`` by nearest neighbour, ``(X, Y, Z)``; voxels
    outside get 0.
    """
    return _resampled(labels, conformed, grid, 0)


def _resampled(
    data: np.ndarray, grid: Grid, target: Grid, order: int, outside: float = 0
) -> np.ndarray:
    to_source = np.linalg.inv(grid.affine) @ target.affine
    return ndimage.affine_transform(
        data,
        to_source,
        output_shape=target.shape,
        order=order,
        mode="grid-constant",
        cval=outside,
        prefilter=False,
    )
