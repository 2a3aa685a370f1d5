"""The affine alignment of two slices, with a search over all rotations in the plane.

Slices of tissue lie on their glass as they were put there, so no start can be trusted. Every
rotation is tried on a coarse lattice, where a correlation by Fourier transforms finds the best
translation at once. ANTs aligns the slices from the best of these starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from diffeode.errors import RegistrationError
from diffeode.evaluation.slice_fit import CoarseSlice, SliceFit, diagonal_mm, transformed
from diffeode.files.io import write_itk_plane_affine
from diffeode.geometry.image import Image
from diffeode.geometry.plane import affine_between
from diffeode.geometry.resample import coarser_slice
from diffeode.geometry.transform import Affine
from diffeode.process.fresh import in_new_process
from diffeode.programs.ants_bridge import (
    ants_registration,
    keeps_other_threads,
    plane_matrix_from_ants,
)

KINDS = {"rigid": "Rigid", "similarity": "Similarity", "affine": "Affine"}
"""ANTs' names for the kinds of alignment."""

_COARSE, _MEDIUM, _FINE = 1 / 110, 1 / 250, 1 / 700
"""Spacing of the lattices of the search, of its first refinement and of the last alignment, as
shares of the diagonal.
"""
_ANGLES = 72
_LEAST_SHARED = 0.4
"""Smallest share of the smaller slice that lies within the other one."""
_STARTS, _ALIKE_DEGREES = 5, 12.0
_SAME_SIZE = 1.1
"""Largest ratio of two widths of tissue that counts as no difference in scale."""
_MOST_STRETCHED, _MOST_SCALED = 1.5, 4.0


def slice_start(kind: str, fixed: Image, moving: Image, threads: int, seed: int) -> Affine:
    """Return the start of a ``kind`` (:data:`diffeode.prepare.choices.STARTS`) for two slices.

    ``identity`` trusts the plane coordinates of both slices, ``centre`` brings the centres of mass
    together, and the others are found by :func:`align_slices`.

    Raises:
        RegistrationError, InputError: as for :func:`align_slices`.
    """
    if kind in KINDS:
        return align_slices(fixed, moving, kind, threads, seed)
    matrix = np.eye(3)
    if kind == "centre":
        spacing = _MEDIUM * max(diagonal_mm(fixed), diagonal_mm(moving))
        here, there = (CoarseSlice.of(image, spacing).centre for image in (fixed, moving))
        matrix[:2, 2] = there - here
    return affine_between(matrix, fixed.grid, moving.grid)


def align_slices(fixed: Image, moving: Image, kind: str, threads: int, seed: int) -> Affine:
    """Return the map from points of the slice ``fixed`` to points of the slice ``moving``, RAS mm.

    Where this process used ANTs with another number of threads before, a new process finds it, so
    that the map does not depend on what was done before.

    Args:
        fixed, moving: prepared slices (in [0, 1], background 0), each on its own grid.
        kind: one of :data:`KINDS`.

    Raises:
        RegistrationError: ANTs gave up at every start.
        InputError: a grid is sheared.
    """
    if keeps_other_threads(threads):
        return in_new_process(_aligned_here, fixed, moving, kind, threads, seed)
    return _aligned_here(fixed, moving, kind, threads, seed)


def _aligned_here(fixed: Image, moving: Image, kind: str, threads: int, seed: int) -> Affine:
    fit = SliceFit.of(fixed, moving)
    diagonal = max(diagonal_mm(fixed), diagonal_mm(moving))
    small, fine = (
        [_reduced(image, share * diagonal) for image in (fixed, moving)]
        for share in (_MEDIUM, _FINE)
    )
    found = [
        matrix
        for start in _starts(fixed, moving)
        for matrix in _tried(kind, *small, threads, seed, start)
    ]
    if not found:
        raise RegistrationError("The affine alignment of the slices failed at every start.")
    best = max(found, key=lambda matrix: _rank(matrix, fit))
    final = [*_tried(kind, *fine, threads, seed, best), best]
    return affine_between(max(final, key=lambda m: _rank(m, fit)), fixed.grid, moving.grid)


def _rank(matrix: np.ndarray, fit: SliceFit) -> tuple[bool, float]:
    """Return the rank of an alignment, the greatest is best: those by which two slices can differ
    rank above others, then those under which the slices match better.
    """
    scales = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    possible = (
        np.linalg.det(matrix[:2, :2]) > 0
        and scales[0] / scales[1] < _MOST_STRETCHED
        and 1 / _MOST_SCALED < scales[0] < _MOST_SCALED
    )
    return bool(possible), fit.match(lambda points: transformed(matrix, points))


def _tried(
    kind: str, fixed: Image, moving: Image, threads: int, seed: int, start: np.ndarray
) -> list[np.ndarray]:
    """Return ANTs' alignment from ``start``, as a list of one; empty where ANTs gave up."""
    try:
        with (
            _written(start) as path,
            ants_registration(
                fixed,
                moving,
                KINDS[kind],
                threads,
                seed,
                aff_metric="mattes",
                initial_transform=[str(path)],
            ) as found,
        ):
            return [plane_matrix_from_ants(found["fwdtransforms"][0])]
    except RegistrationError:
        return []


@contextmanager
def _written(start: np.ndarray) -> Iterator[Path]:
    """Yield a file of ITK with the matrix ``start (3, 3)`` of plane coordinates."""
    with tempfile.TemporaryDirectory(prefix="diffeode-start-") as folder:
        path = Path(folder) / "start.txt"
        write_itk_plane_affine(path, start)
        yield path


