"""Find the brain in a skull-stripped scan, and tell whether a scan is skull-stripped at all."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image

# Negative values that linear resampling leaves behind are above minus 1 % of the largest intensity,
# or rare: 0.3 % of the non-zero voxels in the worst of the public datasets.
_SHALLOW, _RARE = 0.01, 0.01
# Share of negative voxels that tells z-scores from splines: splines overshoot at the edge of a
# brain in up to 6 % of the non-zero voxels, while half of a z-scored brain is negative.
_OVERSHOOT = 0.2
# The largest brains, scaled up to ICBM152 with their fluid, have 2300 ml; small adults' heads have
# 3200 and more.
_LARGEST_BRAIN_ML = 2600.0
_OPEN_FACE = 0.05
# A neck that the field of view cuts off is as wide 3 mm further in. A brain that just touches a
# face of the box gets narrower towards it, even where it is a slab: there its width is two thirds
# of the width two voxels further in (the chords of a circle).
_TAPER_MM = 3.0
_TAPER = 0.8
# Shares of the brightest voxels' intensity. Where 0 was meant, rounding leaves less than the first
# share, which is less than the smallest step of a scan of 12 bits. Splines and denoisers leave less
# than the second share in most of a background, while few voxels of a brain are that dark.
_ROUNDING, _RIPPLES = 1e-4, 1e-2
_BRIGHTEST_PERCENTILE = 99.9
# How much of what is above zero is brighter than ripples: 78 to 87 % in the heads of IXI, 40 to 60
# % in brains whose background holds ripples.
_ALL, _FEW = 0.9, 0.7


def without_negatives(image: Image, name: str) -> Image:
    """Return ``image`` with its negative intensities, which resampling leaves at edges, set to 0.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: more voxels are negative than linear resampling leaves. This happens where
            intensities were standardised (z-scores), and where splines overshot and left ripples in
            the background.
    """
    negative = _share_of_negatives(image)
    if negative > _OVERSHOOT:
        raise InputError(
            f"{name} is negative in {100 * negative:.0f} % of its non-zero voxels, as z-scored "
            "scans are; add a constant inside the brain, so that all of it is positive and the "
            "background stays 0."
        )
    if negative > _RARE:
        raise InputError(
            f"{name} is negative in {100 * negative:.0f} % of its non-zero voxels, as resampling "
            "by splines leaves it, so its background is not exactly 0; resample it linearly, or "
            "set what is outside the brain to 0."
        )
    return Image(np.maximum(image.data, 0), image.grid)


def _share_of_negatives(image: Image) -> float:
    """Return the share of the non-zero voxels that are clearly below zero."""
    negative = (image.data < -_SHALLOW * np.abs(image.data).max()).sum()
    return float(negative / max(np.count_nonzero(image.data), 1))


def nonzero(image: Image, name: str) -> np.ndarray:
    """Return the voxels of ``image`` above zero and the holes that they enclose, ``(X, Y, Z)``
    bool.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: no voxel is above zero.
    """
    mask = ndimage.binary_fill_holes(image.data > 0)
    if not mask.any():
        raise InputError(
            f"The brain mask of {name} is empty (no voxel above zero); check the skull stripping."
        )
    return mask


def stripped_brain(image: Image, name: str) -> np.ndarray:
    """Return the brain of a skull-stripped scan, ``(X, Y, Z)`` bool.

    The brain is all voxels above zero and the holes that they enclose. Where these would be a whole
    head only because rounding left the background slightly above 0, voxels that are no brighter
    than rounding leaves them are taken for background.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: no voxel is above zero; ``image`` is a whole head; or the background is further
            above 0 than rounding leaves it.
    """
    brain = _brain(image, name)
    if brain is not None:
        return brain
    bright = _above(image, _RIPPLES)
    few = np.count_nonzero(bright.data) < _FEW * np.count_nonzero(image.data)
    if _why_whole_head(bright) is None and few:
        raise InputError(
            f"The background of {name} is not exactly 0: {(image.data > 0).mean():.0%} of all "
            "voxels are above it, many of them faintly, as resampling by splines or a denoiser "
            "leaves them, and as air is before the skull is stripped; set what is outside the "
            "brain to 0."
        )
    raise InputError(
        f"{name} looks like a whole head, not a skull-stripped brain ({_why_whole_head(image)}); "
        "strip its skull, which a study's recipe can do, or, where it is a brain, set its "
        "background to 0 and put a margin of zeros around it."
    )


def stripped_brain_or_none(image: Image) -> np.ndarray | None:
    """Return the brain where ``image`` is a skull-stripped scan that :func:`without_negatives` and
    :func:`stripped_brain` take, and None otherwise; ``(X, Y, Z)`` bool.
    """
    if _share_of_negatives(image) > _RARE or not (image.data > 0).any():
        return None
    return _brain(Image(np.maximum(image.data, 0), image.grid), "the scan")


def _brain(image: Image, name: str) -> np.ndarray | None:
    if _why_whole_head(image) is None:
        return nonzero(image, name)
    rounded, bright = _above(image, _ROUNDING), _above(image, _RIPPLES)
    counts = [np.count_nonzero(part.data) for part in (rounded, bright)]
    if _why_whole_head(rounded) is None and counts[1] > _ALL * counts[0]:
        return nonzero(rounded, name)
    return None


def _above(image: Image, share: float) -> Image:
    """Return ``image`` with 0 wherever it is at most ``share`` times as bright as its brightest
    voxels.
    """
    brightest = np.percentile(image.data[image.data > 0], _BRIGHTEST_PERCENTILE)
    return Image(np.where(image.data > share * brightest, image.data, 0), image.grid)


def _why_whole_head(image: Image) -> str | None:
    """Return the reason to take ``image`` for a whole head, or None where it is a brain.

    It is a whole head where the voxels above zero fill more than any brain does, or where the field
    of view cuts them off along two or more axes, as it does necks and noise. A brain in a box that
    just fits it tapers towards the faces, and a slab of a brain is cut off along one axis only.
    """
    above = image.data > 0
    millilitres = above.sum() * image.grid.voxel_volume / 1000
    cut = [_cut_faces(above, axis, image.grid.spacing[axis]) for axis in range(3)]
    if millilitres > _LARGEST_BRAIN_ML or sum(faces > 0 for faces in cut) > 1:
        return f"{millilitres:.0f} ml above zero, cut off by {sum(cut)} faces of the field of view"
    return None


def _cut_faces(above: np.ndarray, axis: int, spacing_mm: float) -> int:
    """Return how many of the two faces across ``axis`` cut off the object ``above``.

    Args:
        above: ``(X, Y, Z)`` bool, the voxels above zero.
    """
    share = above.mean(axis=tuple(other for other in range(3) if other != axis))
    inwards = 1 + max(2, round(_TAPER_MM / spacing_mm))
    if len(share) <= inwards:
        return 0
    # Resampling darkens the outermost voxels, so the width at a face is read one voxel further in.
    ends = (share[: inwards + 1], share[::-1][: inwards + 1])
    return sum(bool(end[0] > _OPEN_FACE and end[1] > _TAPER * end[-1]) for end in ends)
