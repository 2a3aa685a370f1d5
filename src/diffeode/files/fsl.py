"""Transforms as FSL states them: matrices of FLIRT and warps of FNIRT.

FSL measures a place in an image by its voxel index times the voxel size, with the first axis
reversed where the image's affine has a positive determinant (FSL's wiki, "What is the format of the
matrix used by FLIRT"). Its transforms lead between two such frames, so they mean nothing without
the two images. The formulas were compared with ``fslpy`` 3.29.1 (``toFlirt``, ``toFnirt``).
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from diffeode.errors import InputError, brief_reason
from diffeode.files.headers import grid_of
from diffeode.files.io import nifti_of, open_volume, save_nifti, written_whole
from diffeode.files.presence import require_file
from diffeode.files.volumes import array_of
from diffeode.geometry.space import Grid, apply_matrix
from diffeode.geometry.transform import Affine, DisplacementField, Transform

DISPLACEMENT_FIELD = 2006
"""The intent by which FSL marks a field of displacements (``FSL_FNIRT_DISPLACEMENT_FIELD``)."""
_COEFFICIENTS = (2007, 2008, 2009, 2016, 2017, 2018)
"""The intents of files of FNIRT and TOPUP that hold coefficients."""
_EVERY, _LEAST_SCALE = 7, 1e-9
"""Every so many voxels are looked at, and smaller scales count as this one."""


def to_fsl_mm(grid: Grid) -> np.ndarray:
    """Return the matrix ``(4, 4)`` from RAS mm to FSL's mm of an image on ``grid``.

    >>> las = Grid((10, 1, 1), np.diag([-2.0, 1, 1, 1]))
    >>> apply_matrix(to_fsl_mm(las), np.array([-4.0, 0, 0])).tolist()
    [4.0, 0.0, 0.0]
    >>> ras = Grid((10, 1, 1), np.diag([2.0, 1, 1, 1]))
    >>> apply_matrix(to_fsl_mm(ras), np.array([4.0, 0, 0])).tolist()
    [14.0, 0.0, 0.0]
    """
    scale = np.diag([*grid.spacing, 1.0])
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        scale[0] = -grid.spacing[0], 0, 0, (grid.shape[0] - 1) * grid.spacing[0]
    return scale @ np.linalg.inv(grid.affine)


def write_flirt(path: Path | str, affine: Affine, fixed: Grid, moving: Grid) -> None:
    """Write ``affine`` as FLIRT's matrix of ``flirt -in MOVING -ref FIXED -omat FILE``.

    FLIRT's matrix leads from the moving image to the fixed one, ours from the fixed to the moving.
    """
    matrix = to_fsl_mm(fixed) @ affine.inverse().matrix @ np.linalg.inv(to_fsl_mm(moving))
    with written_whole(path) as temporary:
        np.savetxt(temporary, matrix, fmt="%.17g")


def read_flirt(path: Path | str, fixed: Grid, moving: Grid) -> Affine:
    """Return the map from points of the fixed image to points of the moving one, RAS mm, that
    FLIRT's matrix at ``path`` stands for.

    Raises:
        InputError: the file is missing or holds no invertible 4 x 4 matrix.
    """
    require_file(path, "matrix of FLIRT")
    try:
        return of_flirt(np.loadtxt(path), fixed, moving)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} does not hold a 4 x 4 matrix of numbers ({brief_reason(error).rstrip('.')}); "
            "give a matrix that FLIRT wrote (flirt -omat)."
        ) from None


def of_flirt(matrix: np.ndarray, fixed: Grid, moving: Grid) -> Affine:
    """Return the map from points of the fixed image to points of the moving one, RAS mm, for
    FLIRT's ``matrix (4, 4)``.

    Raises:
        InputError: the matrix is singular, not finite or not 4 x 4.
    """
    to_moving = Affine(matrix).inverse().matrix
    return Affine(np.linalg.inv(to_fsl_mm(moving)) @ to_moving @ to_fsl_mm(fixed))


def is_fnirt(path: Path | str) -> bool:
    """Return whether the header of the image at ``path`` says that it is a warp of FSL.

    Raises:
        InputError: the file is missing or no image.
        DamagedFileError: the file is empty or truncated.
    """
    header = open_volume(Path(path)).header
    intent = int(header["intent_code"]) if isinstance(header, nib.Nifti1Header) else 0
    return intent == DISPLACEMENT_FIELD or intent in _COEFFICIENTS


def read_fnirt(path: Path | str, moving: Grid) -> DisplacementField:
    """Return the map from points of the fixed image to points of the moving one, RAS mm, that a
    field of FSL (``fnirt --fout``, ``applywarp``) stands for.

    The field lies on the grid of the fixed image. Places instead of displacements ("absolute") are
    recognised: taken for the other kind, a field would stretch the image more.

    Args:
        moving: the grid of the moving image.

    Raises:
        InputError: the file is missing, no field, or holds coefficients of splines.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = open_volume(path)
    if is_fnirt(path) and int(volume.header["intent_code"]) in _COEFFICIENTS:
        raise InputError(
            f"{path} holds coefficients of FNIRT's splines; make a field of them first "
            "(fnirtfileutils --in=COEFFICIENTS --ref=FIXED --out=FIELD --withaff)."
        )
    if len(volume.shape) != 4 or volume.shape[3] != 3:
        raise InputError(
            f"{path} is no field of FSL: its shape is {volume.shape}, expected (X, Y, Z, 3); give "
            "a field that FSL wrote (fnirt --fout)."
        )
    fixed = grid_of(volume, volume.shape[:3], path)
    vectors = array_of(volume, path).astype(np.float64)
    points = fixed.points_mm()
    here = apply_matrix(to_fsl_mm(fixed), points)
    from_fsl_mm = np.linalg.inv(to_fsl_mm(moving))
    relative, absolute = (apply_matrix(from_fsl_mm, v) for v in (here + vectors, vectors))
    there = min((relative, absolute), key=lambda places: _stretch(points, places))
    try:
        return DisplacementField((there - points).astype(np.float32), fixed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _stretch(points: np.ndarray, places: np.ndarray) -> float:
    """Return by how much the affine nearest to a map of ``points`` to ``places``, ``(X, Y, Z, 3)``
    each, stretches and squeezes: the sum of the absolute logarithms of its singular values.
    """
    here, there = (array.reshape(-1, 3)[::_EVERY] for array in (points, places))
    linear = np.linalg.lstsq(here - here.mean(axis=0), there - there.mean(axis=0), rcond=None)[0]
    singular = np.linalg.svd(linear, compute_uv=False)
    return float(np.abs(np.log(np.maximum(singular, _LEAST_SCALE))).sum())


def fnirt_displacements(transform: Transform, fixed: Grid, moving: Grid) -> np.ndarray:
    """Return the displacements of FNIRT's field, ``(X, Y, Z, 3)`` mm on ``fixed``.

    A displacement is the place in the moving image minus the place in the fixed image, each in
    FSL's mm of its own image ("relative" in ``applywarp --rel``).
    """
    points = fixed.points_mm()
    there = apply_matrix(to_fsl_mm(moving), transform(points))
    return (there - apply_matrix(to_fsl_mm(fixed), points)).astype(np.float32)


def write_fnirt(path: Path | str, transform: Transform, fixed: Grid, moving: Grid) -> None:
    """Write ``transform`` as a field of displacements for ``applywarp --rel --ref=FIXED
    --in=MOVING``.
    """
    nifti = nifti_of(fnirt_displacements(transform, fixed, moving), fixed)
    nifti.header["intent_code"] = DISPLACEMENT_FIELD
    save_nifti(path, nifti)
