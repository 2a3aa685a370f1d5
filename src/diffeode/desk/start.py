"""Starts of a user's own that are no affine: displacement fields, and transforms joined with them.

The registration continues where such a start ends. What is delivered is the whole map, the start
included, and its inverse.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_determinant
from diffeode.evaluation.verdict import judge, signs_of
from diffeode.geometry.image import Image
from diffeode.geometry.maps import inside, mapped_within, nearest_affine
from diffeode.geometry.transform import Affine, Chain, DisplacementField, densify
from diffeode.geometry.transform import Transform as Map
from diffeode.registration.base import Machine, Method
from diffeode.registration.harness import Result, Task, register

_LEAST_KNOWN = 0.9
"""Least share of what the fixed image shows at which a start must be known."""
_MISSED_MM, _MOST_MISSED = 0.1, 0.01
"""The inverse of a start is not found at a voxel that it misses by more than the first number. At
most the second share of the voxels may be such.
"""


@final
@dataclass(frozen=True, eq=False)
class BentStart:
    """A start that is no affine.

    Attributes:
        forward: the map from points of the fixed image to points of the moving one, RAS mm.
        back: the map back, at the voxels of the moving image.
        nearest: the affine nearest to :attr:`forward`; determinants are measured without it, as
            they are without an affine alignment.
        notes: sentences that the user should know.
    """

    forward: Map
    back: DisplacementField
    nearest: Affine
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, transform: Transform, fixed: Image, moving: Image) -> BentStart:
        """Return the start ``transform`` of a pair of prepared images, with its inverse.

        Raises:
            InputError: the start is known in too small a part of what the fixed image shows, folds
                there, or its inverse is not found where the moving image shows something.
        """
        name, points = transform.name, fixed.grid.points_mm()
        moved, unknown = mapped_within(transform.mapping, points)
        shown = fixed.data > 0
        lacking = float(unknown[shown].mean()) if shown.any() else 1.0
        if lacking > 1 - _LEAST_KNOWN:
            raise InputError(
                f"The start {name} is not known in {100 * lacking:.0f} % of what the fixed image "
                "shows, so it was made for another image; give one that covers it."
            )
        field = DisplacementField((moved - points).astype(np.float32), fixed.grid)
        nearest = nearest_affine(field)
        _require_no_folds(field, nearest, shown, name)
        back, missed = _inverse(transform, fixed, moving)
        notes = [
            f"{name} {what} in {100 * share:.2g} % of what the {side} image shows"
            for share, what, side in (
                (lacking, "was continued from its border", "fixed"),
                (missed, "has no inverse, and the nearest point was taken,", "moving"),
            )
            if share
        ]
        return cls(transform.mapping, back, nearest, tuple(notes))

    def continued(self, method: Method, task: Task, machine: Machine) -> Result:
        """Register by ``method`` from where this start leads, and return the whole maps.

        Args:
            task: the pair, whose ``moving`` image lies where this start brings it.
        """
        near = Task(task.fixed, task.moving, task.moving, Affine(), counts=task.counts)
        found = register(method, near, machine)
        warp = densify(Chain((found.warp, self.forward)), task.fixed.grid)
        back = densify(Chain((self.back, found.inverse_warp)), task.moving_scan.grid)
        signs = signs_of(warp, back, task.fixed, task.moving_scan, self.nearest)
        return dataclasses.replace(
            found,
            warp=warp,
            inverse_warp=back,
            verdict=judge(signs),
            notes=(*self.notes, *found.notes),
            velocity=None,
        )


def _require_no_folds(
    field: DisplacementField, nearest: Affine, shown: np.ndarray, name: str
) -> None:
    determinant = jacobian_determinant(field, nearest)
    inner = ndimage.binary_erosion(shown, np.ones([min(3, n) for n in shown.shape]))
    folded = int((determinant[inner & np.isfinite(determinant)] <= 0).sum())
    if folded:
        raise InputError(
            f"The start {name} folds at {folded} voxels of what the fixed image shows, so it has "
            "no inverse there; give one without folds, or an affine."
        )


def _inverse(transform: Transform, fixed: Image, moving: Image) -> tuple[DisplacementField, float]:
    """Return the inverse of a start at the voxels of the moving image, and the share of what that
    image shows where it is not found.

    Raises:
        InputError: it is not found in too large a share.
    """
    points, shown = moving.grid.points_mm(), moving.data > 0
    found = transform.inverse.mapping(points)
    there = found[shown]
    within = inside(fixed.grid, there)
    misses = np.linalg.norm(transform.mapping(there) - points[shown], axis=-1) > _MISSED_MM
    missed = float((misses & within).mean()) if within.any() else 1.0
    if missed > _MOST_MISSED:
        raise InputError(
            f"The inverse of the start {transform.name} is not found in {100 * missed:.0f} % of "
            "what the moving image shows, so no map back could be delivered; give a start that can "
            "be inverted, or an affine."
        )
    return DisplacementField((found - points).astype(np.float32), moving.grid), missed
