"""Reading and writing: NIfTI and FreeSurfer scans, label maps, ITK/ANTs displacement fields, affine
text files.

Every file is checked when it is read. A file is written completely or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from diffeode.errors import DamagedFileError, InputError, first_line
from diffeode.files import volumes
from diffeode.files.fields import ITK_VECTOR_INTENT, require_displacements, require_itk
from diffeode.files.headers import grid_of
from diffeode.files.label_ids import ids_of
from diffeode.files.presence import require_file
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import stays_in_plane
from diffeode.geometry.space import Grid, flip_matrix_ras_lps, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField

_SCAN_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh")
_LONGEST_REASON = 200
_GZIP_WINDOW = zlib.MAX_WBITS | 16
"""Deflate's largest window, in the form of gzip (zlib's manual, ``deflateInit2``)."""


# ------------------------------------------------------------------------------------------ reading


def read_image(path: Path | str, orientation: str | None = None) -> Image:
    """Return a 3-D scan in its own array order, with the header's slope and intercept applied.

    Args:
        orientation: the orientation of the scan where its header leaves it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: the file is missing, not an image or not 3-D; a voxel is NaN or infinite; all
            voxels are equal; or the header does not state the orientation.
        DamagedFileError: the file is empty or truncated.
    """
    image = read_finite(path, orientation)
    image.check_usable(str(path))
    return image


def read_finite(path: Path | str, orientation: str | None = None) -> Image:
    """Return a 3-D image that may be constant, such as a mask of ones.

    Args:
        orientation: as in :func:`read_image`.

    Raises:
        InputError: the file is missing, not an image or not 3-D; a voxel is NaN or infinite; or the
            header does not state the orientation.
        DamagedFileError: the file is empty or truncated.
    """
    return _finite_image(Path(path), _grid_of_volume, orientation)


def read_layer(path: Path | str, orientation: str | None = None) -> Image:
    """Return a NIfTI or FreeSurfer image of two or three axes; one of two becomes ``(X, Y, 1)``.

    Args:
        orientation: as in :func:`read_image`.

    Raises:
        InputError: as in :func:`read_finite`, but for images of two axes.
        DamagedFileError: the file is empty or truncated.
    """
    return _finite_image(Path(path), _grid_of_layer, orientation)


def read_shape(path: Path | str) -> tuple[int, ...]:
    """Return the shape of the array in a NIfTI or FreeSurfer file, of which only the header is
    read; an image of two axes has the shape ``(X, Y, 1)``.

    Raises:
        InputError: the file is missing or not an image.
        DamagedFileError: the file is empty, or truncated within the header.
    """
    shape = tuple(int(n) for n in _open(Path(path)).shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return (*shape, 1) if len(shape) == 2 else shape


def read_grid(path: Path | str, orientation: str | None = None) -> Grid:
    """Return the grid of a 3-D image, whose voxels are not read.

    Args:
        orientation: as in :func:`read_image`.

    Raises:
        InputError: the file is missing, not an image or not 3-D, or its header does not state the
            orientation.
        DamagedFileError: the file is empty, or truncated within the header.
    """
    path = Path(path)
    return _grid_of_volume(_open(path), path, orientation)


def read_labels(path: Path | str, orientation: str | None = None) -> Labels:
    """Return a label map of three axes, or of two, which becomes ``(X, Y, 1)``. Ids that are
    stored with a slope are rounded to the whole numbers that they stand for.

    Args:
        orientation: as in :func:`read_image`.

    Raises:
        InputError: the file is unusable as in :func:`read_finite`, or its values are no ids
            (:func:`diffeode.files.label_ids.ids_of`).
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = _open(path)
    grid = _grid_of_layer(volume, path, orientation)
    values = volumes.array_of(volume, path).reshape(grid.shape)
    return Labels(
        ids_of(values, volumes.slope_of(volume), volumes.stored_type(volume), str(path)), grid
    )