def _reduced(image: Image, spacing_mm: float) -> Image:
    """Return a slice with pixels of about ``spacing_mm``, over the same box."""
    x, y = np.maximum(np.round(spacing_mm / image.grid.spacing[:2]), 1)
    return coarser_slice(image, (x, y))


# --------------------------------------------------------------------------------------- the search


def _starts(fixed: Image, moving: Image) -> list[np.ndarray]:
    """Return the best starts, matrices ``(3, 3)`` of plane coordinates; the identity is among them,
    and so is the translation between the centres of mass.
    """
    spacing = _COARSE * max(diagonal_mm(fixed), diagonal_mm(moving))
    coarse = [CoarseSlice.of(image, spacing) for image in (fixed, moving)]
    scored = [
        found
        for scale in _scales(*coarse)
        for angle in np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
        for found in _translated(*coarse, scale, angle, spacing)
    ]
    scored.sort(key=lambda found: found[0], reverse=True)
    chosen: list[np.ndarray] = []
    for _, matrix in scored:
        if len(chosen) < _STARTS and all(_unlike(matrix, other) for other in chosen):
            chosen.append(matrix)
    between_centres = np.eye(3)
    between_centres[:2, 2] = coarse[1].centre - coarse[0].centre
    return [*chosen, np.eye(3), between_centres]


def _scales(fixed: CoarseSlice, moving: CoarseSlice) -> list[float]:
    """Return the factors by which the moving slice may be larger: 1, and the ratio of the widths of
    the tissue where that is another.
    """
    widths = [
        float(np.sqrt((s.values > 0).sum() / abs(np.linalg.det(s.from_plane))))
        for s in (fixed, moving)
    ]
    ratio = widths[1] / widths[0]
    same = 1 / _SAME_SIZE < ratio < _SAME_SIZE
    far = not 1 / _MOST_SCALED < ratio < _MOST_SCALED
    return [1.0] if same else [ratio] if far else [1.0, ratio]


def _unlike(one: np.ndarray, other: np.ndarray) -> bool:
    change = one[:2, :2] @ np.linalg.inv(other[:2, :2])
    degrees = abs(np.degrees(np.arctan2(change[1, 0] - change[0, 1], np.trace(change))))
    scaled = np.sqrt(abs(np.linalg.det(change)))
    return bool(degrees > _ALIKE_DEGREES or not 1 / _SAME_SIZE < scaled < _SAME_SIZE)


def _translated(
    fixed: CoarseSlice, moving: CoarseSlice, scale: float, angle: float, spacing_mm: float
) -> list[tuple[float, np.ndarray]]:
    """Return the best translation with this scale and angle, with its correlation.

    There is one for the intensities and one for the strengths of their edges.
    """
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle_fixed, middle_moving = (s.points.mean(axis=(0, 1)) for s in (fixed, moving))
    reach = max(np.ptp(s.points, axis=(0, 1)).max() / f for s, f in ((fixed, 1), (moving, scale)))
    count = int(np.ceil(reach * np.sqrt(2) / spacing_mm)) + 1
    steps = (np.arange(count) - (count - 1) / 2) * spacing_mm
    lattice = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
    there = lattice @ linear.T + middle_moving
    images = [fixed.at(lattice + middle_fixed), moving.at(there)]
    masks = [fixed.covers(lattice + middle_fixed), moving.covers(there)]
    found = []
    for view in (lambda x, m: x, _edges):
        pair = [view(image, mask) for image, mask in zip(images, masks, strict=True)]
        score, shift = _best_shift(pair, masks)
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = middle_moving + linear @ (shift * spacing_mm - middle_fixed)
        found.append((score, matrix))
    return found


def _edges(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    inside = ndimage.binary_erosion(mask)
    return np.where(inside, np.hypot(*np.gradient(image)), 0)


def _best_shift(images: list[np.ndarray], masks: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the largest correlation within the overlap of two masks, and the shift at which it is
    found: ``fixed(x)`` is like ``moving(x + shift)``.

    Padfield, Masked object registration in the Fourier domain, IEEE TIP 21(5), 2012.
    """
    size = [fft.next_fast_len(2 * n - 1, real=True) for n in images[0].shape]

    def spectrum(array: np.ndarray) -> np.ndarray:
        return fft.rfft2(array, size)

    def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return fft.irfft2(np.conj(one) * other, size)

    (f, m), (f_mask, m_mask) = images, [mask.astype(float) for mask in masks]
    f, m = f * f_mask, m * m_mask
    of_f, of_f2, of_fm = spectrum(f), spectrum(f * f), spectrum(f_mask)
    of_m, of_m2, of_mm = spectrum(m), spectrum(m * m), spectrum(m_mask)
    overlap = np.maximum(correlation(of_fm, of_mm), 1e-9)
    sum_f, sum_m = correlation(of_f, of_mm), correlation(of_fm, of_m)
    covariance = correlation(of_f, of_m) - sum_f * sum_m / overlap
    spread_f = np.maximum(correlation(of_f2, of_mm) - sum_f**2 / overlap, 0)
    spread_m = np.maximum(correlation(of_fm, of_m2) - sum_m**2 / overlap, 0)
    least = 1e-6 * np.sqrt((f * f).sum() * (m * m).sum())
    score = covariance / np.sqrt(np.maximum(spread_f * spread_m, least**2))
    score[overlap < _LEAST_SHARED * min(f_mask.sum(), m_mask.sum())] = -np.inf
    place = np.array(np.unravel_index(score.argmax(), score.shape))
    shift = np.where(place > np.array(size) / 2, place - size, place)
    return float(score.max()), shift.astype(float)
