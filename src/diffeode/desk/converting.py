"""Write a transform in the format of another program."""

from __future__ import annotations

from pathlib import Path

from diffeode.desk.transform import Transform, load_transform
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.fsl import read_flirt, write_flirt, write_fnirt
from diffeode.files.linear import read_lta
from diffeode.files.transforms import FIELD_SUFFIXES
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine

SOURCES = ("itk", "ras", "fsl", "freesurfer")
TARGETS = ("itk", "fsl")
_FLIRT_SUFFIXES = (".mat", ".txt")
_NEEDS_BOTH = (
    "{}: a transform of FSL or FreeSurfer leads between the voxels of two images; give both scans, "
    "by --fixed and --moving."
)


def read_in_format(
    path: Path, form: str | None, fixed: Grid | None = None, moving: Grid | None = None
) -> Transform:
    """Return the transform at ``path``, fixed to moving, RAS mm.

    Args:
        form: ``itk`` for what ITK, ANTs and this program write, which is the default; ``ras`` for a
            4 x 4 matrix of text that leads from points of the fixed scan to points of the moving
            scan in RAS mm; ``fsl`` for a matrix of FLIRT; ``freesurfer`` for an ``.lta``.
        fixed, moving: the grids of the scans, between which the last two lead.

    Raises:
        InputError: the file is unusable, or ``fsl`` lacks one of the scans or is a warp.
    """
    if form is None or form == "itk":
        return load_transform(path)
    if form == "ras":
        return Transform(io.read_affine(path), None, str(path))
    if form not in SOURCES:
        raise InputError(
            f"There is no format {form!r} to read; choose one of {', '.join(SOURCES)}."
        )
    if form == "fsl" and path.name.endswith(FIELD_SUFFIXES):
        raise InputError(
            f"{path} is a warp, and of FSL only matrices of FLIRT are read; convert it by fslpy "
            "(fsl_convert_x5) first."
        )
    if fixed is None or moving is None:
        raise InputError(_NEEDS_BOTH.format(path))
    read = read_flirt if form == "fsl" else read_lta
    return Transform(read(path, fixed, moving), None, str(path))


def write_in_format(
    path: Path,
    form: str,
    transform: Transform,
    fixed: Grid | None = None,
    moving: Grid | None = None,
) -> None:
    """Write ``transform`` to ``path``.

    Args:
        form: ``itk``, whose kind the ending of ``path`` says; or ``fsl``, which is a matrix of
            FLIRT (``.mat``, ``.txt``) or a field of displacements of FNIRT (``.nii.gz``).
        fixed: the grid of the fixed scan; for ``itk`` that of the map by default.
        moving: the grid of the moving scan, which ``fsl`` needs.

    Raises:
        InputError: there is no such format, it holds no such transform, or a scan is missing.
    """
    if form == "itk":
        transform.save(path, fixed)
        return
    if form != "fsl":
        raise InputError(
            f"There is no format {form!r} to write; choose one of {', '.join(TARGETS)}. AFNI, "
            "FreeSurfer and X5 are written by nitransforms, to which the library gives transforms "
            "(docs/library.md)."
        )
    fixed = fixed or transform.grid
    if fixed is None or moving is None:
        raise InputError(_NEEDS_BOTH.format(path))
    if path.name.endswith(FIELD_SUFFIXES):
        write_fnirt(path, transform.mapping, fixed, moving)
    elif not path.name.endswith(_FLIRT_SUFFIXES):
        raise InputError(
            f"{path} is no name for a transform of FSL; end it in .mat (an affine) or .nii.gz (a "
            "field of displacements)."
        )
    elif not transform.is_affine:
        raise InputError(
            f"{path} would hold a matrix of FLIRT, but {transform.name} is no affine; end the name "
            "in .nii.gz."
        )
    else:
        write_flirt(path, Affine(transform.matrix), fixed, moving)
