"""Whether a registration went wrong, in numbers that need no labels, and in one sentence.

Every threshold was chosen on one half of the registrations of ``benchmarks/suspects.py``, good ones
and ones made to fail; ``benchmarks/results/suspects.md`` says how many of the other half are called
right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from diffeode.evaluation.anatomy import Fit, brain_width_mm, stretch, turned_degrees
from diffeode.evaluation.jacobian import jacobian_determinant
from diffeode.geometry.image import Image, foreground, sample
from diffeode.geometry.transform import Affine, DisplacementField

LEAST_OVERLAP = 0.85
"""Of the brains. Good: 0.91 and more; other failures than a scan of twice the size reach that too.
"""
LEAST_MARGIN = 2.4
"""Of the match over that of a turned brain. Good: 2.5 and more, most above 4; spoiled: 2.3 and
less.
"""
LEAST_KEPT = 0.75
"""Of the match before the registration. Good: 0.86 and more; spoiled: 0.1 to 1.6."""
MOST_STRETCHED = 1.5
"""Scaling of one direction over that of another. Good: 1.2 and less; slabs stretched to whole
brains: 2 to 1000.
"""
MOST_SPREAD = 0.8
"""SD of log|J|. Good: 0.63 and less, 0.70 in the tables of accuracy; maps that little holds
together: 0.9 to 1.5.
"""
MOST_FOLDED = 1.0
"""Per cent of the brain. Good: 0 here, and at most 0.33 in this repository's tables of accuracy."""
MOST_MOVED = 0.6
"""Displacement over the brain's width. Good: 0.2 and less after an alignment, 0.5 without one."""
_TURNED_DEGREES = 60.0


@final
@dataclass(frozen=True)
class Verdict:
    """What the numbers say.

    Attributes:
        signs: the numbers, of :func:`signs_of`.
        reasons: what makes the registration suspect, a clause each; empty where nothing does.
    """

    signs: Mapping[str, float]
    reasons: tuple[str, ...]

    @property
    def suspect(self) -> bool:
        """Whether anything does."""
        return bool(self.reasons)

    @property
    def sentence(self) -> str:
        """What is suspicious and what to do; empty where nothing is."""
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
    """The numbers that tell; NaN where there is none.

    ``brain_overlap``: Dice of the two brains on the fixed grid, where the moving scan was looked
    at. ``anatomical_match``, ``anatomical_match_before``: normalised mutual information less 1 of
    the scans without slow drifts, over the smaller brain, after the registration and after the
    affine alignment alone. ``anatomical_margin``, ``anatomical_margin_before``: by what factor
    either is greater than with one brain turned (:meth:`Fit.margin`).
    ``alignment_stretch``: largest over smallest scaling of the affine alignment.
    ``displacement_share``: 95th percentile over the fixed brain of how far the map leads from the
    affine alignment, as a share of the brain's width.
    ``sdlogj``, ``folds_percent``: of the determinant by central differences in the fixed brain (not
    eroded).

    Args:
        warp, inverse_warp: the whole map, and the way back on the grid of the moving scan.
        fixed: the prepared fixed scan on the grid of ``warp``.
        moving_scan: the prepared moving scan on its own grid.
        moving_to_scan: the affine alignment within ``warp``.

    Raises:
        InputError: one of the two brains is empty, or the alignment mirrors.
    """
    fit = Fit.of(fixed, moving_scan)
    inwards = (
        (warp, moving_to_scan) if fit.fixed_is_inner else (inverse_warp, moving_to_scan.inverse())
    )
    brain = foreground(fixed)
    return {
        "brain_overlap": _overlap(warp, brain, moving_scan),
        "anatomical_match": fit.match(inwards[0]),
        "anatomical_match_before": fit.match(inwards[1]),
        "anatomical_margin": fit.margin(inwards[0]),
        "anatomical_margin_before": fit.margin(inwards[1]),
        "alignment_stretch": stretch(moving_to_scan),
        "displacement_share": _displacement_mm(warp, brain, moving_to_scan) / brain_width_mm(fixed),
        **_volume_changes(warp, brain, moving_to_scan),
    }


def judge(signs: Mapping[str, float]) -> Verdict:
    """What makes a registration with these ``signs`` suspect. A number that is missing (NaN) proves
    nothing wrong, but that scans match has to be shown.
    """
    overlap, margin, stretched = (
        signs[k] for k in ("brain_overlap", "anatomical_margin", "alignment_stretch")
    )
    match, before, moved = (
        signs[k] for k in ("anatomical_match", "anatomical_match_before", "displacement_share")
    )
    spread, folds = signs["sdlogj"], signs["folds_percent"]
    found = {
        f"the two brains overlap by Dice {overlap:.2f} only": not overlap >= LEAST_OVERLAP,
        "the scans hardly match better than with one of them turned": not margin >= LEAST_MARGIN,
        "the scans match worse than before the registration": match < LEAST_KEPT * before,
        f"the affine alignment stretches one direction {stretched:.1f} times as much as "
        "another": stretched > MOST_STRETCHED,
        f"the map changes volumes unevenly (SD of log|J| {spread:.2f})": spread > MOST_SPREAD,
        f"the map folds in {folds:.1f} % of the brain": folds > MOST_FOLDED,
        f"the map moves a twentieth of the brain by more than {moved:.0%} of its width": moved
        > MOST_MOVED,
    }
    return Verdict(dict(signs), tuple(reason for reason, applies in found.items() if applies))


def turned_note(moving_to_scan: Affine) -> str:
    """A sentence where the alignment turned one head by more than two heads in a scanner differ;
    else empty.
    """
    degrees = turned_degrees(moving_to_scan)
    if degrees < _TURNED_DEGREES:
        return ""
    return (
        f"the alignment turned one head by {degrees:.0f} degrees, so one of the two headers is "
        "likely to be wrong; left and right may be exchanged, which nothing here can tell"
    )


def _overlap(warp: DisplacementField, brain: np.ndarray, moving: Image) -> float:
    voxels = moving.grid.to_voxel(warp.grid.points_mm() + warp.displacement_mm)
    seen = sample(np.ones(moving.grid.shape, dtype=np.uint8), voxels, order=0) > 0
    warped = sample((moving.data > 0).astype(np.uint8), voxels, order=0) > 0
    either = (brain & seen).sum() + warped.sum()
    return float(2 * (brain & warped).sum() / either) if either else 0.0


def _displacement_mm(warp: DisplacementField, brain: np.ndarray, alignment: Affine) -> float:
    start = warp.grid.to_world(np.argwhere(brain))
    moved = alignment.inverse()(start + warp.displacement_mm[brain]) - start
    return float(np.percentile(np.linalg.norm(moved, axis=-1), 95))


def _volume_changes(
    warp: DisplacementField, brain: np.ndarray, alignment: Affine
) -> dict[str, float]:
    if min(warp.grid.shape) < 3:
        return {"sdlogj": float("nan"), "folds_percent": float("nan")}
    determinant = jacobian_determinant(warp, alignment)
    inside = determinant[brain & np.isfinite(determinant)]
    positive = inside[inside > 0]
    return {
        "sdlogj": float(np.log(positive).std(dtype=np.float64)) if positive.size else float("nan"),
        "folds_percent": float(100 * (inside <= 0).mean()) if inside.size else float("nan"),
    }
