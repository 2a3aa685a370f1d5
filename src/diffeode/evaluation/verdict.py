"""The verdict on a registration: whether numbers that need no labels suggest that it went wrong.

Every threshold was chosen on one half of the registrations of ``benchmarks/suspects.py``, of which
some are good and some were made to fail. ``benchmarks/results/suspects.md`` says how many of the
other half are judged rightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from diffeode.evaluation.anatomy import (
    Fit,
    brain_width_mm,
    stretch,
    stretch_of,
    turned_degrees,
)
from diffeode.evaluation.jacobian import jacobian_determinant
from diffeode.evaluation.motion import best_motion
from diffeode.evaluation.slice_fit import SliceFit
from diffeode.geometry.image import Image, foreground, sample
from diffeode.geometry.maps import nearest_affine
from diffeode.geometry.plane import in_plane, is_slice, matrix_between
from diffeode.geometry.transform import Affine, DisplacementField

LEAST_OVERLAP = 0.85
"""Smallest Dice of the two foregrounds, which are what the images show. Good registrations of
brains: 0.91 and more. Of the failures, only scans of twice the size stay below. It says nothing of
crops full of tissue, where everything is foreground.
"""
LEAST_MARGIN = 2.4
"""Smallest ratio of the match to the match with one image turned. Good registrations: 2.5 and more,
most above 4. Spoiled ones: 2.3 and less.
"""
LEAST_MARGIN_OF_CROPS = 3.5
"""The same of crops full of tissue, which have no outline that any two images share, so that turned
ones match worse. Good registrations: 6.6 and more, and in crops of T1w and T2w of newborns 3.8.
Crops whose pieces were shuffled: 3.4 and less.
"""
LEAST_MATCH_OF_CROPS = 0.05
"""Smallest match of crops full of tissue. Turned ones match so little that the margin can be wide
by chance. Good registrations: 0.08 and more. Noise: 0.01, at a margin of 4.3; shuffled pieces:
0.03 and less.
"""
LEAST_KEPT = 0.75
"""Smallest ratio of the match to the match before the registration. Good registrations: 0.86 and
more. Spoiled ones: 0.1 to 1.6.
"""
CONVINCING = 1.6
"""Ratio of the match to the match with one image turned from which on an alignment counts as right,
as in :mod:`diffeode.prepare.search`. Where that of the start is smaller, the best motion is looked
for.
"""
MOST_FROM_MOTION = 0.16
"""Largest ratio of the distance between the map and the best motion to the foreground's width. Good
registrations: 0.14 and less. Those that ended far from the best motion: 0.18 and more.
"""
MOST_STRETCHED = 1.5
"""Largest ratio of the affine's scaling in one direction to that in another. Good registrations:
1.2 and less. Slabs that were stretched to whole brains: 2 to 1000.
"""
MOST_SPREAD = 0.8
"""Largest SD of log|J|. Good registrations: 0.63 and less, and up to 0.70 in this repository's
tables of accuracy. Maps with too little regularisation: 0.9 to 1.5.
"""
MOST_FOLDED = 1.0
"""Largest share of the foreground that may fold, per cent. Good registrations: 0, and up to 0.33 in
this repository's tables of accuracy.
"""
MOST_MOVED = 0.6
"""Largest ratio of the displacement to the foreground's width. Good registrations: 0.2 and less
after an affine alignment, 0.5 without one.
"""
_FULL_PERCENT = 50.0
"""Share of the faces of an image that show something from which on it counts as full of tissue."""
_TURNED_DEGREES = 60.0
"""From this angle on a rotation of the alignment is reported; bodies in scanners differ by less."""


@final
@dataclass(frozen=True)
class Verdict:
    """The judgement of a registration.

    Attributes:
        signs: the numbers that :func:`signs_of` returns.
        reasons: the reasons why the registration is suspect, one clause each; empty where it is
            not.
    """

    signs: Mapping[str, float]
    reasons: tuple[str, ...]

    @property
    def suspect(self) -> bool:
        """Return whether the registration is suspect."""
        return bool(self.reasons)

    @property
    def sentence(self) -> str:
        """Return what is suspicious and what to do, as one sentence; empty where nothing is
        suspicious.
        """
        if not self.reasons:
            return ""
        return (
            f"This registration is suspect: {'; '.join(self.reasons)}. Look at it before you "
            "use it."
        )


def signs_of(
    warp: DisplacementField,
    inverse_warp: DisplacementField,
    fixed: Image,
    moving_scan: Image,
    moving_to_scan: Affine,
) -> dict[str, float]:
    """Return the numbers on which the verdict rests; NaN where a number cannot be computed.

    - ``overlap``: Dice of the two foregrounds on that part of the fixed grid that the map sends
      into the moving scan's grid.
    - ``anatomical_match``, ``anatomical_match_before``: normalised mutual information minus 1 of
      the scans without slow drifts, over the smaller foreground, after the registration and after
      the affine alignment alone.
    - ``anatomical_margin``, ``anatomical_margin_before``: the factor by which these two are greater
      than with one image turned (:meth:`Fit.margin`).
    - ``faces_percent``: the share of the six faces of the image that show something, of the emptier
      image; from 50 on both are crops full of tissue. It is not measured in slices.
    - ``alignment_stretch``: the largest scaling of the affine alignment divided by the smallest.
    - ``displacement_share``: 95th percentile over the fixed foreground of the distance between the
      map and the affine alignment, divided by the foreground's width.
    - ``motion_distance``: 75th percentile over the fixed foreground of the distance between the map
      and the motion (turned, shifted and scaled as a whole) under which the two images match best
      (:func:`diffeode.evaluation.motion.best_motion`), divided by the foreground's width. It is
      measured only where the margin before is so small that the start may have been wrong, and not
      in slices.
    - ``sdlogj``, ``folds_percent``: SD of the logarithm, and share of values of at most 0, of the
      determinant by central differences in the fixed foreground (not eroded).

    Args:
        warp, inverse_warp: the whole map, and its inverse on the grid of the moving scan.
        fixed: the prepared fixed scan on the grid of ``warp``.
        moving_scan: the prepared moving scan on its own grid.
        moving_to_scan: the affine alignment that ``warp`` includes.

    Raises:
        InputError: one of the two foregrounds is empty, or the alignment is a reflection.
    """
    if is_slice(fixed.grid):
        return _signs_of_slices(warp, fixed, moving_scan, moving_to_scan)
    fit = Fit.of(fixed, moving_scan)
    inwards = (
        (warp, moving_to_scan) if fit.fixed_is_inner else (inverse_warp, moving_to_scan.inverse())
    )
    shown, width = foreground(fixed), brain_width_mm(fixed)
    before, apart = fit.margin(inwards[1]), float("nan")
    if not before >= CONVINCING:
        apart = _distance_to_motion(warp, fixed, moving_scan, moving_to_scan, fit)
    return {
        "overlap": _overlap(warp, shown, moving_scan),
        "anatomical_match": fit.match(inwards[0]),
        "anatomical_match_before": fit.match(inwards[1]),
        "anatomical_margin": fit.margin(inwards[0]),
        "anatomical_margin_before": before,
        "faces_percent": min(_faces_percent(image) for image in (fixed, moving_scan)),
        "alignment_stretch": stretch(moving_to_scan),
        "displacement_share": _displacement_mm(warp, shown, moving_to_scan) / width,
        "motion_distance": apart / width,
        **_volume_changes(warp, shown, moving_to_scan),
    }


def _signs_of_slices(
    warp: DisplacementField, fixed: Image, moving_scan: Image, moving_to_scan: Affine
) -> dict[str, float]:
    """Return the signs of two slices; the width of the tissue is the root of its area."""
    fit = SliceFit.of(fixed, moving_scan)
    maps = [in_plane(m, fixed.grid, moving_scan.grid) for m in (warp, moving_to_scan)]
    tissue = foreground(fixed)
    width = float(np.sqrt(tissue.sum() * np.prod(fixed.grid.spacing[:2])))
    return {
        "overlap": _overlap(warp, tissue, moving_scan),
        "anatomical_match": fit.match(maps[0]),
        "anatomical_match_before": fit.match(maps[1]),
        "anatomical_margin": fit.margin(maps[0]),
        "anatomical_margin_before": fit.margin(maps[1]),
        "faces_percent": float("nan"),
        "alignment_stretch": stretch_of(
            matrix_between(moving_to_scan, fixed.grid, moving_scan.grid)[:2, :2]
        ),
        "displacement_share": _displacement_mm(warp, tissue, moving_to_scan) / width,
        "motion_distance": float("nan"),
        **_volume_changes(warp, tissue, moving_to_scan),
    }


def judge(signs: Mapping[str, float]) -> Verdict:
    """Return the verdict on a registration with these ``signs``.

    A missing number (NaN) counts as harmless, except for the overlap and the margin: a registration
    is suspect unless they show that the images match.
    """
    return Verdict(dict(signs), tuple(suspicious(signs).values()))


def suspicious(signs: Mapping[str, float]) -> dict[str, str]:
    """Return the names of the ``signs`` that make a registration suspect, each with the reason, a
    clause.
    """
    overlap, margin, stretched, moved, spread, folds = (
        signs[name]
        for name in (
            "overlap",
            "anatomical_margin",
            "alignment_stretch",
            "displacement_share",
            "sdlogj",
            "folds_percent",
        )
    )
    match, before, aside = (
        signs[name] for name in ("anatomical_match", "anatomical_match_before", "motion_distance")
    )
    hardly = are_full(signs) and not match >= LEAST_MATCH_OF_CROPS
    rules = {
        "overlap": (
            not overlap >= LEAST_OVERLAP,
            f"the foregrounds of the two images overlap by Dice {overlap:.2f} only",
        ),
        "anatomical_margin": (
            not margin >= (LEAST_MARGIN_OF_CROPS if are_full(signs) else LEAST_MARGIN),
            "the two images hardly match better than with one of them turned",
        ),
        "anatomical_match": (
            hardly or match < LEAST_KEPT * before,
            "the two images hardly match"
            if hardly
            else "the two images match worse than before the registration",
        ),
        "motion_distance": (
            aside > MOST_FROM_MOTION,
            f"a quarter of the map lies more than {aside:.0%} of the foreground's width away from "
            "the motion under which the two images match best, so the registration started too far "
            "away (let an alignment be found)",
        ),
        "alignment_stretch": (
            stretched > MOST_STRETCHED,
            f"the affine alignment stretches one direction {stretched:.1f} times as much as "
            "another",
        ),
        "sdlogj": (
            spread > MOST_SPREAD,
            f"the map changes volumes unevenly (SD of log|J| {spread:.2f})",
        ),
        "folds_percent": (
            folds > MOST_FOLDED,
            f"the map folds in {folds:.1f} % of the foreground",
        ),
        "displacement_share": (
            moved > MOST_MOVED,
            f"the map moves a twentieth of the foreground by more than {moved:.0%} of its width",
        ),
    }
    return {name: reason for name, (applies, reason) in rules.items() if applies}


def are_full(signs: Mapping[str, float]) -> bool:
    """Return whether both images are crops full of tissue, of which the overlap says nothing."""
    return signs["faces_percent"] >= _FULL_PERCENT


def turned_note(moving_to_scan: Affine) -> str:
    """Return a sentence where the alignment turned one image by an angle by which no two bodies in
    a scanner differ; otherwise an empty text.
    """
    degrees = turned_degrees(moving_to_scan)
    if degrees < _TURNED_DEGREES:
        return ""
    return (
        f"the alignment turned one image by {degrees:.0f} degrees, so one of the two headers is "
        "likely to be wrong; left and right may be exchanged, which nothing here can tell"
    )


def _faces_percent(image: Image) -> float:
    faces = [np.take(image.data, (0, -1), axis=axis).ravel() for axis in range(image.data.ndim)]
    return float(100 * (np.concatenate(faces) > 0).mean())


def _distance_to_motion(
    warp: DisplacementField, fixed: Image, moving_scan: Image, moving_to_scan: Affine, fit: Fit
) -> float:
    """Return the 75th percentile over the fixed foreground of the distance, mm, between the map and
    the motion under which the two images match best; NaN where no motion matches well.
    """
    nearest = nearest_affine(warp)
    mirrors = np.linalg.det(nearest.matrix[:3, :3]) <= 0
    possible = not mirrors and stretch(nearest) < MOST_STRETCHED
    guesses = [moving_to_scan, *([nearest] if possible else [])]
    motion = best_motion(fixed, moving_scan, fit, guesses, CONVINCING)
    if motion is None:
        return float("nan")
    shown = foreground(fixed)
    start = warp.grid.to_world(np.argwhere(shown))
    apart = start + warp.displacement_mm[shown] - motion(start)
    return float(np.percentile(np.linalg.norm(apart, axis=-1), 75))


def _overlap(warp: DisplacementField, shown: np.ndarray, moving: Image) -> float:
    voxels = moving.grid.to_voxel(warp.grid.points_mm() + warp.displacement_mm)
    seen = sample(np.ones(moving.grid.shape, dtype=np.uint8), voxels, order=0) > 0
    warped = sample((moving.data > 0).astype(np.uint8), voxels, order=0) > 0
    either = (shown & seen).sum() + warped.sum()
    return float(2 * (shown & warped).sum() / either) if either else 0.0


def _displacement_mm(warp: DisplacementField, shown: np.ndarray, alignment: Affine) -> float:
    start = warp.grid.to_world(np.argwhere(shown))
    moved = alignment.inverse()(start + warp.displacement_mm[shown]) - start
    return float(np.percentile(np.linalg.norm(moved, axis=-1), 95))


def _volume_changes(
    warp: DisplacementField, shown: np.ndarray, alignment: Affine
) -> dict[str, float]:
    if min(warp.grid.shape[: 2 if is_slice(warp.grid) else 3]) < 3:
        return {"sdlogj": float("nan"), "folds_percent": float("nan")}
    determinant = jacobian_determinant(warp, alignment)
    inside = determinant[shown & np.isfinite(determinant)]
    positive = inside[inside > 0]
    return {
        "sdlogj": float(np.log(positive).std(dtype=np.float64)) if positive.size else float("nan"),
        "folds_percent": float(100 * (inside <= 0).mean()) if inside.size else float("nan"),
    }
