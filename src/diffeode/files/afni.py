"""Transforms as AFNI states them: matrices of 3dAllineate (``.aff12.1D``) and warps of 3dQwarp.

AFNI's coordinates are DICOM's: mm to the left, to the back and upwards (LPS, which AFNI calls RAI).
Its transforms lead from points of the base (our fixed scan) to points of the source (our moving
scan), as ours do: ``3dAllineate -base FIXED -source MOVING -1Dmatrix_save FILE``. The axes of an
oblique scan are taken for the nearest axes of the body, by which its points get other coordinates,
so transforms of oblique scans are neither read nor written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import obliquity

from diffeode.errors import DamagedFileError, InputError
from diffeode.files.fields import ITK_VECTOR_INTENT, require_displacements
from diffeode.files.headers import grid_of
from diffeode.files.io import nifti_of, open_volume, save_nifti, write_text
from diffeode.files.presence import require_file
from diffeode.files.volumes import array_of
from diffeode.geometry.space import Grid, flip_matrix_ras_lps, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField

MATRIX_SUFFIXES = (".1D",)
_BANNER = "# 3dvolreg matrices (DICOM-to-DICOM, row-by-row):"
_OF_PARAMETERS = "x-shift"
"""A word in the head of a file of 3dAllineate's parameters, which are 12 numbers, too."""
_NUMBERS = 12
_OBLIQUE_DEGREES = 0.01
"""Largest angle between an axis of a scan and the nearest axis of the body that AFNI overlooks."""


def require_plumb(grids: Mapping[str, Grid | None]) -> None:
    """Raise :class:`InputError` where one of ``grids`` is oblique.

    Args:
        grids: by what messages call each; None for one that is not known.
    """
    for name, grid in grids.items():
        if grid is None:
            continue
        degrees = float(np.degrees(obliquity(grid.affine).max()))
        if degrees > _OBLIQUE_DEGREES:
            raise InputError(
                f"{name} is oblique ({degrees:.2f} degrees), and AFNI gives the points of oblique "
                "scans other coordinates; resample it onto plumb axes first (3dWarp -deoblique), "
                "or write the transform for ITK."
            )


def write_matrix(path: Path | str, affine: Affine) -> None:
    """Write ``affine``, fixed to moving, as AFNI's 12 numbers, row by row, DICOM mm."""
    numbers = flip_matrix_ras_lps(affine.matrix)[:3].ravel()
    write_text(path, f"{_BANNER}\n{' '.join(f'{number:.17g}' for number in numbers)}\n")


def read_matrix(path: Path | str) -> Affine:
    """Return the affine of AFNI at ``path``, fixed to moving, RAS mm.

    Raises:
        InputError: the file is missing, holds parameters, or holds no 12 numbers or more than one
            matrix.
    """
    require_file(path, "matrix of AFNI")
    no_matrix = InputError(
        f"{path} does not hold one matrix of AFNI, which has {_NUMBERS} finite numbers; give "
        "one of 3dAllineate -1Dmatrix_save."
    )
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (ValueError, OSError):
        raise no_matrix from None
    if _OF_PARAMETERS in text:
        raise InputError(
            f"{path} holds parameters (-1Dparam_save: shifts, angles, scales and shears), not a "
            "matrix; give the file of 3dAllineate -1Dmatrix_save."
        )
    try:
        numbers = [
            float(word) for line in text.splitlines() for word in line.partition("#")[0].split()
        ]
        matrix = np.eye(4)
        matrix[:3] = np.asarray_chkfinite(numbers).reshape(3, 4)
        return Affine(flip_matrix_ras_lps(matrix))
    except ValueError:
        raise no_matrix from None


def write_warp(path: Path | str, field: DisplacementField) -> None:
    """Write ``field``, fixed to moving, as a warp for ``3dNwarpApply -nwarp``: NIfTI of shape ``(X,
    Y, Z, 1, 3)``, DICOM mm.
    """
    vectors = flip_ras_lps(field.displacement_mm)[:, :, :, None, :]
    nifti = nifti_of(vectors, field.grid)
    nifti.header["intent_code"] = ITK_VECTOR_INTENT
    save_nifti(path, nifti)


def read_warp(path: Path | str) -> DisplacementField:
    """Return the warp of AFNI at ``path``, fixed to moving, RAS mm.

    Raises:
        InputError: the file is missing, no NIfTI of shape ``(X, Y, Z, 1, 3)``, oblique, or holds no
            displacements.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = open_volume(path)
    shape = tuple(int(n) for n in volume.shape)
    if len(shape) != 5 or shape[3:] != (1, 3) or not isinstance(volume, nib.Nifti1Pair):
        raise InputError(
            f"{path} is no warp of AFNI: its shape is {shape}, expected (X, Y, Z, 1, 3); give a "
            "warp that 3dQwarp wrote as NIfTI."
        )
    grid = grid_of(volume, shape[:3], path)
    require_plumb({str(path): grid})
    vectors = array_of(volume, path)[:, :, :, 0, :]
    require_displacements(vectors, grid, path)
    try:
        return DisplacementField(flip_ras_lps(vectors.astype(np.float32)), grid)
    except InputError as error:
        raise DamagedFileError(f"{path}: {error}") from None
