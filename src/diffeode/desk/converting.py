"""Write a transform in the format of another program."""

from __future__ import annotations

from pathlib import Path

from diffeode.desk.references import require_reference_of_kind
from diffeode.desk.transform import Transform, load_transform
from diffeode.desk.x5 import read_x5
from diffeode.errors import InputError
from diffeode.files import afni, io
from diffeode.files.fsl import read_flirt, read_fnirt, write_flirt, write_fnirt
from diffeode.files.linear import read_lta, write_lta
from diffeode.files.transforms import FIELD_SUFFIXES
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.names import nearest

SOURCES = ("itk", "ras", "fsl", "freesurfer", "afni", "x5")
TARGETS = ("itk", "fsl", "afni", "freesurfer", "x5")
_FLIRT_SUFFIXES, _LTA_SUFFIXES, _X5_SUFFIXES = (".mat", ".txt"), (".lta",), (".x5", ".h5")
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
            scan in RAS mm; ``fsl`` for a matrix of FLIRT or a field of displacements;
            ``freesurfer`` for an ``.lta``; ``afni`` for an ``.aff12.1D`` or a warp of 3dQwarp;
            ``x5`` for an ``.x5`` (:func:`diffeode.desk.x5.read_x5`).
        fixed, moving: the grids of the scans, between which those of FSL and FreeSurfer lead.

    Raises:
        InputError: the file is unusable, a scan is missing, or a scan of AFNI is oblique.
    """
    if form is None or form == "itk":
        return load_transform(path)
    if form == "ras":
        return Transform(io.read_affine(path), None, str(path))
    if form not in SOURCES:
        raise InputError(
            f"There is no format {form!r} to read; choose one of {', '.join(SOURCES)}."
        )
    if form == "x5":
        return read_x5(path)
    is_field = path.name.endswith(FIELD_SUFFIXES)
    if form == "afni":
        afni.require_plumb({"The fixed scan": fixed, "The moving scan": moving})
        read_own = afni.read_warp if is_field else afni.read_matrix
        return Transform(read_own(path), None, str(path))
    if form == "fsl" and is_field:
        if moving is None:
            raise InputError(_NEEDS_BOTH.format(path))
        return Transform(read_fnirt(path, moving), None, str(path))
    if fixed is None or moving is None:
        raise InputError(_NEEDS_BOTH.format(path))
    read = read_flirt if form == "fsl" else read_lta
    return Transform(read(path, fixed, moving), None, str(path))


def require_not_exchanged(transform: Transform, fixed: Grid | None, moving: Grid | None) -> None:
    """Raise :class:`InputError` where a field lies on the grid of the scan that is given as the
    moving one, and not on that of the fixed one.
    """
    field = transform.grid
    if field is None or fixed is None or moving is None:
        return
    if field.matches(moving) and not field.matches(fixed):
        raise InputError(
            f"{transform.name} lies on the grid of the scan that is given as --moving, so the two "
            "scans are exchanged; give as --fixed the scan on whose grid the field lies."
        )


def write_in_format(
    path: Path,
    form: str,
    transform: Transform,
    fixed: Grid | None = None,
    moving: Grid | None = None,
) -> list[str]:
    """Write ``transform`` to ``path``.

    Args:
        form: the program that is to read it.

            - ``itk``: the ending of ``path`` says which kind.
            - ``fsl``: a matrix of FLIRT (``.mat``, ``.txt``), or a field of displacements of FNIRT
              (``.nii.gz``).
            - ``afni``: a matrix of 3dAllineate (``.aff12.1D``), or a warp for 3dNwarpApply
              (``.nii.gz``).
            - ``freesurfer``: an affine (``.lta``).
            - ``x5``: either (``.x5``), by the package nitransforms.
        fixed: the grid of the fixed scan; that of the map by default.
        moving: the grid of the moving scan, which FSL and FreeSurfer need.

    Returns:
        Sentences that warn of what the user may not have intended.

    Raises:
        InputError: there is no such format, it holds no such transform, or a scan is missing.
    """
    if form not in TARGETS:
        raise InputError(
            f"There is no format {form!r} to write{nearest(form, TARGETS)}; choose one of "
            f"{', '.join(TARGETS)}."
        )
    if fixed is not None:
        require_reference_of_kind(
            transform.mapping, transform.flat, transform.name, fixed, "given as --fixed"
        )
    write = {"fsl": _write_fsl, "afni": _write_afni, "freesurfer": _write_lta, "x5": _write_x5}
    if form == "itk":
        transform.save(path, fixed, overwrite=True)  # the command has asked already
        return []
    return write[form](path, transform, fixed or transform.grid, moving)


def _write_fsl(
    path: Path, transform: Transform, fixed: Grid | None, moving: Grid | None
) -> list[str]:
    if fixed is None or moving is None:
        raise InputError(_NEEDS_BOTH.format(path))
    if path.name.endswith(FIELD_SUFFIXES):
        write_fnirt(path, transform.mapping, fixed, moving)
        return []
    _require_ending(path, _FLIRT_SUFFIXES, "FSL", ".mat (an affine) or .nii.gz (a field)")
    _require_affine(path, transform, "a matrix of FLIRT", "end the name in .nii.gz")
    write_flirt(path, Affine(transform.matrix), fixed, moving)
    return []


def _write_afni(
    path: Path, transform: Transform, fixed: Grid | None, moving: Grid | None
) -> list[str]:
    afni.require_plumb({"The fixed scan": fixed, "The moving scan": moving})
    if path.name.endswith(FIELD_SUFFIXES):
        afni.write_warp(path, transform.on_grid(fixed))
    else:
        _require_ending(
            path, afni.MATRIX_SUFFIXES, "AFNI", ".aff12.1D (an affine) or .nii.gz (a warp)"
        )
        _require_affine(path, transform, "a matrix of AFNI", "end the name in .nii.gz")
        afni.write_matrix(path, Affine(transform.matrix))
    unseen = [f"--{side}" for side, grid in (("fixed", fixed), ("moving", moving)) if grid is None]
    if not unseen:
        return []
    return [
        "AFNI reads this rightly only where neither scan is oblique; give "
        f"{' and '.join(unseen)} to have that checked"
    ]


def _write_lta(
    path: Path, transform: Transform, fixed: Grid | None, moving: Grid | None
) -> list[str]:
    instead = "write .nii.gz for ITK, of which mri_warp_convert --initk makes an .m3z"
    _require_ending(path, _LTA_SUFFIXES, "FreeSurfer", f".lta (an affine); for a warp {instead}")
    _require_affine(path, transform, "an affine", instead)
    if fixed is None or moving is None:
        raise InputError(_NEEDS_BOTH.format(path))
    write_lta(path, Affine(transform.matrix), fixed, moving)
    return []


def _write_x5(
    path: Path, transform: Transform, fixed: Grid | None, moving: Grid | None
) -> list[str]:
    _require_ending(path, _X5_SUFFIXES, "X5", ".x5")
    theirs = transform.to_nitransforms(fixed)
    try:
        from nitransforms.io.x5 import to_filename

        node = theirs.to_x5()
    except (ImportError, AttributeError):
        raise InputError(
            "The nitransforms that is installed writes no X5; install version 25.1 or a newer one, "
            "or write .h5 for ITK."
        ) from None
    with io.written_whole(path) as temporary:
        to_filename(temporary, [node])
    return []


def _require_ending(path: Path, endings: tuple[str, ...], program: str, instead: str) -> None:
    if not path.name.endswith(endings):
        raise InputError(f"{path} is no name for a transform of {program}; end it in {instead}.")


def _require_affine(path: Path, transform: Transform, what: str, instead: str) -> None:
    if not transform.is_affine:
        raise InputError(f"{path} would hold {what}, but {transform.name} is no affine; {instead}.")
