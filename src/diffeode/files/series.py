"""Images of any number of volumes: scans, slices, pictures, 4-D series and images of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from diffeode.errors import InputError
from diffeode.files import io, volumes
from diffeode.files.headers import grid_of
from diffeode.files.pictures import Picture, is_picture, read_picture
from diffeode.geometry.space import Grid

_MOST_AXES = 7
_DIRECTED = {
    1004: "tensor",
    1005: "tensor",
    1006: "vector",
    1007: "vector",
    2006: "vector",
}
"""Kinds of directed values by the intents of NIfTI (nifti1.h) and, 2006, of FSL."""


@final
@dataclass(frozen=True, eq=False)
class Series:
    """One or more volumes on one grid.

    Attributes:
        values: ``(X, Y, Z, N)`` with N volumes, as the file holds them with slope and intercept.
            The volumes of a picture are its colours, of one layer each.
        grid: the grid of each volume.
        beyond: the sizes of the axes after the third, as the file has them; empty for a 3-D image.
        header: the header of the file, for what it says of those axes; None where there is none.
        slope: the factor by which the stored numbers are multiplied.
        stored: the type of the numbers in the file.
        picture: the picture; None where the file is none.
    """

    values: np.ndarray
    grid: Grid
    beyond: tuple[int, ...]
    header: nib.Nifti1Header | None
    slope: float
    stored: np.dtype
    picture: Picture | None = None

    @property
    def directed(self) -> str:
        """The kind of directed values whose components the volumes are, as the header says it:
        ``vector``, ``tensor`` or, for all other images, an empty text.
        """
        return "" if self.header is None else _DIRECTED.get(int(self.header["intent_code"]), "")

    def volumes(self) -> Iterator[np.ndarray]:
        """Yield each volume, ``(X, Y, Z)``."""
        for number in range(self.values.shape[3]):
            yield self.values[..., number]


def read_series(path: Path | str, orientation: str | None = None) -> Series:
    """Return a picture, or an image of two to seven axes; one of two becomes ``(X, Y, 1)``.

    Args:
        orientation: as in :func:`diffeode.files.io.read_image`.

    Raises:
        InputError: the file is missing or no image, has one axis, has a value that is NaN or
            infinite, or its header does not state the orientation.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    if is_picture(path):
        return _series_of_picture(read_picture(path))
    volume = io.open_volume(path)
    shape = _shape_of(volume, path)
    grid = grid_of(volume, shape[:3], path, orientation)
    values = volumes.array_of(volume, path)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{path} has {bad} voxels that are NaN or infinite; repair or mask them first."
        )
    header = volume.header if isinstance(volume.header, nib.Nifti1Header) else None
    return Series(
        values.reshape(*grid.shape, -1),
        grid,
        shape[3:],
        header,
        volumes.slope_of(volume),
        volumes.stored_type(volume),
    )


def read_grid_of_series(path: Path | str, orientation: str | None = None) -> Grid:
    """Return the grid of a picture, or of the volumes of an image, whose voxels are not read.

    Raises:
        InputError: the file is missing or no image, or its header does not state the orientation.
        DamagedFileError: the file is empty, or truncated within the header.
    """
    path = Path(path)
    if is_picture(path):
        return read_picture(path).grid
    volume = io.open_volume(path)
    return grid_of(volume, _shape_of(volume, path)[:3], path, orientation)


def _shape_of(volume: SpatialImage, path: Path) -> tuple[int, ...]:
    """Return the shape of an image, to which an axis of one voxel is added where it has two."""
    shape = tuple(int(n) for n in volume.shape)
    if not 2 <= len(shape) <= _MOST_AXES:
        raise InputError(f"{path} is {len(shape)}-D with shape {shape}; give a 3-D or 4-D image.")
    return (*shape, 1) if len(shape) == 2 else shape


def _series_of_picture(picture: Picture) -> Series:
    colours = picture.values.shape[2]
    return Series(
        picture.values[:, :, None, :],
        picture.grid,
        (colours,) if colours > 1 else (),
        None,
        1.0,
        picture.values.dtype,
        picture,
    )


def as_nifti(values: np.ndarray, grid: Grid, like: Series) -> nib.Nifti1Image:
    """Return ``values (X, Y, Z, N)`` on ``grid`` as NIfTI, with the further axes of ``like``.

    Whole numbers become int32, others float32. The steps, the unit of time and the intent of the
    further axes stay.
    """
    kind = np.int32 if values.dtype.kind in "biu" else np.float32
    nifti = io.nifti_of(values.reshape(*grid.shape, *like.beyond).astype(kind), grid)
    if like.header is not None:
        nifti.header["intent_code"] = like.header["intent_code"]
        if like.beyond:
            steps = like.header.get_zooms()[3 : 3 + len(like.beyond)]
            nifti.header.set_zooms((*nifti.header.get_zooms()[:3], *steps))
            nifti.header.set_xyzt_units("mm", like.header.get_xyzt_units()[1])
    return nifti
