"""The affine alignment of a pair, with a search for another start where ANTs' own start fails."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from diffeode.evaluation.anatomy import (
    TURNS,
    Fit,
    brain_width_mm,
    centre_mm,
    placed,
    refined,
    stretch,
)
from diffeode.geometry.image import Image, sample
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import Affine
from diffeode.prepare.affine import ants_alignment
from diffeode.prepare.slice_alignment import slice_start

# Measured on pairs of newborns and adults, in equal contrasts and with one contrast inverted. Where
# the plain affine is right, its margin is at least 2.1 and its stretch at most 1.3. Where it is
# wrong, because the header of one scan was turned, the margin is at most 1.3 and the stretch 1.3 to
# 1000.
_LEAST_MARGIN, _MOST_STRETCHED = 1.6, 1.7
_LEAST_GAIN = 1.15
# Spacings of the search, as shares of the larger brain's width: of the voxels, of places without a
# turn, and of places with one.
_COARSEST, _APART, _APART_TURNED = 0.072, 0.07, 0.15
_FEW_BINS = 8
_PART = 1.2
_ROTATIONS = 500
_REFINED, _CHOSEN = 10, 2


def found_start(
    kind: str,
    fixed: Image,
    moving: Image,
    threads: int,
    seed: int,
    fixed_counts: np.ndarray | None = None,
    moving_counts: np.ndarray | None = None,
) -> Affine:
    """Return the start of a ``kind`` (:data:`diffeode.prepare.choices.STARTS`): a map from points
    of ``fixed`` to points of ``moving``, RAS mm.

    Args:
        fixed, moving: prepared images (in [0, 1], background 0), each on its own grid.
        fixed_counts, moving_counts: the voxels of either that ANTs compares, ``(X, Y, Z)`` bool;
            None: all of them. Of slices all are compared.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    if is_slice(fixed.grid):
        return slice_start(kind, fixed, moving, threads, seed)
    if kind == "identity":
        return Affine()
    if kind == "centre":
        return placed(np.eye(3), centre_mm(fixed), centre_mm(moving))
    return searched_affine(
        fixed, moving, threads, seed, kind.capitalize(), fixed_counts, moving_counts
    )


def searched_affine(
    fixed: Image,
    moving: Image,
    threads: int,
    seed: int,
    kind: str = "Affine",
    fixed_counts: np.ndarray | None = None,
    moving_counts: np.ndarray | None = None,
) -> Affine:
    """Return the affine map from points of ``fixed`` to points of ``moving``, RAS mm.

    :func:`ants_alignment` first starts from the centres of mass. Its map is returned unchanged
    where it laid anatomy on anatomy: where the two scans match clearly better than after one of
    them is turned (:meth:`Fit.margin`), and no direction is stretched far more than another.

    Otherwise other starts are searched at a coarse resolution: many rotations and, where one brain
    is much smaller than the other, as a slab is, many places within the larger one. The map that
    comes of the best start is returned where the scans match clearly better under it.

    Args:
        fixed, moving: prepared scans (in [0, 1], background 0), each on its own grid.
        kind: the kind of map that ANTs finds, ``Affine``, ``Similarity`` or ``Rigid``.
        fixed_counts, moving_counts: as for :func:`found_start`.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """

    def aligned(start: Affine | None = None) -> Affine:
        return ants_alignment(
            kind, fixed, moving, threads, seed, start, fixed_counts, moving_counts
        )

    found = aligned()
    fit = Fit.of(fixed, moving)
    if _is_possible(found) and fit.margin(_view(found, fit)) > _LEAST_MARGIN:
        return found
    start = _best_start(fixed, moving, fit)
    if kind == "Rigid":
        start = _rigid_part(start, fixed)
    best = max((start, aligned(start)), key=lambda a: _rank(a, fit))
    return best if _is_better(best, found, fit) else found


def lays_anatomy_on_anatomy(affine: Affine, fit: Fit) -> bool:
    """Return whether ``affine``, a map from fixed to moving points, is right as far as two scans
    can tell.

    :func:`searched_affine` asks the same in its own words, because a call of this function there
    would change the identity of every alignment of a study.
    """
    return _is_possible(affine) and fit.margin(_view(affine, fit)) > _LEAST_MARGIN


