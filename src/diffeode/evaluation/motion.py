"""The motion under which two images match best: one of them turned, shifted and scaled as a whole.

A registration that starts too far away bends one image onto wrong places of the other. Its result
can look plausible, and match well where it was bent much, but it lies far from this motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from diffeode.evaluation.anatomy import COARSE, TURNS, Fit, centre_mm, placed, refined
from diffeode.geometry.image import Image
from diffeode.geometry.transform import Affine

_SEARCHED, _FEW_BINS = 2 * COARSE, 8
"""Voxel size of the search, as a fraction of the larger image's width, and its number of bins."""
_REFINED = 3
"""Number of guesses from which the best motion is searched."""
_TURNS = (*np.eye(3)[None], *TURNS, *Rotation.create_group("I").as_matrix()[1:])
"""The rotations of a cube and those of an icosahedron, ``(3, 3)`` each."""


def best_motion(
    fixed: Image, moving: Image, fit: Fit, guesses: Sequence[Affine], least_margin: float
) -> Affine | None:
    """Return the motion under which the two images match best, as far as a quick search finds it: a
    map from points of ``fixed`` to points of ``moving``, RAS mm.

    It is None where the images do not match by ``least_margin`` (:meth:`Fit.margin`) under it.

    The search starts from ``guesses``, and from the motions that bring the centres together and
    turn one image by any rotation of a cube or of an icosahedron.

    Args:
        fixed, moving: prepared images (in [0, 1], background 0), each on its own grid.
        fit: their fit.
        guesses: maps from points of ``fixed`` to points of ``moving``, RAS mm.
    """
    coarse = Fit.of(fixed, moving, _SEARCHED, _FEW_BINS)
    here, there = centre_mm(coarse.inner), centre_mm(coarse.outer)
    views = [
        *(guess if coarse.fixed_is_inner else guess.inverse() for guess in guesses),
        *(placed(turn, here, there) for turn in _TURNS),
    ]
    nearest = sorted(views, key=coarse.match, reverse=True)[:_REFINED]
    best = max((refined(coarse, view) for view in nearest), key=fit.match)
    if not fit.margin(best) >= least_margin:
        return None
    return best if fit.fixed_is_inner else best.inverse()
