"""Volumes as their files hold them, whatever is wrong with the file said in one sentence that names
it.

The only home of nibabel's opening of files: what it raises of a file, it raises here.
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
from nibabel.openers import ImageOpener
from nibabel.spatialimages import SpatialImage

from diffeode.errors import DamagedFileError, InputError, first_line

_SNIFFED_BYTES = 1024  # what nibabel reads to tell the format
_DEFLATE_AT_MOST = (
    1032  # times that compression by deflate makes a file smaller, at most (zlib's technical notes)
)
_GZIP_MAGIC, _NIFTI_MAGIC_AT, _NIFTI_MAGICS = b"\x1f\x8b", 344, (b"n+1\0", b"ni1\0")
_MGH_VERSION = b"\0\0\0\1"


def opened(path: Path) -> SpatialImage:
    """The volume at ``path``, its header read and its voxels not yet.

    Raises:
        InputError: no volume, or a header that nobody can read or that no computer can hold.
        DamagedFileError: truncated, or damaged.
    """
    with one_sentence(path, "cannot be read as an image"):
        volume = nib.load(path)
        _require_room(volume, path)
        _require_slope(volume, path)
    return volume


def array_of(volume: SpatialImage, path: Path) -> np.ndarray:
    """The voxels of ``volume``, slope and intercept applied; compressed files are read to their
    checksum.

    Raises:
        InputError: colours or complex values.
        DamagedFileError: truncated, or damaged.
    """
    with one_sentence(path, "is truncated or damaged", damaged=True):
        data = np.asarray(_whole(volume, path).dataobj)
    if data.dtype.kind not in "biuf":
        raise InputError(
            f"{path} holds colours or complex values, not one real number per voxel; give a plain "
            "scan."
        )
    return data


def raw_header(volume: SpatialImage, path: Path) -> nib.Nifti1Header:
    """The NIfTI header as it is in the file: nibabel repairs some of it in silence when it opens a
    volume.

    Raises:
        InputError: it cannot be read.
    """
    with one_sentence(path, "cannot be read as an image"), ImageOpener(path) as handle:
        return type(volume.header).from_fileobj(handle, check=False)


def slope_of(volume: SpatialImage) -> float:
    """What stored numbers are multiplied by; 1 where they are the values."""
    return float(getattr(volume.dataobj, "slope", 1.0))


def stored_type(volume: SpatialImage) -> np.dtype:
    """The type of number that the file holds."""
    return volume.get_data_dtype()


def first_bytes(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of a volume's file, decompressed.

    Raises:
        DamagedFileError: they cannot be decompressed.
    """
    opener = gzip.open if _is_compressed(path) else open
    with one_sentence(path, "cannot be read as an image"), opener(path, "rb") as file:
        return file.read(count)


def _is_compressed(path: Path) -> bool:
    """Whether nibabel reads the file through gzip, which it tells by the name."""
    return path.name.lower().endswith((".gz", ".mgz"))


def _whole(volume: SpatialImage, path: Path) -> SpatialImage:
    """``volume`` from all of its file: reading no more than the voxels would leave gzip's checksum
    unread.
    """
    if not _is_compressed(path):
        return volume
    with gzip.open(path) as handle:
        return type(volume).from_bytes(handle.read())


def _require_room(volume: SpatialImage, path: Path) -> None:
    """Raise :class:`DamagedFileError` where the header claims more voxels than the file
    can hold.
    """
    claimed = math.prod(int(n) for n in volume.shape) * volume.get_data_dtype().itemsize
    largest = path.stat().st_size * (_DEFLATE_AT_MOST if _is_compressed(path) else 1)
    if claimed > largest:
        shown = " x ".join(str(int(n)) for n in volume.shape)
        raise DamagedFileError(
            f"{path} is truncated or damaged: its header claims {shown} voxels, more than the "
            "file can hold; fetch or make it again."
        )


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
    """Whatever a library raises of ``path`` as one sentence; what it would fix in silence or log,
    it does not log.

    Args:
        damaged: whether errors that may have any cause are to be taken for damage.
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
        if damaged or _ends_within_header(path):
            raise DamagedFileError(
                f"{path} is truncated or damaged ({reason}); make it again."
            ) from None
        raise InputError(f"{path} {what} ({reason}){_what_it_is(path)}.") from None
    finally:
        logger.disabled = logged


def _ends_within_header(path: Path) -> bool:
    """Whether a compressed file breaks off so early that nibabel does not recognise its format."""
    try:
        with gzip.open(path) as handle:
            handle.read(_SNIFFED_BYTES)
    except (EOFError, zlib.error):
        return True
    except OSError:
        return False
    return False


def _what_it_is(path: Path) -> str:
    """What to do about a file whose content is of another kind than its name says; empty where that
    is unknown.
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
