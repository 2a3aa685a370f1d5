"""Interpolation of images and label maps at points between voxels, in all ways that commands
offer.
"""

from __future__ import annotations

from itertools import product
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import sample

Interpolation = Literal["linear", "nearest", "spline", "label-aware"]
"""The ways of interpolation.

- ``linear``: trilinear.
- ``nearest``: the value of the nearest voxel.
- ``spline``: cubic B-splines, which may overshoot the range of the image at edges.
- ``label-aware``: of a label map, the label whose trilinear weight is the largest. The surfaces of
  labels come out smoother than by ``nearest``, and no new labels arise.
"""
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)

_OF_LABELS = frozenset({"nearest", "label-aware"})
_CHUNK = 2**18
"""Number of points whose labels are weighed at once, which bounds the memory."""


def require_interpolation(how: str, is_labels: bool) -> None:
    """Raise :class:`InputError` where ``how`` is unknown or does not suit the image.

    Args:
        is_labels: whether the image is a label map, whose ids must not be mixed.
    """
    if how not in INTERPOLATIONS:
        raise InputError(
            f"There is no interpolation {how!r}; choose one of {', '.join(INTERPOLATIONS)}."
        )
    if is_labels and how not in _OF_LABELS:
        raise InputError(
            f"The interpolation {how} would mix the ids of a label map; choose nearest or "
            "label-aware."
        )


def interpolated(
    data: np.ndarray, voxels: np.ndarray, how: str, background: float = 0.0
) -> np.ndarray:
    """Return ``data (X, Y, Z)`` at voxel coordinates ``voxels (..., 3)``, of the type of ``data``.

    A point belongs to the image up to half a voxel beyond the outermost voxel centres, as in
    :func:`diffeode.geometry.image.sample`.

    Args:
        how: one of :data:`INTERPOLATIONS`.
        background: the value outside the image.

    Raises:
        InputError: there is no such interpolation.

    >>> row = np.array([1, 1, 7, 7]).reshape(4, 1, 1)
    >>> at = np.array([[1.4, 0, 0], [1.6, 0, 0], [9, 0, 0]])
    >>> interpolated(row, at, "label-aware", background=5).tolist()
    [1, 7, 5]
    """
    require_interpolation(how, is_labels=False)
    if how in ("linear", "nearest"):
        values = sample(data, voxels, order=1 if how == "linear" else 0)
    else:
        within = np.clip(voxels, 0, np.array(data.shape) - 1)
        values = (_splined if how == "spline" else _weightiest)(data, within)
    values[~_inside(data.shape, voxels)] = background
    return values


def _inside(shape: tuple[int, ...], voxels: np.ndarray) -> np.ndarray:
    return np.logical_and(voxels >= -0.5, voxels <= np.array(shape) - 0.5).all(axis=-1)


def _splined(data: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return cubic B-splines at points within the image, which is mirrored at its borders as ITK
    does.
    """
    coefficients = ndimage.spline_filter(data, order=3, output=np.float64, mode="mirror")
    values = ndimage.map_coordinates(
        coefficients, np.moveaxis(voxels, -1, 0), order=3, mode="mirror", prefilter=False
    )
    return values.astype(data.dtype)


def _weightiest(labels: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return the label with the largest trilinear weight at points within the label map."""
    points = voxels.reshape(-1, 3)
    parts = [
        _weightiest_of_corners(labels, points[start : start + _CHUNK])
        for start in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(parts).reshape(voxels.shape[:-1])


def _weightiest_of_corners(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    last = np.array(labels.shape) - 1
    lower = np.minimum(np.floor(points).astype(np.intp), np.maximum(last - 1, 0))
    part = points - lower
    ids, weights = [], []
    for corner in product((0, 1), repeat=3):
        at = np.minimum(lower + corner, last)
        ids.append(labels[tuple(at.T)])
        weights.append(np.where(corner, part, 1 - part).prod(axis=1))
    best, best_weight = ids[0].copy(), np.full(len(points), -1.0)
    for label in ids:
        total = sum(weight * (other == label) for other, weight in zip(ids, weights, strict=True))
        better = total > best_weight
        best[better], best_weight[better] = label[better], total[better]
    return best
