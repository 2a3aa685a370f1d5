"""Work on a whole grid a few planes at a time, whose intermediate results stay in the processor's
cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffeode.geometry.space import Grid

_VOXELS = 2**15
"""Number of voxels of a slab, unless a single plane has more."""


def slabs(grid: Grid) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield consecutive planes along the first axis of ``grid``, and their voxel centres in RAS mm,
    ``(planes, Y, Z, 3)``, to the bit those of :meth:`Grid.points_mm`.

    >>> grid = Grid((3, 2, 2), np.eye(4))
    >>> [(planes, points.shape) for planes, points in slabs(grid)]
    [(slice(0, 3, None), (3, 2, 2, 3))]
    """
    length, *across = grid.shape
    thickness = max(1, _VOXELS // (across[0] * across[1]))
    for first in range(0, length, thickness):
        planes = slice(first, min(first + thickness, length))
        voxels = Grid((planes.stop - first, across[0], across[1]), grid.affine).voxels()
        voxels[..., 0] += first
        yield planes, grid.to_world(voxels)
