"""Images as users give them to the library: paths, nibabel's images, arrays and tensors with an
affine, and images of this package.

Whatever is no path is checked as a file with the same content would be, by the same readers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.files.series import Series, read_grid_of_series, read_series
from diffeode.files.slices import (
    holds_slice,
    read_flat_labels,
    read_slice,
    read_slice_labels,
)
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice, laid_flat, thin_axis
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.prepare.scan import read_scan_labels

ImageLike: TypeAlias = (
    "str | os.PathLike[str] | SpatialImage | Image | Labels | tuple[Any, np.ndarray]"
)
"""An image as users give it.

- A path of a NIfTI or FreeSurfer file.
- An image of nibabel.
- ``(array, affine)``: an array of NumPy or a tensor of torch, ``(X, Y, Z)``, and the matrix ``(4,
  4)`` from voxel index to RAS mm.
- An :class:`~diffeode.geometry.image.Image` or a :class:`~diffeode.geometry.image.Labels`.
"""
GridLike: TypeAlias = "ImageLike | Grid"
"""An image, of which only the grid counts, or a grid."""


def image_of(given: ImageLike, name: str, orientation: str | None = None) -> Image:
    """Return a 3-D scan, or a slice, whose thin axis becomes the last one.

    Args:
        name: what messages call an image that is no file.
        orientation: as in :func:`diffeode.files.io.read_image`.

    Raises:
        InputError: it is unusable, as :func:`diffeode.files.io.read_image` and
            :func:`diffeode.files.slices.read_slice` tell.
    """
    if isinstance(given, Image):
        given.check_usable(name)
        axis = thin_axis(given.grid.shape)
        return given if axis is None else laid_flat(given, axis)
    with as_file(given, name) as path:
        if holds_slice(path):
            return read_slice(path, orientation).image
        return io.read_image(path, orientation)


def labels_of(given: ImageLike, name: str, orientation: str | None = None) -> Labels:
    """Return a 3-D label map, or that of a slice, whose thin axis becomes the last one.

    Raises:
        InputError: it is unusable, as :func:`diffeode.files.io.read_labels` tells.
    """
    if isinstance(given, Labels):
        axis = thin_axis(given.grid.shape)
        return given if axis is None else laid_flat(given, axis)
    with as_file(given, name) as path:
        return read_flat_labels(path, orientation)


def labels_on(
    grid: Grid, given: ImageLike, name: str, scan_name: str, orientation: str | None = None
) -> Labels:
    """Return the label map of a scan on ``grid``.

    Raises:
        InputError: it is unusable, empty, or does not lie on the grid
            (:func:`diffeode.prepare.scan.read_scan_labels`).
    """
    read = read_slice_labels if is_slice(grid) else read_scan_labels
    with as_file(given, name) as path:
        return read(path, grid, Path(scan_name), orientation)


def series_of(given: ImageLike, name: str, orientation: str | None = None) -> Series:
    """Return an image of one or more volumes.

    Raises:
        InputError: it is unusable, as :func:`diffeode.files.series.read_series` tells.
    """
    if isinstance(given, Series):
        return given
    with as_file(given, name) as path:
        return read_series(path, orientation)


def grid_of(given: GridLike, name: str, orientation: str | None = None) -> Grid:
    """Return the grid of an image, or the grid that was given.

    Raises:
        InputError: the image is unusable, or its header does not state the orientation.
    """
    if isinstance(given, Grid):
        return given
    if isinstance(given, Image | Labels):
        return given.grid
    with as_file(given, name) as path:
        return read_grid_of_series(path, orientation)


def field_of(given: ImageLike, name: str) -> DisplacementField:
    """Return an ITK displacement field, LPS mm, as a map in RAS mm.

    Raises:
        InputError: it is none (:func:`diffeode.files.io.read_displacement`).
    """
    with as_file(given, name) as path:
        return io.read_displacement(path)


def name_of(given: object, name: str) -> str:
    """Return what messages call an image: its path, or ``name`` where it is no file."""
    return os.fspath(given) if isinstance(given, str | os.PathLike) else name


@contextmanager
def as_file(given: ImageLike, name: str) -> Iterator[Path]:
    """Yield a file that holds what was given: its own, or one that is removed afterwards.

    Raises:
        InputError: the block raises it, and ``name`` stands in place of the temporary file's name;
            or nothing of that kind can be an image.
    """
    if isinstance(given, str | os.PathLike):
        yield Path(given)
        return
    volume = _as_volume(given, name)
    with tempfile.TemporaryDirectory(prefix="diffeode-") as folder:
        suffix = ".mgh" if isinstance(volume, nib.MGHImage) else ".nii"
        path = Path(folder) / f"image{suffix}"
        nib.save(volume, path)
        try:
            yield path
        except DamagedFileError as error:
            raise DamagedFileError(str(error).replace(str(path), name)) from None
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None


def _as_volume(given: Any, name: str) -> SpatialImage:
    if isinstance(given, Image | Labels):
        return io.nifti_of(given.data, given.grid)
    if isinstance(given, nib.Nifti1Pair | nib.MGHImage):
        return given
    if isinstance(given, SpatialImage):
        return _nifti_of_array(np.asanyarray(given.dataobj), given.affine, name)
    if isinstance(given, tuple) and len(given) == 2:
        return _nifti_of_array(_as_array(given[0], name), _as_array(given[1], name), name)
    raise InputError(
        f"{name} is given as {type(given).__name__}; give a path, an image of nibabel, or a pair "
        "(array, affine) whose affine leads from voxel index to RAS mm."
    )


def _nifti_of_array(array: np.ndarray, affine: np.ndarray, name: str) -> nib.Nifti1Image:
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"The array of {name} holds {array.dtype} and no real numbers; give real numbers."
        )
    if affine.shape != (4, 4):
        raise InputError(
            f"The affine of {name} has the shape {affine.shape}; give the matrix (4, 4) from voxel "
            "index to RAS mm."
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    elif array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        array = array.astype(np.float64)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    return io.nifti_of(array, Grid((1, 1, 1), affine.astype(np.float64)))


def _as_array(value: Any, name: str) -> np.ndarray:
    """Return an array of NumPy for an array or a tensor of torch on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} is given with a {type(value).__name__} in place of an array; give an array."
        ) from None
