"""Files of transforms: displacement fields, affines of ITK and ANTs, and matrices in RAS mm.

Every transform that is read or written sends points of the fixed scan to points of the moving scan,
RAS mm. ITK's files hold the same map in LPS mm; SimpleITK reads and writes them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from diffeode.errors import InputError
from diffeode.files import io, volumes
from diffeode.files.headers import grid_of
from diffeode.files.itk import ARCHIVE_SUFFIXES, TEXT_START, read_itk
from diffeode.files.presence import require_file
from diffeode.geometry.maps import collapsed
from diffeode.geometry.plane import plane_itk_frame, stays_in_plane
from diffeode.geometry.space import (
    RAS_TO_LPS,
    Grid,
    flip_matrix_ras_lps,
    flip_ras_lps,
)
from diffeode.geometry.transform import Affine, Chain, DisplacementField, Transform

FIELD_SUFFIXES = (".nii", ".nii.gz")
AFFINE_SUFFIXES = (".txt", ".tfm", ".mat")
SUFFIXES = (*FIELD_SUFFIXES, *AFFINE_SUFFIXES, *ARCHIVE_SUFFIXES)
"""Endings of the names of files that can be written."""

_RAS_TEXT = b"# RAS mm, fixed to moving"


def read_transform(path: Path | str) -> Transform:
    """Return the transform at ``path``.

    It may be an ITK displacement field (NIfTI), a transform file of ITK or ANTs (``.txt``,
    ``.tfm``, ``.mat``, ``.h5``), or a matrix of text in RAS mm that this program wrote.

    Raises:
        InputError: the file is missing or unreadable, is of a kind that cannot be read, or does not
            say in which frame it holds its numbers.
        DamagedFileError: the file is empty or truncated.
    """
    return read_with_dimension(path)[0]


def read_with_dimension(path: Path | str) -> tuple[Transform, bool]:
    """Return the transform at ``path`` (:func:`read_transform`), and whether it is one in 2-D, of
    slices that lie as pictures do.
    """
    path = Path(path)
    require_file(path, "transform")
    if path.name.endswith(FIELD_SUFFIXES):
        field = io.read_displacement(path)
        return field, stays_in_plane(field)
    if not path.name.endswith(SUFFIXES):
        raise InputError(
            f"{path} is not a transform that can be read; its name ends in none of "
            f"{', '.join(SUFFIXES)}."
        )
    with path.open("rb") as file:
        start = file.read(128)
    if start.startswith(_RAS_TEXT):
        return io.read_affine(path), False
    if not start.startswith(TEXT_START) and _is_matrix(path):
        raise InputError(
            f"{path} holds a matrix but does not say in which frame; convert it with 'diffeode "
            "convert --from ras' or, where FLIRT made it, '--from fsl' first."
        )
    return _read_itk(path)


def read_grid_of_field(path: Path) -> Grid:
    """Return the grid of a displacement field, whose vectors are not read.

    Raises:
        InputError: the file is no image, or its header states no usable grid.
        DamagedFileError: the file is damaged.
    """
    volume = volumes.opened(path)
    return grid_of(volume, volume.shape[:3], path)


def require_writable_name(path: str | os.PathLike[str]) -> None:
    """Raise :class:`InputError` where no format of transforms goes by the ending of ``path``."""
    if not os.fspath(path).endswith(SUFFIXES):
        raise InputError(
            f"{path} is no name for a transform; end it in .nii.gz (a displacement field), .txt, "
            ".tfm or .mat (an affine) or .h5 (either)."
        )


def holds_affines_only(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of this name holds affines and no displacement fields."""
    return os.fspath(path).endswith(AFFINE_SUFFIXES)


def write_transform(
    path: str | os.PathLike[str], transform: Affine | DisplacementField, flat: bool = False
) -> None:
    """Write ``transform`` in the format that the ending of ``path`` names.

    - ``.nii``, ``.nii.gz``: an ITK displacement field.
    - ``.txt``, ``.tfm``, ``.mat``: an affine of ITK and ANTs.
    - ``.h5``, ``.hdf5``: either, as ITK stores it.

    Args:
        flat: whether an affine is written in 2-D, as a map of slices that lie as pictures do. A
            field of such a slice is always written in 2-D.

    Raises:
        InputError: the ending is none of these, the format does not hold such a transform, or the
            grid of a field is sheared, which ITK cannot represent.
    """
    require_writable_name(path)
    name, is_affine = os.fspath(path), isinstance(transform, Affine)
    others_only = name.endswith(FIELD_SUFFIXES) if is_affine else holds_affines_only(path)
    if others_only:
        kind, others = ("an affine", ".txt") if is_affine else ("no affine", ".nii.gz")
        raise InputError(
            f"{name} cannot hold this transform, which is {kind}; end the name in {others} or .h5."
        )
    if isinstance(transform, DisplacementField) and name.endswith(FIELD_SUFFIXES):
        io.write_displacement(name, transform)
    elif isinstance(transform, Affine) and name.endswith(".txt") and flat:
        io.write_itk_plane_affine(name, _in_plane(transform))
    elif isinstance(transform, Affine) and name.endswith(".txt"):
        io.write_itk_affine(name, transform)
    else:
        import SimpleITK

        with io.written_whole(name) as temporary:
            SimpleITK.WriteTransform(to_itk(transform, flat), str(temporary))


