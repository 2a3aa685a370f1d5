"""Volumes as their files hold them. What is wrong with a file is said in one sentence with its
name.

nibabel opens files in this module and nowhere else, so its errors are translated here.
"""

from __future__ import annotations

import gzip
import logging
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from nibabel.openers import ImageOpener
from nibabel.spatialimages import SpatialImage

from diffeode.errors import DamagedFileError, InputError, first_line

_SNIFFED_BYTES = 1024
"""Number of bytes that nibabel reads to recognise the format."""
_DEFLATE_AT_MOST = 1032
"""The largest factor by which deflate can compress a file (zlib's technical notes)."""
_LARGEST_EXTENSIONS = 64 * 2**20
"""Number of bytes of a compressed header's extensions that are read; nibabel itself reads as many
as the header claims.
"""
_CHUNK = 2**20
_TRAILING_AT_MOST = 16 * 2**20
"""Number of bytes after the voxels of a compressed file that are read, to reach its checksum."""
_BYTES_OF_VALUE = 8
_GZIP_MAGIC, _NIFTI_MAGIC_AT, _NIFTI_MAGICS = b"\x1f\x8b", 344, (b"n+1\0", b"ni1\0")
_MGH_VERSION = b"\0\0\0\1"


def opened(path: Path) -> SpatialImage:
    """Return the volume at ``path``, of which the header was read and the voxels were not.

    Raises:
        InputError: it is no volume, or its header cannot be read.
        DamagedFileError: it is truncated or damaged.
    """
    with one_sentence(path, "cannot be read as an image"):
        if _is_compressed(path):
            _require_small_extensions(path)
        volume = nib.load(path)
        _require_room(volume, path)
        _require_slope(volume, path)
    return volume


def array_of(volume: SpatialImage, path: Path) -> np.ndarray:
    """Return the voxels of ``volume`` with slope and intercept applied.

    A compressed file is read to its end, where its checksum stands.

    Raises:
        InputError: the voxels are colours or complex values.
        DamagedFileError: the file is truncated or damaged.
    """
    with one_sentence(path, "is truncated or damaged", damaged=True):
        data = np.asarray(_whole(volume, path).dataobj)
        if data.shape != volume.shape:
            raise EOFError
    if data.dtype.kind not in "biuf":
        raise InputError(
            f"{path} holds colours or complex values, not one real number per voxel; give a plain "
            "scan."
        )
    return data


def raw_header(volume: SpatialImage, path: Path) -> nib.Nifti1Header:
    """Return the NIfTI header as it stands in the file.

    The header that nibabel shows may differ, because nibabel repairs some faults in silence.

    Raises:
        InputError: it cannot be read.
    """
    with one_sentence(path, "cannot be read as an image"), ImageOpener(path) as handle:
        return type(volume.header).from_fileobj(handle, check=False)


def slope_of(volume: SpatialImage) -> float:
    """Return the factor by which the stored numbers are multiplied; 1 where they are the values."""
    return float(getattr(volume.dataobj, "slope", 1.0))