def _rigid_part(affine: Affine, fixed: Image) -> Affine:
    """Return the rotation in ``affine`` with the shift by which the centre of ``fixed`` is sent to
    the same point.
    """
    left, _, right = np.linalg.svd(affine.matrix[:3, :3])
    centre = centre_mm(fixed)
    return placed(left @ right, centre, affine(centre))


def _is_possible(affine: Affine) -> bool:
    """Return whether two brains can differ by ``affine``: it does not mirror, and stretches no
    direction far more than another.
    """
    return bool(np.linalg.det(affine.matrix[:3, :3]) > 0) and stretch(affine) < _MOST_STRETCHED


def _rank(affine: Affine, fit: Fit) -> tuple[bool, float]:
    """Return the rank of ``affine``; the greatest is best.

    Affines by which two brains can differ rank above others, then those under which the scans match
    better.
    """
    return _is_possible(affine), fit.match(_view(affine, fit))


def _is_better(affine: Affine, other: Affine, fit: Fit) -> bool:
    (possible, match), (other_possible, other_match) = _rank(affine, fit), _rank(other, fit)
    return possible and (not other_possible or match > _LEAST_GAIN * other_match)


def _view(affine: Affine, fit: Fit) -> Affine:
    """Return ``affine`` as a map from the smaller brain to the larger one.

    ``affine`` maps fixed to moving points. The same call takes the result back again.
    """
    return affine if fit.fixed_is_inner else affine.inverse()


# --------------------------------------------------------------------------------------- the search


def _best_start(fixed: Image, moving: Image, fit: Fit) -> Affine:
    """Return the best start, refined at a coarse resolution.

    The candidates are the identity, which trusts the headers, and many rotations and places.
    """
    coarsest = Fit.of(fixed, moving, _COARSEST, _FEW_BINS)
    views = [Affine(), *sorted(_starts(coarsest), key=coarsest.match, reverse=True)[:_REFINED]]
    nearer = sorted((refined(coarsest, view) for view in views), key=coarsest.match, reverse=True)[
        :_CHOSEN
    ]
    return _view(max((refined(fit, view) for view in nearer), key=fit.match), fit)


def _starts(fit: Fit) -> Iterator[Affine]:
    """Yield maps from the smaller brain to the larger one.

    They are rotations about the centres, scaled by the ratio of the brains' widths. A brain that is
    much smaller may be a part of the other one, so it is also put at many places, unscaled. These
    places lie closest together where the brain is not turned against its header.
    """
    here, there = centre_mm(fit.inner), centre_mm(fit.outer)
    width = brain_width_mm(fit.outer)
    ratio = width / brain_width_mm(fit.inner)
    for turn in (np.eye(3), *TURNS, *_rotations(_ROTATIONS)):
        yield placed(ratio * turn, here, there)
    if ratio > _PART:
        for place in _places(fit.outer, _APART * width):
            yield placed(np.eye(3), here, place)
        for turn, place in product(TURNS, _places(fit.outer, _APART_TURNED * width)):
            yield placed(turn, here, place)


def _places(image: Image, apart_mm: float) -> np.ndarray:
    """Return points of the brain that lie ``apart_mm`` apart, ``(N, 3)``, RAS mm."""
    points = image.grid.resample(apart_mm).points_mm().reshape(-1, 3)
    return points[sample(image.data, image.grid.to_voxel(points), order=0) > 0]


def _rotations(count: int) -> Iterator[np.ndarray]:
    """Yield ``count`` evenly spread rotations ``(3, 3)`` by super-Fibonacci spirals.

    Source: Alexa, Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3), CVPR 2022.
    """
    steps = np.arange(count) + 0.5
    short, long = np.sqrt(steps / count), np.sqrt(1 - steps / count)
    alpha, beta = 2 * np.pi * steps / np.sqrt(2), 2 * np.pi * steps / 1.533751168755204288118041
    quaternions = np.stack(
        [short * np.sin(alpha), short * np.cos(alpha), long * np.sin(beta), long * np.cos(beta)], -1
    )
    yield from Rotation.from_quat(quaternions).as_matrix()
