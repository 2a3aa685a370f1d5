"""The part of a volume where there is more than air."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_AIR = 0.1
_SPECKS = 3


def occupied_box(volume: np.ndarray, margin: int) -> tuple[slice, ...]:
    """The box of all that is brighter than air in ``volume (X, Y, Z)``, and ``margin`` voxels.

    It is the whole volume where nothing is brighter. Air is up to a tenth, as the volume is scaled
    to between 0 and 1; noise and artefacts thinner than seven voxels count as air, too.
    """
    bright = ndimage.binary_opening(volume > _AIR, iterations=_SPECKS)
    found = ndimage.find_objects(bright.astype(np.uint8))
    if not found:
        return tuple(slice(0, size) for size in volume.shape)
    sides = zip(found[0], volume.shape, strict=True)
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin)) for side, size in sides
    )