def to_itk(transform: Affine | DisplacementField, flat: bool = False) -> Any:
    """Return ``transform`` as a ``SimpleITK.Transform`` of points in LPS mm.

    Args:
        flat: whether an affine becomes a transform in 2-D, of slices that lie as pictures do. A
            field of such a slice always does.

    Raises:
        InputError: the grid of a field is sheared, which ITK cannot represent.
    """
    import SimpleITK

    if isinstance(transform, Affine):
        lps = _in_plane(transform) if flat else flip_matrix_ras_lps(transform.matrix)
        d = len(lps) - 1
        affine = SimpleITK.AffineTransform(d)
        affine.SetMatrix(lps[:d, :d].ravel().tolist())
        affine.SetTranslation(lps[:d, d].tolist())
        return affine
    frame = transform.grid.itk_frame("SimpleITK")
    vectors = np.ascontiguousarray(
        flip_ras_lps(transform.displacement_mm.astype(np.float64)).transpose(2, 1, 0, 3)
    )
    d = 3
    if stays_in_plane(transform):
        frame, d = plane_itk_frame(transform.grid, "SimpleITK"), 2
        vectors = np.ascontiguousarray(vectors[0, ..., :2])
    image = SimpleITK.GetImageFromArray(vectors, isVector=True)
    image.SetOrigin(frame.origin[:d].tolist())
    image.SetSpacing(frame.spacing[:d].tolist())
    image.SetDirection(frame.direction[:d, :d].ravel().tolist())
    return SimpleITK.DisplacementFieldTransform(image)


def _in_plane(affine: Affine) -> np.ndarray:
    """Return the matrix ``(3, 3)`` of an affine of slices that lie as pictures do, LPS mm."""
    kept = [0, 1, 3]
    return flip_matrix_ras_lps(affine.matrix)[np.ix_(kept, kept)]


def of_itk(transform: Any, name: str) -> Transform:
    """Return a ``SimpleITK.Transform`` as a map of points in RAS mm.

    A composite of ITK applies the transform that was added last first. A transform in 2-D is one of
    slices that lie as pictures do, and keeps the third coordinate.

    Args:
        name: what messages call the transform.

    Raises:
        InputError: it has neither two nor three dimensions, is singular, or is neither linear nor a
            displacement field.
    """
    import SimpleITK

    d = transform.GetDimension()
    if d not in (2, 3):
        raise InputError(f"{name} is {d}-D; give a transform in 3-D, or in 2-D for slices.")
    transform = transform.Downcast()
    if isinstance(transform, SimpleITK.CompositeTransform):
        parts = [
            of_itk(transform.GetNthTransform(n), name)
            for n in range(transform.GetNumberOfTransforms())
        ]
        return collapsed(Chain(tuple(reversed(parts))))
    if isinstance(transform, SimpleITK.DisplacementFieldTransform):
        return _field_of_itk(transform.GetDisplacementField())
    if not transform.IsLinear():
        raise InputError(
            f"{name} is a {transform.GetName()}; sample it into a displacement field first "
            "(SimpleITK.TransformToDisplacementField)."
        )
    origin = np.array(transform.TransformPoint([0.0] * d))
    matrix = np.eye(4)
    matrix[:d, 3] = origin
    for axis in range(d):
        matrix[:d, axis] = np.array(transform.TransformPoint(np.eye(d)[axis].tolist())) - origin
    with np.errstate(invalid="ignore"):  # Affine refuses what is no finite number
        return Affine(flip_matrix_ras_lps(matrix))


def _field_of_itk(image: Any) -> DisplacementField:
    import SimpleITK

    d = image.GetDimension()
    lps = np.eye(4)
    lps[:d, :d] = np.reshape(image.GetDirection(), (d, d)) * np.array(image.GetSpacing())
    lps[:d, 3] = image.GetOrigin()
    vectors = np.moveaxis(SimpleITK.GetArrayFromImage(image), range(d), reversed(range(d)))
    if d == 2:
        vectors = np.pad(vectors[:, :, None], [(0, 0)] * 3 + [(0, 1)])
    x, y, z = vectors.shape[:3]
    grid = Grid((x, y, z), RAS_TO_LPS @ lps)
    with np.errstate(over="ignore"):  # what is no finite number is refused below
        displacement = flip_ras_lps(vectors).astype(np.float32)
    return DisplacementField(displacement, grid)


def _read_itk(path: Path) -> tuple[Transform, bool]:
    read = read_itk(path)
    try:
        return of_itk(read, str(path)), read.GetDimension() == 2
    except InputError as error:
        said = str(error)
        raise InputError(said if str(path) in said else f"{path}: {said}") from None


def _is_matrix(path: Path) -> bool:
    """Return whether the file is text that holds 16 (or, for some programs, 12) numbers."""
    try:
        text = path.read_text(encoding="utf-8")
        numbers = [
            float(word) for line in text.splitlines() for word in line.partition("#")[0].split()
        ]
    except (UnicodeDecodeError, ValueError, OSError):
        return False
    return len(numbers) in (12, 16)
