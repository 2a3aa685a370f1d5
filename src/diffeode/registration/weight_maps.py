"""Whether the map of weights that a run names (``weight_map``) can be one, and is no scan, mask or
label map.

The method asks only for what it cannot compute with: its code is part of the identity of every
registration, which would be made again.
"""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.files.io import read_weights
from diffeode.registration.base import Method

LARGEST_WEIGHT = 100.0
"""The largest weight, by which ``diffeode register --stiff`` holds a place stiff. The values of
most scans go beyond it.
"""
MOST_WITHOUT_WEIGHT = 0.5
"""Largest share of voxels that may have the weight 0, at which no penalty holds a map together; in
masks and in scans without background the share is larger.
"""
MOST_WHOLE_WEIGHTS = 16
"""Largest number of different values of a map that holds whole numbers alone; label maps of the
brain hold more.
"""
_REMEDY = "give 1 where the penalties count as they are, and less or more elsewhere"


def require_weight_map(method: Method) -> None:
    """Raise :class:`InputError` where ``method`` names a map of weights that cannot be read or is
    not plausible. Methods without such a map pass.
    """
    path = getattr(method, "weight_map", "")
    if not path:
        return
    weights = read_weights(path).data
    largest = float(weights.max())
    if largest > LARGEST_WEIGHT:
        raise InputError(
            f"{path} is no map of weights: it reaches {largest:g}, as scans do, and weights end at "
            f"{LARGEST_WEIGHT:g}; {_REMEDY}."
        )
    without = float((weights == 0).mean())
    if without > MOST_WITHOUT_WEIGHT:
        raise InputError(
            f"{path} is no map of weights: {100 * without:.0f} % of its values are 0, as in masks "
            "and in scans without background, and there no penalty would hold the map together; "
            f"{_REMEDY}."
        )
    if (weights == np.rint(weights)).all() and len(np.unique(weights)) > MOST_WHOLE_WEIGHTS:
        raise InputError(
            f"{path} is no map of weights: it holds {len(np.unique(weights))} different whole "
            f"numbers, as label maps and scans do; {_REMEDY}."
        )
