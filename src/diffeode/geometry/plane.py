"""Slices, which are images with a single layer of voxels, and coordinates in their plane.

A slice lies on a grid of ``(X, Y, 1)`` voxels. Its *plane coordinates* are two lengths in mm, in
the directions that ITK counts as positive: to the left before to the back before upwards (LPS). An
axial slice at the height 0, and a picture, so have the coordinates that ITK gives to the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import RAS_TO_LPS, Grid, ItkFrame
from diffeode.geometry.transform import Affine, DisplacementField, Transform

_LPS_SIGNS = np.diag(RAS_TO_LPS)[:3]
_ROUNDING = 1e-5


def is_slice(grid: Grid) -> bool:
    """Return whether ``grid`` has one voxel along its last axis and more along the other two.

    >>> is_slice(Grid((4, 5, 1), np.eye(4))), is_slice(Grid((4, 1, 5), np.eye(4)))
    (True, False)
    """
    return grid.shape[2] == 1 < min(grid.shape[:2])


def thin_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis along which an array of ``shape`` has one voxel; None where there is no such
    axis, or more than one.

    >>> thin_axis((4, 1, 5)), thin_axis((4, 4, 5)), thin_axis((4, 1, 1))
    (1, None, None)
    """
    thin = [axis for axis, n in enumerate(shape) if n == 1]
    return thin[0] if len(thin) == 1 else None


def with_axis_last(grid: Grid, axis: int) -> Grid:
    """Return ``grid`` with ``axis`` after the other two; its voxels stay where they are."""
    order: list[int] = [*(other for other in range(3) if other != axis), axis]
    x, y, z = (grid.shape[place] for place in order)
    return Grid((x, y, z), grid.affine[:, [*order, 3]])


_Laid = TypeVar("_Laid", Image, Labels, DisplacementField)


def with_thin_axis(laid: _Laid, axis: int) -> _Laid:
    """Return what lies on the grid of a slice with the thin axis at ``axis``, where a file had
    it; its voxels stay where they are.
    """
    order = [0, 1]
    order.insert(axis, 2)
    x, y, z = (laid.grid.shape[a] for a in order)
    grid = Grid((x, y, z), laid.grid.affine[:, [*order, 3]])
    values = laid.displacement_mm if isinstance(laid, DisplacementField) else laid.data
    return type(laid)(np.moveaxis(values, 2, axis), grid)


def laid_flat(laid: _Laid, axis: int) -> _Laid:
    """Return what lies on the grid of a slice whose thin axis is ``axis`` with that axis last; its
    voxels stay where they are.
    """
    grid = with_axis_last(laid.grid, axis)
    values = laid.displacement_mm if isinstance(laid, DisplacementField) else laid.data
    return type(laid)(np.moveaxis(values, axis, 2), grid)


def plane_frame(grid: Grid) -> Affine:
    """Return the map from plane coordinates ``(a, b, 0)`` of the slice on ``grid`` to RAS mm.

    The third coordinate is the distance from the plane.

    >>> picture = Grid((4, 5, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    >>> plane_frame(picture).matrix.diagonal().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    first, second = _in_order(grid.direction[:, :2])
    across = np.cross(first, second)
    axes = np.stack([first, second, across / np.linalg.norm(across)], axis=1)
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = axes[:, 2] * np.linalg.solve(axes, grid.affine[:3, 3])[2]
    return Affine(matrix)


def _in_order(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two columns of ``directions (3, 2)`` in the order and with the signs of plane
    coordinates.
    """
    one, other = directions.T
    nearest = max(
        ((i, j) for i in range(3) for j in range(3) if i != j),
        key=lambda axes: abs(one[axes[0]]) + abs(other[axes[1]]),
    )
    signed = [
        vector * np.sign(vector[axis] * _LPS_SIGNS[axis])
        for vector, axis in zip((one, other), nearest, strict=True)
    ]
    return (signed[0], signed[1]) if nearest[0] < nearest[1] else (signed[1], signed[0])


def plane_itk_frame(grid: Grid, reader: str) -> ItkFrame:
    """Return the position of the slice on ``grid`` as ITK states it for a 2-D image: an origin
    ``(2,)``, a spacing ``(2,)`` and a direction ``(2, 2)`` in plane coordinates.

    Args:
        reader: the tool that reads the image, for messages.

    Raises:
        InputError: the axes are sheared, which ITK cannot represent.
    """
    grid.require_perpendicular(reader)
    here = plane_frame(grid).inverse().matrix @ grid.affine
    spacing = grid.spacing[:2]
    return ItkFrame(here[:2, 3], spacing, here[:2, :2] / spacing)


def affine_between(matrix: np.ndarray, fixed: Grid, moving: Grid) -> Affine:
    """Return a map of plane coordinates as a map from points of one slice to points of another.

    Points beside the plane of ``fixed`` come to lie as far beside the plane of ``moving``.

    Args:
        matrix: the homogeneous matrix ``(3, 3)`` from plane coordinates of ``fixed`` to those of
            ``moving``.
    """
    whole = np.eye(4)
    whole[:2, :2], whole[:2, 3] = matrix[:2, :2], matrix[:2, 2]
    return Affine(plane_frame(moving).matrix @ whole @ plane_frame(fixed).inverse().matrix)


def matrix_between(affine: Affine, fixed: Grid, moving: Grid) -> np.ndarray:
    """Return the matrix ``(3, 3)`` of which :func:`affine_between` makes ``affine``."""
    whole = plane_frame(moving).inverse().matrix @ affine.matrix @ plane_frame(fixed).matrix
    kept = [0, 1, 3]
    return whole[np.ix_(kept, kept)]


def in_plane(transform: Transform, fixed: Grid, moving: Grid) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``transform``, a map from points of one slice to points of another, as a map of plane
    coordinates ``(..., 2)``.
    """
    into, back = plane_frame(fixed), plane_frame(moving).inverse()

    def mapped(points: np.ndarray) -> np.ndarray:
        there = into(np.concatenate([points, np.zeros((*points.shape[:-1], 1))], axis=-1))
        return back(transform(there))[..., :2]

    return mapped


def lies_as_pictures(grid: Grid) -> bool:
    """Return whether ``grid`` is a slice whose plane coordinates are its LPS mm, so that ITK can
    read it as a 2-D image in the right place.
    """
    return is_slice(grid) and bool(np.abs(plane_frame(grid).matrix - RAS_TO_LPS).max() < _ROUNDING)


def stays_in_plane(field: DisplacementField) -> bool:
    """Return whether ``field`` can be written as a 2-D field of ITK: its slice lies as pictures do,
    and its points stay in that plane.
    """
    if not lies_as_pictures(field.grid):
        return False
    return float(np.abs(field.displacement_mm[..., 2]).max()) < _ROUNDING


def thickened(image: Image) -> Image:
    """Return a slice with a copy of itself on either side, one voxel apart.

    Measures that compare a voxel with all its neighbours can so be taken in a plane.
    """
    return Image(np.repeat(image.data, 3, axis=2), _three_layers(image.grid))


def thickened_field(field: DisplacementField) -> DisplacementField:
    """Return a map of a slice as a map of :func:`thickened` slices."""
    return DisplacementField(np.repeat(field.displacement_mm, 3, axis=2), _three_layers(field.grid))


def _three_layers(grid: Grid) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.array([0.0, 0.0, -1.0]))
    return Grid((*grid.shape[:2], 3), affine)
