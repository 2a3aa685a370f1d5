"""What guides a registration at a desk besides its two images, as users give it, and as a method
takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, Transform, warp_labels
from diffeode.prepare.side import MaskChoice, align_sides, prepared_side
from diffeode.prepare.together import Aligned, Side
from diffeode.registration.guidance import Contrast, Guidance, LabelPair, LandmarkPair

if TYPE_CHECKING:
    from diffeode.desk.inputs import Inputs


@final
@dataclass(frozen=True, eq=False)
class OtherContrast:
    """A further contrast of both scans, each on its own grid, with intensities as given.

    Attributes:
        fixed_name, moving_name: what messages and the metrics call the images.
    """

    fixed: Image
    moving: Image
    fixed_name: str
    moving_name: str


@final
@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points that are known in both scans, in the same order.

    Attributes:
        fixed_mm, moving_mm: ``(N, 3)`` each, RAS mm.
        fixed_name, moving_name: what the metrics call the two tables.
    """

    fixed_mm: np.ndarray
    moving_mm: np.ndarray
    fixed_name: str
    moving_name: str


@final
@dataclass(frozen=True, eq=False)
class Guides:
    """What a user gives besides two images, their masks and their label maps.

    Attributes:
        contrasts: further contrasts.
        shares: the share of each contrast in the similarity, the first one's first; they add up to
            1.
        label_weight: the weight of the misfit of the two label maps in the energy; 0 for none.
        landmarks: points that are known in both scans; None for none.
        landmark_weight: how much each landmark counts in the energy; 0 for not at all.
        stiff: the voxels of the fixed scan at which the map is held stiff, ``(X, Y, Z)`` bool;
            None for none.
        stiff_name: what the metrics call the mask of these.
    """

    contrasts: tuple[OtherContrast, ...] = ()
    shares: tuple[float, ...] = (1.0,)
    label_weight: float = 0.0
    landmarks: Landmarks | None = None
    landmark_weight: float = 0.0
    stiff: np.ndarray | None = None
    stiff_name: str = ""

    def changing(self) -> Iterator[str]:
        """Yield, in words, what of all this changes the map."""
        if self.contrasts:
            yield "further contrast"
        if self.label_weight:
            yield "term of labels"
        if self.landmark_weight:
            yield "term of landmarks"
        if self.stiff is not None:
            yield "stiff place"


def guidance_of(
    inputs: Inputs,
    scans: tuple[Image, Image],
    fixed: Side,
    aligned: Aligned,
    start: str | Transform,
    to_scan: Affine,
    threads: int,
) -> Guidance | None:
    """Return what guides the registration of a pair; None where nothing does.

    Args:
        scans: the first contrast of the two scans, without the skulls where they are stripped.
        fixed, aligned: the same, prepared and aligned.
        start: where the pair started, a kind or a map.
        to_scan: the affine from points of the aligned image to points of the moving scan.

    Raises:
        InputError: a further contrast is unusable or does not meet the first one, or after the
            alignment the label maps have no id in common.
    """
    guides = inputs.guides
    if not any(guides.changing()) and aligned.moving_counts is None:
        return None
    contrasts = [_contrast(fixed, aligned, guides.shares[0])]
    known = start if start == "identity" else aligned.to_scan
    for other, share in zip(guides.contrasts, guides.shares[1:], strict=True):
        sides = _further_sides(inputs, scans, other, fixed)
        there = _named(other.moving_name, align_sides, *sides, known, threads, 0)
        contrasts.append(_contrast(sides[0], there, share))
    return Guidance(
        tuple(contrasts),
        _label_pair(inputs, to_scan),
        _landmark_pair(guides, to_scan),
        guides.stiff,
    )


def remarks_on(inputs: Inputs) -> list[str]:
    """Return notes on further contrasts: how they count, and which lie on another grid."""
    guides = inputs.guides
    if not guides.contrasts:
        return []
    shares = ", ".join(f"{share:.3g}" for share in guides.shares)
    notes = [
        f"the similarity is the mean over {len(guides.shares)} contrasts with the shares {shares}; "
        "the start is that of the first contrast"
    ]
    for other in guides.contrasts:
        for image, name, first, first_name in (
            (other.fixed, other.fixed_name, inputs.fixed, inputs.fixed_name),
            (other.moving, other.moving_name, inputs.moving, inputs.moving_name),
        ):
            if not image.grid.matches(first.grid):
                notes.append(
                    f"{name} lies on another grid than {first_name}; the positions in the headers "
                    "laid one on the other"
                )
    return notes


