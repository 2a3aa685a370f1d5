"""Images of any number of volumes: 3-D scans, 4-D series and images of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import nibabel as nib
import numpy as np

from diffeode.errors import InputError
from diffeode.files import io, volumes
from diffeode.files.headers import grid_of
from diffeode.geometry.space import Grid

_MOST_AXES = 7


@final
@dataclass(frozen=True, eq=False)
class Series:
    """One or more volumes on one grid.

    Attributes:
        values: ``(X, Y, Z, N)`` with N volumes, as the file holds them with slope and intercept.
        grid: the grid of each volume.
        beyond: the sizes of the axes after the third, as the file has them; empty for a 3-D image.
        header: the header of the file, for what it says of those axes; None where there is none.
        slope: the factor by which the stored numbers are multiplied.
        stored: the type of the numbers in the file.
    """

    values: np.ndarray
    grid: Grid
    beyond: tuple[int, ...]
    header: nib.Nifti1Header | None
    slope: float
    stored: np.dtype

    @property
    def is_vectors(self) -> bool:
        """Whether the header says that the volumes are the components of vectors."""
        return self.header is not None and int(self.header["intent_code"]) in (1006, 1007, 2006)

    def volumes(self) -> Iterator[np.ndarray]:
        """Yield each volume, ``(X, Y, Z)``."""
        for number in range(self.values.shape[3]):
            yield self.values[..., number]


def read_series(path: Path | str, orientation: str | None = None) -> Series:
    """Return an image of three to seven axes.

    Args:
        orientation: as in :func:`diffeode.files.io.read_image`.

    Raises:
        InputError: the file is missing or no image, has fewer than three axes, has a value that is
            NaN or infinite, or its header does not state the orientation.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    volume = io.open_volume(path)
    shape = tuple(int(n) for n in volume.shape)
    if not 3 <= len(shape) <= _MOST_AXES:
        raise InputError(f"{path} is {len(shape)}-D with shape {shape}; give a 3-D or 4-D image.")
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
    """Return the grid of the volumes of an image, whose voxels are not read.

    Raises:
        InputError: the file is missing or no image, or its header does not state the orientation.
        DamagedFileError: the file is empty, or truncated within the header.
    """
    path = Path(path)
    volume = io.open_volume(path)
    shape = tuple(int(n) for n in volume.shape[:3])
    if len(shape) < 3:
        raise InputError(f"{path} is {len(shape)}-D with shape {shape}; give a 3-D or 4-D image.")
    return grid_of(volume, shape, path, orientation)


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
