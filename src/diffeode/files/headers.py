"""The position of a scan as its header states it. A header that contradicts itself is refused.

A NIfTI header states the position up to three times: ``sform``, ``qform``, and the voxel sizes
``pixdim``. nibabel reads the sform where it has a code. ITK reads the sform of code 1, otherwise
the qform of any code, otherwise the sform; of either it takes the directions and the origin only,
and the voxel sizes from pixdim (seen with ITK 5.4). A header whose statements differ therefore
means different positions to different programs.
"""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt
from nibabel.spatialimages import SpatialImage

from diffeode.errors import InputError
from diffeode.files.volumes import first_bytes, one_sentence, raw_header
from diffeode.geometry.space import Grid

FORMS = ("sform", "qform")
LETTERS = frozenset(
    "".join(ends) for axes in permutations(("LR", "PA", "IS")) for ends in product(*axes)
)

_MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Length in mm by the code of the unit in ``xyzt_units``: unknown (mm, as ITK takes it), metre, mm,
micrometre.
"""
_UNIT_BITS = 7
_QUATERNION_ROUNDING = 7e-4
"""Largest error of a quaternion in single precision, radians; it occurs at rotations of nearly 180
degrees.
"""
_GOOD_RAS_AT = 28
_UNIT_ROUNDING = 1e-3
_HOW = "say which holds by the orientation sform or qform"
_WHERE = "(--orientation on the command line, orientation: in a dataset's or training's file)"


def require_orientation(text: str) -> str:
    """Return ``text`` if it is ``sform``, ``qform`` or three letters such as ``RAS``.

    Raises:
        InputError: it is none of them.
    """
    if text not in FORMS and text not in LETTERS:
        raise InputError(
            f"{text!r} is no orientation; use sform, qform, or three letters such as RAS, LAS or "
            "PSR."
        )
    return text


def grid_of(
    volume: SpatialImage, shape: tuple[int, ...], path: Path, orientation: str | None = None
) -> Grid:
    """Return the grid of the volume at ``path`` in RAS mm, whatever unit of length its header has.

    Args:
        volume: as nibabel opened it.
        shape: its three sizes.
        orientation: the orientation of the scan, used only where the header leaves it open or
            contradicts itself. ``sform`` and ``qform`` name the one of the two that is right. Three
            letters such as ``RAS`` mean a scan that is centred on the origin, whose first axis runs
            to the right, the second to the front (anterior) and the third upwards (superior).

    Raises:
        InputError: the header does not state the orientation, contradicts itself, or states what
            cannot be.
    """
    if orientation is not None:
        require_orientation(orientation)
    is_nifti = isinstance(volume.header, nib.Nifti1Header)
    affine = (_nifti_affine if is_nifti else _freesurfer_affine)(volume, shape, path, orientation)
    return _grid(shape, affine, path)


def _nifti_affine(
    volume: SpatialImage, shape: tuple[int, ...], path: Path, orientation: str | None
) -> np.ndarray:
    to_mm = np.diag([_unit_in_mm(volume, path)] * 3 + [1.0])
    coded = [form for form in FORMS if volume.header[f"{form}_code"]]
    if not coded:
        return to_mm @ _undescribed(volume, shape, path, orientation)
    contradiction = _contradiction(volume, shape, path, coded, to_mm)
    if contradiction and orientation not in FORMS:
        raise InputError(f"{contradiction} {_WHERE}.")
    if contradiction:
        return to_mm @ _form(volume, orientation, path)
    return volume.affine if to_mm[0, 0] == 1 else to_mm @ volume.affine


def _unit_in_mm(volume: SpatialImage, path: Path) -> float:
    code = int(volume.header["xyzt_units"]) & _UNIT_BITS
    if code not in _MM_OF_UNIT:
        raise InputError(
            f"The header of {path} has lengths in a unit that NIfTI does not know (xyzt_units "
            f"{code}); set it to mm where the voxel sizes are in mm."
        )
    return _MM_OF_UNIT[code]


def _undescribed(
    volume: SpatialImage, shape: tuple[int, ...], path: Path, orientation: str | None
) -> np.ndarray:
    """Return the affine of a NIfTI whose header states no position, in the header's unit of length,
    from the orientation that the user gave.
    """
    if orientation is None:
        raise InputError(
            f"Nothing in the header of {path} tells how the head lies (sform and qform codes are "
            "0); convert it anew from DICOM, or say the orientation that you know it has, such "
            f"as RAS {_WHERE}."
        )
    if orientation in FORMS:
        return _form(volume, orientation, path)
    return _about_the_origin(shape, _voxel_sizes(volume, path), orientation)


def _contradiction(
    volume: SpatialImage, shape: tuple[int, ...], path: Path, coded: list[str], to_mm: np.ndarray
) -> str | None:
    """Return which two statements of the header differ, and what to do; None where all agree."""
    forms = {form: to_mm @ _form(volume, form, path) for form in coded}
    sizes = _voxel_sizes(volume, path)
    first = forms[coded[0]]
    if len(forms) == 2:
        apart = _apart_mm(*forms.values(), shape)
        if not apart <= _tolerance_mm(first, shape):
            return (
                f"The sform and the qform of {path} put it {apart:.3g} mm apart, and programs "
                f"differ in which they read; write the right one into both, or {_HOW}"
            )
    spacing = np.linalg.norm(first[:3, :3], axis=0)
    scaled = first @ np.diag([*(sizes * to_mm[0, 0] / spacing), 1.0])
    if not _apart_mm(first, scaled, shape) <= _tolerance_mm(first, shape):
        return (
            f"The {coded[0]} of {path} has voxels of {_times(spacing)} mm and pixdim of "
            f"{_times(sizes * to_mm[0, 0])} mm, and programs differ in which they read; correct "
            f"the header, or {_HOW}"
        )
    return None


def _form(volume: SpatialImage, form: str, path: Path) -> np.ndarray:
    """Return the sform or the qform, also where its code is 0."""
    with one_sentence(path, f"has an unusable {form} in its header"):
        header = volume.header
        read = header.get_sform if form == "sform" else header.get_qform
        affine = read(coded=False)
    return _grid((1, 1, 1), affine, path).affine


def _voxel_sizes(volume: SpatialImage, path: Path) -> np.ndarray:
    """Return pixdim as it stands in the file, in the header's unit, ``(3,)``.

    It is read from the file because nibabel repairs it in silence.

    Raises:
        InputError: one of the three is no positive number.
    """
    sizes = np.array(raw_header(volume, path)["pixdim"][1:4], dtype=np.float64)
    if not (np.isfinite(sizes).all() and sizes.min() > 0):
        raise InputError(
            f"{path} has voxels of {_times(sizes)} in its header (pixdim), which no scan has; "
            "repair its header, or convert it anew from DICOM."
        )
    return sizes


def _freesurfer_affine(
    volume: SpatialImage, shape: tuple[int, ...], path: Path, orientation: str | None
) -> np.ndarray:
    flag = first_bytes(path, _GOOD_RAS_AT + 2)[_GOOD_RAS_AT:]
    if int.from_bytes(flag, "big", signed=True) > 0:
        _require_unit_directions(volume, path)
        return volume.affine
    if orientation in LETTERS:
        return _about_the_origin(
            shape, np.array(volume.header.get_zooms()[:3], dtype=np.float64), orientation
        )
    raise InputError(
        f"Nothing in the header of {path} tells how the head lies (goodRASFlag is 0); convert it "
        "anew from DICOM, or say the orientation that you know it has by three letters, such as "
        f"LIA {_WHERE}."
    )


def _require_unit_directions(volume: SpatialImage, path: Path) -> None:
    """Raise :class:`InputError` where the directions of the axes are not unit vectors, because the
    voxels then have another size than the header states.
    """
    sizes = np.array(volume.header["delta"], dtype=np.float64)
    lengths = np.linalg.norm(np.array(volume.header["Mdc"], dtype=np.float64), axis=1)
    if not (
        np.isfinite(sizes).all() and sizes.min() > 0 and np.abs(lengths - 1).max() < _UNIT_ROUNDING
    ):
        raise InputError(
            f"{path} has voxels of {_times(sizes)} mm along directions of length "
            f"{_times(lengths)} in its header, which no scan has; repair its header, or convert "
            "it anew from DICOM."
        )


def _about_the_origin(shape: tuple[int, ...], sizes: np.ndarray, letters: str) -> np.ndarray:
    """Return the affine ``(4, 4)`` of a scan with these voxel sizes and axes whose centre is the
    origin.
    """
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for axis, (row, sign) in enumerate(axcodes2ornt(letters)):
        affine[int(row), axis] = sign * sizes[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _apart_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the largest distance, mm, between the places that two affines give to one voxel.

    The affines are linear, so the largest distance is found at a corner of the grid.
    """
    corners = np.array(list(product(*[(0, n - 1) for n in shape])))
    difference = one - other
    return float(np.linalg.norm(corners @ difference[:3, :3].T + difference[:3, 3], axis=1).max())


def _tolerance_mm(affine: np.ndarray, shape: tuple[int, ...]) -> float:
    diagonal = np.linalg.norm(affine[:3, :3], axis=0) * shape
    return _QUATERNION_ROUNDING * float(np.linalg.norm(diagonal))


def _grid(shape: tuple[int, ...], affine: np.ndarray, path: Path) -> Grid:
    try:
        return Grid(shape, affine)
    except InputError as error:
        raise InputError(f"{path} has an unusable header: {error}") from None


def _times(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)