def read_weights(path: Path | str) -> Image:
    """Return a 3-D map of weights from 0 on.

    Raises:
        InputError: the file is missing, not an image or not 3-D, or a value is negative, NaN or
            infinite.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = _open(path)
    grid = _grid_of_volume(volume, path)
    image = _image(volumes.array_of(volume, path).reshape(grid.shape), grid)
    if not np.isfinite(image.data).all() or image.data.min() < 0:
        raise InputError(
            f"{path} is not a map of weights: its values must be finite and not negative."
        )
    return image


def _finite_image(
    path: Path,
    find_grid: Callable[[SpatialImage, Path, str | None], Grid],
    orientation: str | None,
) -> Image:
    volume = _open(path)
    grid = find_grid(volume, path, orientation)
    image = _image(volumes.array_of(volume, path).reshape(grid.shape), grid)
    image.check_finite(str(path))
    return image


def _image(values: np.ndarray, grid: Grid) -> Image:
    """Return ``values`` as an image; those beyond single precision become infinite."""
    with np.errstate(over="ignore"):
        return Image(values, grid)


def read_displacement(path: Path | str) -> DisplacementField:
    """Return an ITK/ANTs displacement field (5-D NIfTI ``(X, Y, Z, 1, 3)``, LPS mm) in RAS mm.

    A 2-D field ``(X, Y, 1, 1, 2)`` moves no point out of its plane.

    Raises:
        InputError: the file is missing, or its header does not show that it is such a field
            (:func:`diffeode.files.fields.require_itk`).
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = _open(path)
    require_itk(volume, path)
    vectors = volumes.array_of(volume, path)[:, :, :, 0, :]
    vectors = np.pad(vectors, [(0, 0)] * 3 + [(0, 3 - vectors.shape[3])])
    grid = grid_of(volume, volume.shape[:3], path)
    require_displacements(vectors, grid, path)
    with np.errstate(invalid="ignore"):
        vectors_ras = flip_ras_lps(_in_single_precision(vectors, path))
    return _field(vectors_ras, grid, path)


def read_ras_displacement(path: Path | str) -> DisplacementField:
    """Return a displacement field that was written in RAS mm, as NiftyReg ``(X, Y, Z, 1, 3)`` and
    FreeSurfer ``(X, Y, Z, 3)`` do.

    The header does not distinguish it from ITK's LPS mm, so the caller has to know which program
    wrote it.

    Raises:
        InputError: the file is missing or not such a field, or a vector is not finite.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = _open(path)
    if volume.shape[3:] not in ((1, 3), (3,)):
        raise InputError(
            f"{path} has shape {volume.shape}; a displacement field has one vector of three per "
            "voxel."
        )
    vectors = volumes.array_of(volume, path).reshape(*volume.shape[:3], 3)
    return _field(
        _in_single_precision(vectors, path), grid_of(volume, volume.shape[:3], path), path
    )


def read_affine(path: Path | str) -> Affine:
    """Return the 4 x 4 matrix in RAS mm of a text file that :func:`write_affine` wrote.

    Raises:
        InputError: the file is missing or holds no invertible 4 x 4 matrix.
    """
    require_file(path, "affine file")
    try:
        text = Path(path).read_text(encoding="utf-8")
        rows = [line.partition("#")[0].split() for line in text.splitlines()]
        return Affine(np.array([list(map(float, row)) for row in rows if row]))
    except (ValueError, OSError) as error:
        reason = first_line(error)[:_LONGEST_REASON]
        raise InputError(f"{path} does not hold a 4 x 4 matrix of numbers ({reason}).") from None


def _in_single_precision(vectors: np.ndarray, path: Path) -> np.ndarray:
    """Return ``vectors`` as float32.

    Raises:
        InputError: one of them is infinite in that precision.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        single = vectors.astype(np.float32)
    if np.isfinite(vectors).all() and not np.isfinite(single).all():
        raise InputError(f"{path} holds displacements beyond 1e38 mm, which no head has.")
    return single


def _field(vectors_ras: np.ndarray, grid: Grid, path: Path) -> DisplacementField:
    try:
        return DisplacementField(vectors_ras, grid)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _grid_of_volume(volume: SpatialImage, path: Path, orientation: str | None = None) -> Grid:
    """Return the grid of a 3-D volume.

    Raises:
        InputError: it has more or fewer axes, or no usable header
            (:func:`diffeode.files.headers.grid_of`).
    """
    shape = volume.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(
            f"{path} is {len(shape)}-D with shape {volume.shape}; give one 3-D volume."
        )
    return grid_of(volume, shape, path, orientation)


def _grid_of_layer(volume: SpatialImage, path: Path, orientation: str | None = None) -> Grid:
    """Return the grid of an image of three axes, or of two, to which one of one voxel is added."""
    shape = tuple(int(n) for n in volume.shape)
    if len(shape) == 2:
        return grid_of(volume, (*shape, 1), path, orientation)
    return _grid_of_volume(volume, path, orientation)


def _open(path: Path) -> SpatialImage:
    require_file(path)
    if not path.name.endswith(_SCAN_SUFFIXES):
        raise InputError(
            f"{path} is not a NIfTI or FreeSurfer image (its name ends in none of "
            f"{', '.join(_SCAN_SUFFIXES)})."
        )
    if path.stat().st_size == 0:
        raise DamagedFileError(f"{path} is empty; fetch or make it again.")
    return volumes.opened(path)


def open_volume(path: Path) -> SpatialImage:
    """Return an image of any number of axes as nibabel opens it; its voxels are not read.

    Raises:
        InputError: the file is missing or not an image.
        DamagedFileError: the file is empty or truncated.
    """
    return _open(path)


