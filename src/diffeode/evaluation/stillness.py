"""Whether a registration moved nothing although its two images differ, as it does where a step is
too small to move a voxel.

The verdict does not ask this: its code is part of the identity of every registration, which would
be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.evaluation.verdict import Verdict
from diffeode.geometry.image import Image, foreground, window_around
from diffeode.geometry.slabs import slabs
from diffeode.geometry.transform import DisplacementField, Transform

LEAST_MOVED_VOXELS = 0.05
"""Largest displacement over the foreground, in voxels, up to which a map counts as one that moves
nothing.
"""
LEAST_GAIN = 0.1
"""Smallest gain (:func:`signs_of_stillness`) from which on two images count as different.

Textures in balls, 30 voxels wide: 1.7 of two persons, 0.4 of one who was bent by half a voxel, less
than 0.001 of one with other noise, and 0.18 in place where one contrast darkens what is dark and
what is bright in the other.
"""
_WINDOW = 9
"""Width, voxels, of the windows in which the two images are compared."""
_SMALLEST_SHARE = 1e-3
"""Less than the share that one voxel has of a window."""
_FLOOR = 1e-4
"""Variance of the faint texture that is added to every window of both images, as in
:mod:`diffeode.losses.correlation`, so that flat windows of noise match.
"""


def signs_of_stillness(
    warp: DisplacementField,
    start: Transform,
    fixed: Image,
    moving: Image,
    counts: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the numbers that tell whether a registration moved nothing although it had to.

    - ``largest_displacement_voxels``: the largest distance over the fixed foreground between the
      map and the start, in voxels of the fixed image (along their shortest side).
    - ``gain_by_a_voxel``: by how much the images would match better, the mean squared correlation
      in small windows, if each point of the foreground were moved by one voxel in its best
      direction or stayed; 0.1 is 10 %. Equal images have 0, two persons much more. It is NaN, and
      not measured, where the map moves something.

    Args:
        warp: the whole map.
        start: the map from which the method started, from points of the fixed image to points of
            the moving scan, RAS mm.
        fixed, moving: the prepared images on the grid of ``warp``; the moving one lies where
            ``start`` brings it.
        counts: the voxels that count, ``(X, Y, Z)`` bool; None: all of them.

    Raises:
        InputError: no voxel of the fixed image is above zero.
    """
    shown = foreground(fixed)
    if counts is not None and (shown & counts).any():
        shown &= counts
    moved = _largest_mm(warp, start, shown) / min(_sides(fixed))
    gain = float("nan")
    if moved < LEAST_MOVED_VOXELS:
        gain = _gain(fixed, moving, shown)
    return {"largest_displacement_voxels": moved, "gain_by_a_voxel": gain}


def with_stillness(verdict: Verdict, signs: Mapping[str, float]) -> Verdict:
    """Return ``verdict`` with the numbers of :func:`signs_of_stillness`, and with the reason where
    the registration moved nothing although the images differ.
    """
    reasons = (*verdict.reasons, *suspicious_stillness(signs).values())
    return replace(verdict, signs={**verdict.signs, **signs}, reasons=reasons)


def suspicious_stillness(signs: Mapping[str, float]) -> dict[str, str]:
    """Return the name of the sign that makes a registration suspect, with the reason, a clause;
    empty where the map moved something, the images are alike, or neither was measured.
    """
    moved, gain = (
        signs.get(name, float("nan")) for name in ("largest_displacement_voxels", "gain_by_a_voxel")
    )
    if not (moved < LEAST_MOVED_VOXELS and gain > LEAST_GAIN):
        return {}
    reason = (
        f"the method moved no point of the foreground by more than {moved:.2g} of a voxel although "
        "the two images differ (its settings, such as the step or the number of iterations, may be "
        "too small to move anything)"
    )
    return {"largest_displacement_voxels": reason}


def _sides(image: Image) -> list[float]:
    """Return the sides of a voxel, mm, along the axes that have more than one voxel."""
    return [side for side, n in zip(image.grid.spacing, image.grid.shape, strict=True) if n > 1]


def _largest_mm(warp: DisplacementField, start: Transform, shown: np.ndarray) -> float:
    largest = 0.0
    for planes, points in slabs(warp.grid):
        here = shown[planes]
        if here.any():
            apart = points[here] + warp.displacement_mm[planes][here] - start(points[here])
            largest = max(largest, float(np.linalg.norm(apart, axis=-1).max()))
    return largest


def _gain(fixed: Image, moving: Image, shown: np.ndarray) -> float:
    window = window_around(shown, _WINDOW)
    shown, there = shown[window], moving.data[window]
    here = _Windows.of(fixed.data[window], shown)
    stays = best = here.match(there)
    for moved in _moved_by_a_voxel(there):
        best = np.maximum(best, here.match(moved))
    return float(best[shown].mean() / stays[shown].mean() - 1)


def _moved_by_a_voxel(data: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``data`` moved by one voxel each way along each axis; what enters is its border."""
    for axis in (axis for axis, n in enumerate(data.shape) if n > 1):
        for step in (-1, 1):
            at = np.clip(np.arange(data.shape[axis]) + step, 0, data.shape[axis] - 1)
            yield np.take(data, at, axis=axis)


@final
@dataclass(frozen=True, eq=False)
class _Windows:
    """The window around each voxel of an image. Only the voxels that are shown count, so that the
    outline, which two persons share, does not hide what is inside.

    Attributes:
        data: the image, ``(X, Y, Z)``.
        shown: the voxels that count, 1, others 0.
        share: the share of each window that is shown.
        mean, variance: those of ``data`` in each window.
    """

    data: np.ndarray
    shown: np.ndarray
    share: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, data: np.ndarray, shown: np.ndarray) -> _Windows:
        """Return the windows of ``data``, where ``shown`` is bool."""
        weights = shown.astype(np.float32)
        share = np.maximum(_window_mean(weights), _SMALLEST_SHARE)
        return cls(data, weights, share, *_mean_and_variance(data, weights, share))

    def match(self, moving: np.ndarray) -> np.ndarray:
        """Return the squared correlation with ``moving`` in each window."""
        mean, variance = _mean_and_variance(moving, self.shown, self.share)
        product = _window_mean(self.shown * self.data * moving) / self.share
        together = np.abs(product - self.mean * mean) + _FLOOR
        return together**2 / ((self.variance + _FLOOR) * (variance + _FLOOR))


def _mean_and_variance(
    data: np.ndarray, shown: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    mean = _window_mean(shown * data) / share
    square = _window_mean(shown * data * data) / share
    return mean, np.maximum(square - mean * mean, 0)


def _window_mean(data: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(data, _WINDOW, mode="nearest")
