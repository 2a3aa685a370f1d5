"""Reading and writing: NIfTI and FreeSurfer scans, label maps, ITK/ANTs displacement fields, affine text files.

Everything is checked as it enters, and written whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from diffeode.errors import DamagedFileError, InputError
from diffeode.image import Image, Labels
from diffeode.space import RAS_TO_LPS, Grid, flip_ras_lps
from diffeode.transform import Affine, DisplacementField

_SCAN_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh")
_ITK_VECTOR_INTENT = 1007
_SNIFFED_BYTES = 1024  # what nibabel reads to tell the format


# ------------------------------------------------------------------------------------------------ reading


def read_image(path: Path | str) -> Image:
    """A 3-D scan in its own array order, with the header's slope and intercept applied.

    Raises:
        InputError: missing, not an image, not 3-D, NaN or constant.
        DamagedFileError: empty or truncated.
    """
    data, grid = _read_volume(Path(path))
    image = Image(data, grid)
    image.check_usable(str(path))
    return image


def read_labels(path: Path | str) -> Labels:
    """A 3-D label map.

    Raises:
        InputError: as :func:`read_image`, or a value is negative or not whole.
    """
    data, grid = _read_volume(Path(path))
    rounded = np.rint(data)
    if not np.array_equal(rounded, data) or data.min() < 0:
        raise InputError(f"{path} is not a label map: its values must be whole numbers from 0 on.")
    return Labels(rounded, grid)


def read_weights(path: Path | str) -> Image:
    """A 3-D map of weights, 0 and above.

    Raises:
        InputError: missing, not an image, not 3-D, or a value is negative, NaN or infinite.
        DamagedFileError: empty or truncated.
    """
    data, grid = _read_volume(Path(path))
    if not np.isfinite(data).all() or data.min() < 0:
        raise InputError(f"{path} is not a map of weights: its values must be finite and not negative.")
    return Image(data, grid)


def read_displacement(path: Path | str) -> DisplacementField:
    """An ITK/ANTs displacement field (5-D NIfTI ``(X, Y, Z, 1, 3)``, LPS mm) as RAS mm.

    Raises:
        InputError: missing, or not such a field.
        DamagedFileError: empty or truncated.
    """
    path = Path(path)
    nifti = _open(path)
    if len(nifti.shape) != 5 or nifti.shape[3:] != (1, 3):
        raise InputError(f"{path} is not an ITK displacement field: shape {nifti.shape}, expected (X, Y, Z, 1, 3).")
    vectors = _array(nifti, path)[:, :, :, 0, :]
    return DisplacementField(flip_ras_lps(vectors.astype(np.float32)), _grid(nifti.shape[:3], nifti, path))


def read_ras_displacement(path: Path | str) -> DisplacementField:
    """A displacement field in RAS mm: NiftyReg's ``(X, Y, Z, 1, 3)`` or FreeSurfer's ``(X, Y, Z, 3)``.

    The header does not tell it from ITK's LPS mm: who reads has to know who wrote.

    Raises:
        InputError: missing, not such a field, or a vector is not finite.
        DamagedFileError: empty or truncated.
    """
    path = Path(path)
    nifti = _open(path)
    if nifti.shape[3:] not in ((1, 3), (3,)):
        raise InputError(f"{path} has shape {nifti.shape}; a displacement field has one vector of three per voxel.")
    vectors = _array(nifti, path).reshape(*nifti.shape[:3], 3)
    return DisplacementField(vectors.astype(np.float32), _grid(nifti.shape[:3], nifti, path))


def read_affine(path: Path | str) -> Affine:
    """A 4 x 4 matrix in RAS mm from a text file written by :func:`write_affine`."""
    try:
        return Affine(np.loadtxt(path))
    except FileNotFoundError:
        raise InputError(f"There is no affine file {path}.") from None
    except ValueError as error:
        raise InputError(f"{path} does not hold a 4 x 4 matrix of numbers ({error}).") from None


def _read_volume(path: Path) -> tuple[np.ndarray, Grid]:
    nifti = _open(path)
    shape = nifti.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{path} is {len(shape)}-D with shape {nifti.shape}; give one 3-D volume.")
    return _array(nifti, path).reshape(shape), _grid(shape, nifti, path)


def _grid(shape: tuple[int, ...], nifti: nib.spatialimages.SpatialImage, path: Path) -> Grid:
    try:
        return Grid((shape[0], shape[1], shape[2]), nifti.affine)
    except InputError as error:
        raise InputError(f"{path} has an unusable header: {error}") from None


def _open(path: Path) -> nib.spatialimages.SpatialImage:
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if not path.name.endswith(_SCAN_SUFFIXES):
        raise InputError(
            f"{path} is not a NIfTI or FreeSurfer image (its name ends in none of {', '.join(_SCAN_SUFFIXES)})."
        )
    if path.stat().st_size == 0:
        raise DamagedFileError(f"{path} is empty; fetch or make it again.")
    try:
        return cast(nib.spatialimages.SpatialImage, nib.load(path))
    except (EOFError, zlib.error):
        raise DamagedFileError(f"{path} is truncated or damaged; fetch or make it again.") from None
    except (ImageFileError, OSError, ValueError) as error:
        if _ends_within_header(path):
            raise DamagedFileError(f"{path} is truncated or damaged; fetch or make it again.") from None
        raise InputError(f"{path} cannot be read as an image ({_first_line(error)}).") from None


def _ends_within_header(path: Path) -> bool:
    """Whether a compressed file breaks off so early that nibabel does not recognise its format."""
    try:
        with gzip.open(path) as handle:
            handle.read(_SNIFFED_BYTES)
    except (EOFError, zlib.error):
        return True
    except gzip.BadGzipFile:
        return False
    return False


def _array(nifti: nib.spatialimages.SpatialImage, path: Path) -> np.ndarray:
    try:
        data = np.asarray(nifti.dataobj)
    except (EOFError, zlib.error, OSError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is truncated or damaged ({_first_line(error)}); fetch or make it again."
        ) from None
    if data.dtype.kind not in "biuf":
        raise InputError(f"{path} holds colours or complex values, not one real number per voxel; give a plain scan.")
    return data


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# ------------------------------------------------------------------------------------------------ writing


def write_image(path: Path | str, image: Image) -> None:
    """``image`` as float32 NIfTI."""
    _save(path, _nifti(image.data.astype(np.float32), image.grid))


def write_labels(path: Path | str, labels: Labels) -> None:
    """``labels`` as int32 NIfTI."""
    _save(path, _nifti(labels.data.astype(np.int32), labels.grid))


def write_displacement(path: Path | str, field: DisplacementField) -> None:
    """``field`` as an ITK/ANTs displacement field: 5-D NIfTI ``(X, Y, Z, 1, 3)``, LPS mm, intent 1007."""
    vectors = flip_ras_lps(field.displacement_mm)[:, :, :, None, :]
    nifti = _nifti(vectors, field.grid)
    nifti.header["intent_code"] = _ITK_VECTOR_INTENT
    _save(path, nifti)


def write_affine(path: Path | str, affine: Affine) -> None:
    """``affine`` as a 4 x 4 text matrix in RAS mm."""
    with written_whole(path) as temporary:
        np.savetxt(temporary, affine.matrix, fmt="%.17g", header="RAS mm, fixed to moving")


def write_itk_affine(path: Path | str, affine: Affine) -> None:
    """``affine`` as an ITK text transform (``AffineTransform_double_3_3``, LPS mm) for ANTs and SimpleITK."""
    lps = RAS_TO_LPS @ affine.matrix @ RAS_TO_LPS
    numbers = " ".join(f"{v:.17g}" for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
    write_text(path, text)


def write_json(path: Path | str, content: object) -> None:
    """``content`` as indented JSON."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """``text`` as UTF-8."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    The temporary name keeps the suffix, because writers choose their format by it.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}; free or choose another folder.") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}; nothing was kept of it.") from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _nifti(data: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    nifti = nib.Nifti1Image(data, grid.affine)
    nifti.set_sform(grid.affine, code=1)
    nifti.set_qform(grid.affine, code=1)
    nifti.header.set_xyzt_units("mm")
    return nifti


def _save(path: Path | str, nifti: nib.Nifti1Image) -> None:
    with written_whole(path) as temporary:
        nib.save(nifti, temporary)
