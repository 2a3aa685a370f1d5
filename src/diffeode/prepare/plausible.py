"""Whether a file can be what it is said to be, a scan of a head, asked before expensive work begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode import io
from diffeode.errors import InputError
from diffeode.image import Image
from diffeode.prepare.brain import nonzero
from diffeode.space import Grid

_VOXEL_MM = (0.1, 10.0)
_FARTHEST_MM = 1000.0
# A preterm newborn's brain, cut out tightly, is about 65 mm wide; whole heads with neck and shoulders stay under 500.
_FIELD_MM = (60.0, 500.0)
# The largest brains, scaled up to ICBM152 with their fluid, have 2300 ml; small adults' heads have 3200 and more.
_LARGEST_BRAIN_ML = 2600.0
_OPEN_FACE = 0.05
# A cut neck is as wide 3 mm further in. Towards the face that it just touches a brain gets narrower, even as a slab: by
# the chords of a circle to two thirds of what it is two voxels further in.
_TAPER_MM = 3.0
_TAPER = 0.8
# Shares of the brightest voxels. Arithmetic leaves less than the first where 0 was meant, and scans of 12 bits hold
# nothing less; in most of a background splines and denoisers leave less than the second, as few voxels of a brain are.
_ROUNDING, _RIPPLES = 1e-4, 1e-2
_BRIGHTEST_PERCENTILE = 99.9
# Of IXI's heads 78 to 87 % of what is above zero is brighter than ripples are, of brains in ripples 40 to 60 %.
_ALL, _FEW = 0.9, 0.7


def read_plausible(path: Path, orientation: str | None = None) -> Image:
    """The scan at ``path``, a whole head or a brain, after all checks that need no other scan.

    Args:
        orientation: how it lies, where its header leaves that open (:func:`diffeode.headers.grid_of`).

    Raises:
        InputError: missing, not an image, 2-D or 4-D, NaN, constant; or its header leaves open how it lies, has a
            voxel size or field of view that no head has, sheared axes, or a place far from the scanner.
        DamagedFileError: empty or truncated.
    """
    image = io.read_image(path, orientation)
    _require_voxels(image.grid, path)
    _require_field_of_view(image.grid, path)
    return image


def stripped_brain(image: Image, name: str) -> np.ndarray:
    """The brain of a skull-stripped scan, ``(X, Y, Z)`` bool: what is above zero, and what that encloses.

    Where that would be a whole head, but all of the background is within rounding of 0, the brain is what is above
    that.

    Raises:
        InputError: no voxel is above zero; ``image`` is a whole head, though a brain with background 0 is expected; or
            the background holds more than rounding leaves.
    """
    reason = _why_whole_head(image)
    if reason is None:
        return nonzero(image, name)
    rounded, bright = _above(image, _ROUNDING), _above(image, _RIPPLES)
    counts = [np.count_nonzero(part.data) for part in (image, rounded, bright)]
    if _why_whole_head(rounded) is None and counts[2] > _ALL * counts[1]:
        return nonzero(rounded, name)
    if _why_whole_head(bright) is None and counts[2] < _FEW * counts[0]:
        raise InputError(
            f"The background of {name} is not exactly 0: {(image.data > 0).mean():.0%} of all voxels are above it, "
            "many of them faintly, as resampling by splines or a denoiser leaves them, and as air is before the skull "
            "is stripped; set what is outside the brain to 0."
        )
    raise InputError(
        f"{name} looks like a whole head, not a skull-stripped brain ({reason}); strip its skull, which a study's "
        "recipe can do, or, where it is a brain, set its background to 0 and put a margin of zeros around it."
    )


def _above(image: Image, share: float) -> Image:
    """``image`` with 0 where it is at most ``share`` of its brightest voxels."""
    brightest = np.percentile(image.data[image.data > 0], _BRIGHTEST_PERCENTILE)
    return Image(np.where(image.data > share * brightest, image.data, 0), image.grid)


def _why_whole_head(image: Image) -> str | None:
    """What tells that ``image`` is a whole head, or None.

    Told by what is above zero: more than any brain has, or cut off by the field of view, as necks and noise are, along
    two or more axes. A brain in a box that just fits it tapers towards the faces; a slab of one is cut along one axis.
    """
    above = image.data > 0
    millilitres = above.sum() * image.grid.voxel_volume / 1000
    cut = [_cut_faces(above, axis, image.grid.spacing[axis]) for axis in range(3)]
    if millilitres > _LARGEST_BRAIN_ML or sum(faces > 0 for faces in cut) > 1:
        return f"{millilitres:.0f} ml above zero, cut off by {sum(cut)} faces of the field of view"
    return None


def _require_voxels(grid: Grid, path: Path) -> None:
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing)
    if grid.spacing.min() < _VOXEL_MM[0] or grid.spacing.max() > _VOXEL_MM[1]:
        raise InputError(
            f"{path} has voxels of {spacing} mm, outside {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm; repair its header."
        )
    try:
        grid.require_perpendicular("the alignment")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_field_of_view(grid: Grid, path: Path) -> None:
    sides = grid.spacing * grid.shape
    if sides.min() < _FIELD_MM[0] or sides.max() > _FIELD_MM[1]:
        shown = " x ".join(f"{s:.0f}" for s in sides)
        raise InputError(
            f"{path} covers {shown} mm, no side of a head's scan is outside {_FIELD_MM[0]:g} to {_FIELD_MM[1]:g} mm; "
            "give a scan of the whole head, and check the voxel size in its header."
        )
    distance = float(np.linalg.norm(grid.centre_mm))
    if distance > _FARTHEST_MM:
        raise InputError(
            f"{path} lies {distance / 1000:.1f} m from the origin of its coordinates; repair the affine in its header."
        )


def _cut_faces(above: np.ndarray, axis: int, spacing_mm: float) -> int:
    """How many of the two faces across ``axis`` cut off what is ``above`` zero, ``(X, Y, Z)`` bool."""
    share = above.mean(axis=tuple(other for other in range(3) if other != axis))
    inwards = 1 + max(2, round(_TAPER_MM / spacing_mm))
    if len(share) <= inwards:
        return 0
    # Resampling leaves little of the outermost voxels, so that the next ones tell how wide it is there.
    ends = (share[: inwards + 1], share[::-1][: inwards + 1])
    return sum(bool(end[0] > _OPEN_FACE and end[1] > _TAPER * end[-1]) for end in ends)