def recorded_guides(inputs: Inputs) -> dict[str, Any]:
    """Return the entries of ``metrics.json`` about what guided a registration; none where nothing
    did.
    """
    guides = inputs.guides
    found: dict[str, Any] = {}
    if guides.contrasts:
        names = [(inputs.fixed_name, inputs.moving_name)]
        names += [(other.fixed_name, other.moving_name) for other in guides.contrasts]
        found["contrasts"] = [
            {"fixed": fixed, "moving": moving, "share": share}
            for (fixed, moving), share in zip(names, guides.shares, strict=True)
        ]
    if guides.label_weight:
        found["label_weight"] = guides.label_weight
    if guides.landmarks is not None:
        tables = guides.landmarks
        found["landmarks"] = {"fixed": tables.fixed_name, "moving": tables.moving_name}
        found["landmark_weight"] = guides.landmark_weight
    if guides.stiff is not None:
        found["stiff"] = guides.stiff_name
    return found


def _contrast(fixed: Side, aligned: Aligned, share: float) -> Contrast:
    """Return a contrast, of which a mask of the moving image follows the map."""
    follows = aligned.moving_counts
    counts = aligned.counts if follows is None else fixed.counts
    return Contrast(fixed.image, aligned.image, share, counts, follows)


def _further_sides(
    inputs: Inputs, scans: tuple[Image, Image], other: OtherContrast, first: Side
) -> tuple[Side, Side]:
    """Return both sides of a further contrast, prepared; the fixed one on the grid of the first
    contrast.
    """
    brains = [scan.data > 0 if inputs.brain else None for scan in scans]
    fixed = _further_side(
        other.fixed, other.fixed_name, scans[0].grid, inputs.fixed_mask, brains[0]
    )
    moving = _further_side(
        other.moving, other.moving_name, scans[1].grid, inputs.moving_mask, brains[1]
    )
    if not fixed.image.grid.matches(first.image.grid):
        there = _named(other.fixed_name, align_sides, Side(first.image), fixed, Affine(), 1, 0)
        fixed = Side(there.image, there.counts, fixed.cut_off)
    return fixed, moving


def _further_side(
    image: Image, name: str, first: Grid, mask: MaskChoice, brain: np.ndarray | None
) -> Side:
    """Return a further contrast, prepared on its own grid.

    Args:
        first: the grid of the first contrast, on which the mask and the brain lie.
        brain: the brain where the skull is stripped; None where it is not.
    """
    if brain is not None:
        inside = _nearest(brain, first, image.grid)
        image = Image(np.where(inside, np.maximum(image.data, 0), 0), image.grid)
    if isinstance(mask, np.ndarray):
        mask = _nearest(mask, first, image.grid)
    return prepared_side(image, name, mask)


def _nearest(mask: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    if grid.matches(target):
        return mask
    return warp_labels(Labels(mask, grid), Affine(), target).data > 0


def _named(name: str, work: Callable[..., Aligned], *given: Any) -> Aligned:
    """Return ``work(*given)``, and let messages name the image."""
    try:
        return work(*given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _label_pair(inputs: Inputs, to_scan: Affine) -> LabelPair | None:
    weight = inputs.guides.label_weight
    fixed, moving = inputs.fixed_labels, inputs.moving_labels
    if not weight or fixed is None or moving is None:
        return None
    grid = inputs.fixed.grid
    here, there = (
        warp_labels(fixed, Affine(), grid).data,
        warp_labels(moving, to_scan, grid).data,
    )
    ids = np.intersect1d(here[here > 0], there[there > 0])
    if not ids.size:
        raise InputError(
            "After the alignment no id of the moving label map lies on the fixed scan, so the "
            "labels cannot guide the registration; leave --label-weight out, or look at the maps."
        )
    return LabelPair(fixed, moving, to_scan, tuple(ids.tolist()), weight)


def _landmark_pair(guides: Guides, to_scan: Affine) -> LandmarkPair | None:
    if guides.landmarks is None or not guides.landmark_weight:
        return None
    aligned = to_scan.inverse()(guides.landmarks.moving_mm)
    return LandmarkPair(guides.landmarks.fixed_mm, aligned, to_scan, guides.landmark_weight)