def stored_type(volume: SpatialImage) -> np.dtype:
    """Return the type of the numbers that the file stores."""
    return volume.get_data_dtype()


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first ``count`` bytes of a volume's file, decompressed.

    Raises:
        DamagedFileError: they cannot be decompressed.
    """
    opener = gzip.open if _is_compressed(path) else open
    with one_sentence(path, "cannot be read as an image"), opener(path, "rb") as file:
        return file.read(count)


def _is_compressed(path: Path) -> bool:
    """Return whether nibabel reads the file through gzip, which it decides by the name."""
    return path.name.lower().endswith((".gz", ".mgz"))


def _whole(volume: SpatialImage, path: Path) -> SpatialImage:
    """Return ``volume`` read from its whole file.

    A reader that stops after the voxels would not reach gzip's checksum. What follows the voxels is
    read and dropped piece by piece, because a small file may hold terabytes of zeros.
    """
    if not _is_compressed(path):
        return volume
    with gzip.open(path) as handle:
        content = handle.read(int(volume.dataobj.offset) + _claimed_bytes(volume))
        trailing = 0
        while piece := handle.read(_CHUNK):
            trailing += len(piece)
            if trailing > _TRAILING_AT_MOST:
                raise DamagedFileError(
                    f"{path} is damaged: it holds far more than the voxels that its header claims; "
                    "fetch or make it again."
                )
    return type(volume).from_bytes(content)


def _claimed_bytes(volume: SpatialImage) -> int:
    return math.prod(int(n) for n in volume.shape) * volume.get_data_dtype().itemsize


def _require_small_extensions(path: Path) -> None:
    """Raise :class:`DamagedFileError` where a compressed NIfTI header has extensions of a size that
    no header has.
    """
    with gzip.open(path) as handle:
        start = handle.read(_SNIFFED_BYTES)
        kinds = (nib.Nifti1Header, nib.Nifti2Header)
        kind = next((kind for kind in kinds if kind.may_contain_header(start)), None)
        if kind is None:
            return
        size = kind.template_dtype.itemsize
        header = kind(start[:size], check=False)
        place, ends = size + 4, float(header["vox_offset"])
        if start[size : size + 1] in (b"", b"\0"):
            return
        order = "big" if header.endianness == ">" else "little"
        while place < ends or ends <= size:
            handle.seek(place)
            length = int.from_bytes(handle.read(4), order, signed=True)
            if length <= 0:
                return
            place += length
            if place > _LARGEST_EXTENSIONS:
                raise DamagedFileError(
                    f"{path} is damaged: its header claims an extension of {length} bytes; fetch "
                    "or make it again."
                )


def _require_room(volume: SpatialImage, path: Path) -> None:
    """Raise :class:`DamagedFileError` where the header claims more voxels than the file can hold,
    and :class:`InputError` where it claims more than this computer's memory can hold.
    """
    claimed = _claimed_bytes(volume)
    largest = path.stat().st_size * (_DEFLATE_AT_MOST if _is_compressed(path) else 1)
    if claimed > largest:
        shown = " x ".join(str(int(n)) for n in volume.shape)
        raise DamagedFileError(
            f"{path} is truncated or damaged: its header claims {shown} voxels, more than the "
            "file can hold; fetch or make it again."
        )
    if math.prod(int(n) for n in volume.shape) * _BYTES_OF_VALUE > psutil.virtual_memory().total:
        raise MemoryError


def _require_slope(volume: SpatialImage, path: Path) -> None:
    """Raise :class:`InputError` for an infinite slope, which nibabel leaves out; NaN and 0 mean
    none.
    """
    if isinstance(volume.header, nib.Nifti1Header) and np.isinf(
        raw_header(volume, path)["scl_slope"]
    ):
        raise InputError(
            f"{path} has an infinite slope in its header (scl_slope); convert it anew from DICOM."
        )


@contextmanager
def one_sentence(path: Path, what: str, damaged: bool = False) -> Iterator[None]:
    """Turn whatever a library raises about ``path`` into one sentence, and silence its warnings.

    Args:
        what: what is wrong where the library raises something else than the known errors, such as
            ``"cannot be read as an image"``.
        damaged: whether such an error means that the file is damaged.

    Raises:
        InputError: the file cannot be read, or does not fit into memory.
        DamagedFileError: the file is truncated or damaged.
    """
    logger = logging.getLogger("nibabel.global")
    logged, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except (EOFError, zlib.error):
        raise DamagedFileError(f"{path} is truncated or damaged; fetch or make it again.") from None
    except MemoryError:
        raise InputError(
            f"{path} does not fit into this computer's memory; resample it to larger voxels."
        ) from None
    except Exception as error:  # nibabel's parsers raise whatever a broken header leads them to
        reason = first_line(error).rstrip(".")
        if damaged or _is_broken_gzip(path):
            raise DamagedFileError(
                f"{path} is truncated or damaged ({reason}); make it again."
            ) from None
        raise InputError(f"{path} {what} ({reason}){_what_it_is(path)}.") from None
    finally:
        logger.disabled = logged


def _is_broken_gzip(path: Path) -> bool:
    """Return whether a compressed file is damaged, or ends, before nibabel can recognise its
    format.
    """
    with open(path, "rb") as handle:
        if handle.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return False
    try:
        with gzip.open(path) as handle:
            handle.read(_SNIFFED_BYTES)
    except (EOFError, zlib.error, OSError):
        return True
    return False


def _what_it_is(path: Path) -> str:
    """Return what to do about a file that cannot be read, by comparing its content with
    its name.
    """
    with open(path, "rb") as handle:
        start = handle.read(_SNIFFED_BYTES)
    compressed = start.startswith(_GZIP_MAGIC)
    if compressed:
        with gzip.open(path) as handle:
            start = handle.read(_SNIFFED_BYTES)
    if start.startswith(_MGH_VERSION):
        fitting = ".mgz" if compressed else ".mgh"
    elif start[_NIFTI_MAGIC_AT : _NIFTI_MAGIC_AT + 4] in _NIFTI_MAGICS:
        fitting = ".nii.gz" if compressed else ".nii"
    else:
        return "; give a NIfTI or FreeSurfer file, converted anew where this one is broken"
    if path.name.endswith(fitting):
        return "; repair its header, or convert it anew from DICOM"
    return f"; by its content it is a {fitting} file, so give it a name that ends so"
