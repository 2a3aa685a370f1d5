"""The affine of a pair, begun elsewhere where the plain one fails."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

from diffeode.evaluation.anatomy import TURNS, Fit, brain_width_mm, centre_mm, placed, stretch
from diffeode.geometry.image import Image, sample
from diffeode.geometry.transform import Affine
from diffeode.prepare.affine import affine_registration

# On pairs of newborns and adults, one contrast inverted or not, the margin of the plain affine is
# 2.1 and more where it
# is right, and 1.3 and less where it is not, since the header of one scan was turned; stretches are
# 1.3 and less, and
# 1.3 to 1000.
_LEAST_MARGIN, _MOST_STRETCHED = 1.6, 1.7
_LEAST_GAIN = 1.15
# Shares of the larger brain's width.
_COARSEST, _APART, _APART_TURNED = 0.072, 0.07, 0.15
_FEW_BINS = 8
_PART = 1.2
_ROTATIONS = 500
_REFINED, _CHOSEN = 10, 2


def searched_affine(fixed: Image, moving: Image, threads: int, seed: int) -> Affine:
    """Points of ``fixed`` to points of ``moving``, RAS mm: :func:`affine_registration`, begun
    elsewhere where it fails.

    What ANTs finds from the centres of mass is returned as it is where it laid anatomy on anatomy:
    where the two scans match clearly better than with one of them turned (:meth:`Fit.margin`), and
    no direction is stretched far more than another. Where it did not, rotations are tried at a
    coarse resolution and, where one brain is much smaller than the other, as a slab is, places
    within the larger one. What comes of it is taken where the scans match clearly better.

    Args:
        fixed, moving: prepared (in [0, 1], background 0), each on its own grid.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    found = affine_registration(fixed, moving, threads, seed)
    fit = Fit.of(fixed, moving)
    if _is_possible(found) and fit.margin(_view(found, fit)) > _LEAST_MARGIN:
        return found
    start = _best_start(fixed, moving, fit)
    best = max(
        (start, affine_registration(fixed, moving, threads, seed, start)),
        key=lambda a: _rank(a, fit),
    )
    return best if _is_better(best, found, fit) else found


def _is_possible(affine: Affine) -> bool:
    """Whether two brains can differ by ``affine``, which then mirrors nothing and stretches no
    direction far.
    """
    return bool(np.linalg.det(affine.matrix[:3, :3]) > 0) and stretch(affine) < _MOST_STRETCHED


def _rank(affine: Affine, fit: Fit) -> tuple[bool, float]:
    """What orders affines: those that two brains can differ by first, then by how well the scans
    match.
    """
    return _is_possible(affine), fit.match(_view(affine, fit))


def _is_better(affine: Affine, other: Affine, fit: Fit) -> bool:
    (possible, match), (other_possible, other_match) = _rank(affine, fit), _rank(other, fit)
    return possible and (not other_possible or match > _LEAST_GAIN * other_match)


def _view(affine: Affine, fit: Fit) -> Affine:
    """``affine``, fixed to moving, from the smaller brain to the larger one, or back."""
    return affine if fit.fixed_is_inner else affine.inverse()


# --------------------------------------------------------------------------------------- the search


def _best_start(fixed: Image, moving: Image, fit: Fit) -> Affine:
    """The best of the headers' word and of many rotations and places, refined at a coarse
    resolution.
    """
    coarsest = Fit.of(fixed, moving, _COARSEST, _FEW_BINS)
    views = [Affine(), *sorted(_starts(coarsest), key=coarsest.match, reverse=True)[:_REFINED]]
    refined = sorted(
        (_refined(coarsest, view) for view in views), key=coarsest.match, reverse=True
    )[:_CHOSEN]
    return _view(max((_refined(fit, view) for view in refined), key=fit.match), fit)


def _starts(fit: Fit) -> Iterator[Affine]:
    """Maps from the smaller brain to the larger one, turned about the centres.

    A brain that is much smaller may be a part of the other one: then it is put at many places as
    well, unscaled, the densest where it lies as its header says.
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
    """Points of the brain, RAS mm, ``(N, 3)``."""
    points = image.grid.resample(apart_mm).points_mm().reshape(-1, 3)
    return points[sample(image.data, image.grid.to_voxel(points), order=0) > 0]


def _refined(fit: Fit, view: Affine) -> Affine:
    """``view`` after turning, shifting and scaling the smaller brain to where the two match best
    (Powell's method).
    """
    centre, width = centre_mm(fit.inner), brain_width_mm(fit.outer)

    def moved(change: np.ndarray) -> Affine:
        linear = np.exp(change[6]) * Rotation.from_rotvec(change[:3]).as_matrix()
        return Affine(view.matrix @ placed(linear, centre, centre + width * change[3:6]).matrix)

    best = optimize.minimize(
        lambda change: -fit.match(moved(change)),
        np.zeros(7),
        method="Powell",
        bounds=[(-0.6, 0.6)] * 3 + [(-0.2, 0.2)] * 4,
        options={"maxfev": 180, "xtol": 0.01, "ftol": 0.002},
    )
    return moved(best.x)


def _rotations(count: int) -> Iterator[np.ndarray]:
    """``count`` rotations ``(3, 3)`` spread evenly: super-Fibonacci spirals (Alexa, CVPR 2022)."""
    steps = np.arange(count) + 0.5
    short, long = np.sqrt(steps / count), np.sqrt(1 - steps / count)
    alpha, beta = 2 * np.pi * steps / np.sqrt(2), 2 * np.pi * steps / 1.533751168755204288118041
    quaternions = np.stack(
        [short * np.sin(alpha), short * np.cos(alpha), long * np.sin(beta), long * np.cos(beta)], -1
    )
    yield from Rotation.from_quat(quaternions).as_matrix()
