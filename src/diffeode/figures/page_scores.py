"""The scores of a registration as its page shows them: value, what is good, and whether it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from diffeode.evaluation import stillness, verdict
from diffeode.evaluation.catalogue import METRICS
from diffeode.statistics.export import MISSING, format_number

GOOD, LOOK, OPEN = "good", "look", "open"
WORDS = {GOOD: "good", LOOK: "look at this", OPEN: ""}
"""What the page says of each mark; of ``OPEN`` scores, the number alone does not tell."""

_GOOD = {
    "dice": "1 is perfect, 0 is no overlap. It is the mean over the structures; small ones have "
    "less. Compare it with other methods on the same label maps.",
    "hd95_mm": "0 is perfect. 95 % of the borders of two structures lie closer together than this.",
    "folds_central_percent": "0. A fold turns a piece of the scan inside out.",
    "folds_onesided_percent": "0. This is the strictest count of folds.",
    "folds_central_grid_percent": "0. As above, over the whole grid and not the foreground alone.",
    "folds_onesided_grid_percent": "0. As above, over the whole grid and not the foreground alone.",
    "folds_central_grid_sum": "0. The volume that is turned inside out, in voxels.",
    "ndv_percent": "0. The volume that the map turns inside out.",
    "sdlogj": "Smaller is smoother. Good registrations of brains lie below 0.65.",
    "min_jacobian": "Above 0. Where it is 0.1, a piece is squeezed to a tenth of its volume.",
    "inverse_consistency_mm": "0 is perfect. Less than the size of a voxel is good: the way there "
    "and back ends where it began.",
    "inverse_consistency_p95_mm": "0 is perfect; 95 % of the points come back closer than this.",
    "tre_mm": "0 is perfect. The mean distance between landmarks and where the map sends them.",
    "tre_max_mm": "0 is perfect. The largest of these distances.",
    "nmi": "More than before. It says how well the intensities of one scan predict the other's.",
    "nmi_before": "The same after the affine alignment alone, for comparison.",
    "seconds": "The method's own time, without reading, preparing and writing.",
    "cpu_seconds": "The same, summed over the processors.",
    "peak_memory_mb": "The most memory that the process had at once.",
}
_NO_FOLDS = (
    "folds_central_percent",
    "folds_onesided_percent",
    "folds_central_grid_percent",
    "folds_onesided_grid_percent",
    "folds_central_grid_sum",
    "ndv_percent",
)
_SIGNS = {
    "overlap": (
        "overlap of what the two images show (Dice)",
        f"below {verdict.LEAST_OVERLAP:g}",
    ),
    "anatomical_match": (
        "match of the two images",
        f"below {verdict.LEAST_KEPT:g} times the match before, in crops full of tissue also below "
        f"{verdict.LEAST_MATCH_OF_CROPS:g}",
    ),
    "anatomical_match_before": ("match before, after the affine alignment", ""),
    "anatomical_margin": (
        "match, divided by the best match with one image turned",
        f"below {verdict.LEAST_MARGIN:g}, in crops full of tissue below "
        f"{verdict.LEAST_MARGIN_OF_CROPS:g}",
    ),
    "faces_percent": ("share of the image's faces that show something (%)", ""),
    "alignment_stretch": (
        "largest scaling of the affine alignment, divided by the smallest",
        f"above {verdict.MOST_STRETCHED:g}",
    ),
    "displacement_share": (
        "displacement (95th percentile), divided by the width of the foreground",
        f"above {verdict.MOST_MOVED:g}",
    ),
    "motion_distance": (
        "distance from the motion that matches best (75th percentile), divided by the width of the "
        "foreground; measured where the start may be wrong",
        f"above {verdict.MOST_FROM_MOTION:g}",
    ),
    "largest_displacement_voxels": (
        "largest displacement of what the fixed image shows (voxels)",
        f"below {stillness.LEAST_MOVED_VOXELS:g} where the two images differ",
    ),
    "gain_by_a_voxel": (
        "share by which moving each point by one voxel would improve the match; measured where "
        "nothing moved",
        "",
    ),
    "sdlogj": ("SD of log|J|", f"above {verdict.MOST_SPREAD:g}"),
    "folds_percent": ("folds (% of foreground)", f"above {verdict.MOST_FOLDED:g}"),
}

_OF_SLICES = (
    (r" Good registrations of brains lie below [0-9.]+\.", ""),
    (r"what the two images show", "the two tissues"),
    (r"foreground", "tissue"),
    (r"\bimage", "slice"),
    (r"\bvoxel", "pixel"),
    (r"\bscan", "slice"),
    (r"volume", "area"),
)
"""What is said of volumes, as patterns, and what is said of slices instead."""


@final
@dataclass(frozen=True)
class Score:
    """A row of a table of the page.

    Attributes:
        value: the number with its unit, rounded.
        good: what is good, in words; of a sign, where it is suspect.
        mark: ``GOOD``, ``LOOK`` or ``OPEN``.
    """

    title: str
    value: str
    good: str
    mark: str = OPEN


@final
@dataclass(frozen=True)
class Structure:
    """The overlap of one structure.

    Attributes:
        share: Dice in per cent, the length of its bar.
    """

    name: str
    dice: str
    share: float
    hd95: str


def scores_of(metrics: Mapping[str, float | None], voxel_mm: float) -> list[Score]:
    """Return the scores that a registration has, in the order of the catalogue.

    Args:
        metrics: values by the names of :data:`diffeode.evaluation.catalogue.METRICS`; None for one
            that could not be computed.
        voxel_mm: the largest side of a voxel of the fixed scan.
    """
    return [
        Score(
            metric.title,
            _with_unit(metrics[name], name, metric.unit),
            _GOOD[name],
            _mark(name, metrics, voxel_mm),
        )
        for name, metric in METRICS.items()
        if name in metrics and name in _GOOD
    ]


def structures_of(
    dice: Mapping[str, float | None], hd95: Mapping[str, float | None]
) -> list[Structure]:
    """Return the overlap of each structure that one of the label maps has, in the order of their
    ids.
    """
    return [
        Structure(
            name, format_number(value, "dice"), 100 * value, _with_unit(hd95.get(name), "hd95_mm")
        )
        for name, value in sorted(dice.items(), key=lambda item: _id(item[0]))
        if value is not None
    ]


def signs_of(signs: Mapping[str, float | None]) -> list[Score]:
    """Return the numbers behind the verdict, each with where it would be suspect."""
    known = {name: signs.get(name) for name in _SIGNS}
    values = {name: float("nan") if value is None else value for name, value in known.items()}
    suspicious = {**verdict.suspicious(values), **stillness.suspicious_stillness(values)}

    def mark(name: str, limit: str) -> str:
        if name in suspicious:
            return LOOK
        tells_nothing = name == "overlap" and verdict.are_full(values)
        return OPEN if not limit or signs[name] is None or tells_nothing else GOOD

    return [
        Score(title, _with_unit(signs[name], ""), limit, mark(name, limit))
        for name, (title, limit) in _SIGNS.items()
        if name in signs
    ]


def score_of_slices(score: Score, unit: str) -> Score:
    """Return ``score`` in words that suit slices.

    Args:
        unit: the unit of lengths: ``pixels`` or ``mm``.
    """

    def said(text: str) -> str:
        for word, instead in _OF_SLICES:
            text = re.sub(word, instead, text)
        return re.sub(r"\bmm\b", unit, text)

    return replace(score, title=said(score.title), value=said(score.value), good=said(score.good))


def _mark(name: str, metrics: Mapping[str, float | None], voxel_mm: float) -> str:
    """Return the mark of a score, ``OPEN`` where the number alone does not tell."""
    value = metrics[name]
    if value is None:
        return OPEN
    before = metrics.get("nmi_before")
    is_good = {
        **{fold: value == 0 for fold in _NO_FOLDS},
        "min_jacobian": value > 0,
        "sdlogj": value <= verdict.MOST_SPREAD,
        "inverse_consistency_mm": value < voxel_mm,
        **({} if before is None else {"nmi": value > before}),
    }
    if name not in is_good:
        return OPEN
    return GOOD if is_good[name] else LOOK


def _with_unit(value: float | None, metric: str, unit: str = "") -> str:
    if value is None:
        return MISSING
    return f"{format_number(float(value), metric)} {unit}".strip()


def _id(name: str) -> tuple[bool, int, str]:
    """Return what names are sorted by: numbers first, by their size."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def names_of_scores() -> Sequence[str]:
    """Return the names of the metrics that a page can explain."""
    return tuple(_GOOD)
