"""A synthetic pair of heads, for timing where there are no scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _cases import Case, Maker
from scipy import ndimage

from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine

_FILLED = 0.45
"""Semi-axes of the head as shares of the box, which it fills about as a cropped scan does."""
_BLOB_VOX = 4.0
_SHIFT_VOX = (2, -1, 1)


def synthetic_head(shape: tuple[int, int, int]) -> Maker:
    """Return a function that makes a pair of ellipsoids of smooth noise on voxels of 1 mm.

    One is shifted against the other.

    Args:
        shape: size of both images, voxels.
    """

    def make(fixed: Path, moving: Path) -> Case:
        grid = Grid(shape, np.eye(4))
        place = (grid.voxels(np.float32) - (np.array(shape) - 1) / 2) / (_FILLED * np.array(shape))
        head = (place**2).sum(axis=-1) < 1
        noise = ndimage.gaussian_filter(
            np.random.default_rng(0).standard_normal(shape, dtype=np.float32), _BLOB_VOX
        )
        tissue = np.clip(0.5 + noise / (4 * noise.std()), 0.05, 1)
        image = Image(np.where(head, tissue, 0), grid)
        other = Image(np.roll(image.data, _SHIFT_VOX, axis=(0, 1, 2)), grid)
        labels = [Labels(volume.data > 0.5, grid) for volume in (image, other)]
        return Case(image, other, other, Affine(), *labels)

    return make
