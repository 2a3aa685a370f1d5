"""Find the part of a volume that holds more than air."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_AIR = 0.1
_SPECKS = 3


def occupied_box(volume: np.ndarray, margin: int) -> tuple[slice, ...]:
    """Return the box around all that is brighter than air, widened by ``margin`` voxels.

    Values up to 0.1 count as air, and so does anything thinner than seven voxels, such as noise and
    artefacts. Where nothing is brighter, the box is the whole volume.

    Args:
        volume: ``(X, Y, Z)``, scaled to [0, 1].
    """
    bright = ndimage.binary_opening(volume > _AIR, iterations=_SPECKS)
    found = ndimage.find_objects(bright.astype(np.uint8))
    if not found:
        return tuple(slice(0, size) for size in volume.shape)
    sides = zip(found[0], volume.shape, strict=True)
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin)) for side, size in sides
    )