# ------------------------------------------------------------------------------------------ writing


def write_image(path: Path | str, image: Image) -> None:
    """Write ``image`` as NIfTI of float32."""
    _save(path, _nifti(image.data.astype(np.float32), image.grid))


def write_labels(path: Path | str, labels: Labels) -> None:
    """Write ``labels`` as NIfTI of int32."""
    _save(path, _nifti(labels.data.astype(np.int32), labels.grid))


def write_displacement(path: Path | str, field: DisplacementField, quick: bool = False) -> None:
    """Write ``field`` as an ITK/ANTs displacement field: 5-D NIfTI ``(X, Y, Z, 1, 3)``, LPS mm,
    intent 1007.

    A field of a slice in the plane of pictures (:func:`diffeode.geometry.plane.stays_in_plane`) has
    two components, because ITK reads a NIfTI of one layer as a 2-D image.

    Args:
        quick: whether the file is compressed in a third of the time. Displacements take as little
            space then, unless they are rounded.
    """
    vectors = flip_ras_lps(field.displacement_mm)[:, :, :, None, :]
    if stays_in_plane(field):
        vectors = vectors[..., :2]
    nifti = _nifti(vectors, field.grid)
    nifti.header["intent_code"] = ITK_VECTOR_INTENT
    if not quick or not str(path).endswith(".gz"):
        _save(path, nifti)
        return
    with written_whole(path) as temporary:
        temporary.write_bytes(_compressed_by_runs(nifti.to_bytes()))


def write_affine(path: Path | str, affine: Affine) -> None:
    """Write ``affine`` as a 4 x 4 matrix of text in RAS mm."""
    with written_whole(path) as temporary:
        np.savetxt(temporary, affine.matrix, fmt="%.17g", header="RAS mm, fixed to moving")


def write_itk_affine(path: Path | str, affine: Affine) -> None:
    """Write ``affine`` as an ITK text transform (``AffineTransform_double_3_3``, LPS mm) for ANTs
    and SimpleITK.
    """
    _write_itk_matrix(path, flip_matrix_ras_lps(affine.matrix))


def write_itk_plane_affine(path: Path | str, matrix: np.ndarray) -> None:
    """Write a ``matrix (3, 3)`` of plane coordinates (:mod:`diffeode.geometry.plane`) as an ITK
    text transform (``AffineTransform_double_2_2``).
    """
    _write_itk_matrix(path, matrix)


def _write_itk_matrix(path: Path | str, matrix: np.ndarray) -> None:
    """Write the homogeneous ``matrix`` of LPS mm, in two or three dimensions."""
    d = len(matrix) - 1
    numbers = " ".join(f"{v:.17g}" for v in [*matrix[:d, :d].ravel(), *matrix[:d, d]])
    text = (
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_{d}_{d}\n"
        f"Parameters: {numbers}\nFixedParameters: {' '.join('0' * d)}\n"
    )
    write_text(path, text)


def nifti_of(data: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    """Return ``data (X, Y, Z, ...)`` as NIfTI on ``grid``, with the header that all files written
    here have: sform and qform of code 1, in mm.
    """
    return _nifti(data, grid)


def save_nifti(path: Path | str, nifti: nib.Nifti1Image) -> None:
    """Write ``nifti``, completely or not at all."""
    _save(path, nifti)


def write_json(path: Path | str, content: object) -> None:
    """Write ``content`` as indented JSON."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` in UTF-8."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces ``path`` when the block ends without an
    error, and is removed otherwise.

    The temporary name keeps the suffix, because writers choose their format by it.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".writing-{secrets.token_hex(4)}-{path.name}")
        # The mode 0o666 leaves the permissions to the user's umask or to the rules of the folder.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        permissions = temporary.stat().st_mode
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}; free or choose another folder."
        ) from None
    try:
        yield temporary
        # Some writers replace the file by one that only its owner may read.
        temporary.chmod(permissions)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror or error}; nothing was kept of it."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _nifti(data: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    nifti = nib.Nifti1Image(data, grid.affine)
    nifti.set_sform(grid.affine, code=1)
    # A qform cannot hold a shear. With a code it would contradict the sform of a sheared grid.
    nifti.set_qform(grid.affine, code=1 if grid.is_perpendicular else 0)
    nifti.header.set_xyzt_units("mm")
    return nifti


def _compressed_by_runs(content: bytes) -> bytes:
    """Return ``content`` as a file of gzip without a name or a date, in which no repetitions but
    runs of a byte are found; displacements hardly have others.
    """
    gzip = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW, strategy=zlib.Z_RLE)
    return gzip.compress(content) + gzip.flush()


def _save(path: Path | str, nifti: nib.Nifti1Image) -> None:
    with written_whole(path) as temporary:
        nib.save(nifti, temporary)
