"""Maps from maps: the inverse, one affine in place of several, and where a map is known.

Every map sends points of the fixed scan to points of the moving scan, RAS mm, as in
:mod:`diffeode.geometry.transform`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.plane import thin_axis
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, Chain, DisplacementField, Transform

TOLERANCE_MM = 1e-3
"""Largest distance between a point and the image of its inverse that counts as found."""

_ITERATIONS = 200
_FITTED = 4000
"""Number of voxels, spread over a field, to which its affine is fitted."""
_LEAST_STEP = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Inverse(Transform):
    """The inverse of a displacement field, found anew at every point at which it is asked for.

    A point ``x`` with ``forward(x) = y`` is looked for by ``x <- x + s A^-1 (y - forward(x))``,
    where ``A`` is the affine nearest to the field and the factor ``s`` of a point is halved where a
    step leads away. With ``A = 1`` this is the iteration of Chen et al., Medical Physics 35(1),
    2008; the affine makes it converge for maps with large rotations and scalings, too. Beyond the
    grid of the field its difference from ``A`` is continued, and not its displacement: a map that
    turns by more than a right angle would fold at the border otherwise.
    """

    forward: DisplacementField

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        return self.solve(points_mm)[0]

    def solve(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points that the field sends to ``points_mm (..., 3)``, and by how many mm each
        is missed ``(...)``.

        Where a point is missed by more than :data:`TOLERANCE_MM`, the field folds there or does not
        reach it.
        """
        targets = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        linear = np.linalg.inv(self._affine.matrix[:3, :3]).T
        found = self._affine.inverse()(targets)
        rest = targets - self._continued(found)
        step = np.ones(len(targets))
        for _ in range(_ITERATIONS):
            missed = np.linalg.norm(rest, axis=1)
            open_ = np.flatnonzero((missed > TOLERANCE_MM / 10) & (step > _LEAST_STEP))
            if not open_.size:
                break
            trial = found[open_] + step[open_, None] * (rest[open_] @ linear)
            left = targets[open_] - self._continued(trial)
            nearer = np.linalg.norm(left, axis=1) < missed[open_]
            taken = open_[nearer]
            found[taken], rest[taken] = trial[nearer], left[nearer]
            step[taken] = np.minimum(1.0, 2 * step[taken])
            step[open_[~nearer]] /= 2
        shape = np.shape(points_mm)
        return found.reshape(shape), np.linalg.norm(rest, axis=1).reshape(shape[:-1])

    def _continued(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the field's map, which differs from ``A`` beyond the grid as it does at the
        border.
        """
        bent = self._bending(points_mm) - points_mm
        return self._affine(points_mm) + bent

    @cached_property
    def _bending(self) -> DisplacementField:
        """The difference between the field and its affine, as a displacement."""
        grid, points = self.forward.grid, self.forward.grid.points_mm()
        straight = self._affine(points) - points
        return DisplacementField(self.forward.displacement_mm - straight, grid)

    @cached_property
    def _affine(self) -> Affine:
        return nearest_affine(self.forward)


def nearest_affine(field: DisplacementField) -> Affine:
    """Return the affine that differs least from ``field`` at its voxels, RAS mm; the identity where
    that one has no inverse.

    The affine of a slice's field leads from the plane of the slice to the plane of the moved
    points. A point beside the one plane comes to lie as far beside the other.
    """
    grid = field.grid
    step = max(1, round((np.prod(grid.shape) / _FITTED) ** (1 / 3)))
    window = (slice(None, None, step),) * 3
    points = grid.points_mm()[window].reshape(-1, 3)
    reached = points + field.displacement_mm[window].reshape(-1, 3)
    axis = thin_axis(grid.shape)
    if axis is not None:
        across = np.cross(*np.delete(grid.direction, axis, axis=1).T)
        across /= np.linalg.norm(across)
        points, reached = (
            np.concatenate([places + normal, places - normal])
            for places, normal in ((points, across), (reached, _normal(reached, across)))
        )
    here = np.column_stack([points, np.ones(len(points))])
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(here, reached, rcond=None)[0].T
    singular = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if np.linalg.matrix_rank(here) < 4 or singular[-1] < 1e-3 * singular[0]:
        return Affine()
    return Affine(matrix)


def _normal(points: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the unit vector that is perpendicular to the plane nearest to ``points (N, 3)``.

    Args:
        like: a direction; of the two unit vectors, the nearer one to it is returned.
    """
    normal = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][-1]
    return normal if normal @ like >= 0 else -normal


def inverse_of(transform: Transform) -> Transform:
    """Return the map back: exact for affines, by :class:`Inverse` for displacement fields.

    >>> shift = np.eye(4)
    >>> shift[:3, 3] = 1, 2, 3
    >>> inverse_of(Affine(shift))(np.zeros(3)).tolist()
    [-1.0, -2.0, -3.0]

    Raises:
        InputError: the transform is of a kind that has no inverse here.
    """
    if isinstance(transform, Affine):
        return transform.inverse()
    if isinstance(transform, DisplacementField):
        return Inverse(transform)
    if isinstance(transform, Inverse):
        return transform.forward
    if isinstance(transform, Chain):
        return Chain(tuple(inverse_of(step) for step in reversed(transform.steps)))
    raise InputError(f"A transform of kind {type(transform).__name__} cannot be inverted.")


def steps_of(transform: Transform) -> tuple[Transform, ...]:
    """Return the maps that ``transform`` applies one after the other, the first one first;
    neighbouring affines are one.
    """
    steps: list[Transform] = []
    parts = (
        [step for part in transform.steps for step in steps_of(part)]
        if isinstance(transform, Chain)
        else [transform]
    )
    for step in parts:
        before = steps[-1] if steps else None
        if isinstance(step, Affine) and isinstance(before, Affine):
            steps[-1] = Affine(step.matrix @ before.matrix)
        else:
            steps.append(step)
    return tuple(steps) or (Affine(),)


def collapsed(transform: Transform) -> Transform:
    """Return the same map with as few steps as possible: affines in a row become one."""
    steps = steps_of(transform)
    return steps[0] if len(steps) == 1 else Chain(steps)


def grid_where_known(transform: Transform) -> Grid | None:
    """Return the grid on which ``transform`` is known, that of its first step; None for a map whose
    first step is an affine or an inverse, which lies on no grid.
    """
    first = steps_of(transform)[0]
    return first.grid if isinstance(first, DisplacementField) else None


def mapped_within(transform: Transform, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where ``transform`` sends ``points_mm (..., 3)``, and which of them are not known
    there, ``(...)`` bool.

    A point is not known where it, or its way through several steps, lies beyond the grid of a
    displacement field, or where an inverse was not found.
    """
    shape = np.shape(points_mm)
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    unknown = np.zeros(len(points), dtype=bool)
    for step in steps_of(transform):
        if isinstance(step, DisplacementField):
            unknown |= ~inside(step.grid, points)
            points = step(points)
        elif isinstance(step, Inverse):
            points, missed = step.solve(points)
            unknown |= (missed > TOLERANCE_MM) | ~inside(step.forward.grid, points)
        else:
            points = step(points)
    return points.reshape(shape), unknown.reshape(shape[:-1])


def inside(grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """Return which of ``points_mm (..., 3)`` lie in the box of ``grid``, ``(...)`` bool.

    The box reaches half a voxel beyond the outermost voxel centres.
    """
    voxels = grid.to_voxel(points_mm)
    # A point that a file rounded must not fall out of the box.
    reach = 0.5 + 1e-6
    return np.logical_and(voxels >= -reach, voxels <= np.array(grid.shape) - 1 + reach).all(axis=-1)
