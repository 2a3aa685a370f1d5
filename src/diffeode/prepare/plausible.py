"""Whether a file can be what it is said to be, a scan of a head, asked before expensive work begins."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from diffeode import io
from diffeode.errors import InputError
from diffeode.image import Image
from diffeode.space import Grid

_VOXEL_MM = (0.1, 10.0)
_FARTHEST_MM = 1000.0
# A preterm newborn's brain, cut out tightly, is about 65 mm wide; whole heads with neck and shoulders stay under 500.
_FIELD_MM = (60.0, 500.0)
# The largest brains, scaled up to ICBM152 with their fluid, have 2300 ml; small adults' heads have 3200 and more.
_LARGEST_BRAIN_ML = 2600.0
_OPEN_FACE = 0.05


def read_plausible(path: Path) -> Image:
    """The scan at ``path``, a whole head or a brain, after all checks that need no other scan.

    Raises:
        InputError: missing, not an image, 2-D or 4-D, NaN, constant; or its header has no orientation (sform and qform
            codes 0), a voxel size or field of view that no head has, sheared axes, or a place far from the scanner.
        DamagedFileError: empty or truncated.
    """
    image = io.read_image(path)
    _require_orientation(path)
    _require_voxels(image.grid, path)
    _require_field_of_view(image.grid, path)
    return image


def require_skull_stripped(image: Image, name: str) -> None:
    """Raise :class:`InputError` where ``image`` is a whole head, though a brain with background 0 is expected.

    Told by what is above zero: more than any brain has, or reaching, as necks and noise do, over more than 5 % of two
    or more faces of the field of view.
    """
    above = image.data > 0
    millilitres = above.sum() * image.grid.voxel_volume / 1000
    open_faces = sum(bool(face.mean() > _OPEN_FACE) for face in _faces(above))
    if millilitres > _LARGEST_BRAIN_ML or open_faces > 1:
        raise InputError(
            f"{name} looks like a whole head, not a skull-stripped brain ({millilitres:.0f} ml above zero, which touch "
            f"{open_faces} faces of the field of view); choose a skull stripping for its dataset, or set what is no "
            "brain to 0."
        )


def _require_orientation(path: Path) -> None:
    header = nib.load(path).header
    if isinstance(header, nib.Nifti1Header) and not header["sform_code"] and not header["qform_code"]:
        raise InputError(
            f"Nothing in the header of {path} tells how the head lies (sform and qform codes are 0); convert it anew "
            "from DICOM, or set the orientation that you know it has."
        )


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


def _faces(mask: np.ndarray) -> list[np.ndarray]:
    return [np.take(mask, index, axis) for axis in range(3) for index in (0, -1)]
