"""Reading of slices: pictures, NIfTI images of two axes, and volumes with a single layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.pictures import Picture, is_picture, read_picture
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice, laid_flat, thin_axis
from diffeode.geometry.space import Grid

_LEAST_PIXELS = 16


@final
@dataclass(frozen=True, eq=False)
class SliceFile:
    """A slice and how its file holds it.

    Attributes:
        image: intensities ``(X, Y, 1)``, in the units of the file; of colours their luminance.
        axis: the axis of the file's array that has one voxel; 2 for pictures.
        picture: the picture; None where the file is a NIfTI or FreeSurfer image.
    """

    image: Image
    axis: int = 2
    picture: Picture | None = None


def holds_slice(path: Path | str) -> bool:
    """Return whether the file at ``path`` holds a slice, by its name or by its header.

    Raises:
        InputError: the file is missing, or its header cannot be read.
    """
    # Axes after the third hold times or components, also where there is only one.
    return is_picture(path) or thin_axis(io.read_shape(path)[:3]) is not None


def are_slices(fixed: Path, moving: Path) -> bool:
    """Return whether both files hold slices.

    Raises:
        InputError: one of them does and the other does not, or a file cannot be read.
    """
    slices = [path for path in (fixed, moving) if holds_slice(path)]
    if len(slices) == 1:
        other = moving if slices[0] == fixed else fixed
        raise InputError(
            f"{slices[0]} is a slice and {other} is a volume; give two slices or two volumes."
        )
    return bool(slices)


def read_slice(path: Path | str, orientation: str | None = None) -> SliceFile:
    """Return the slice that the file at ``path`` holds.

    Args:
        orientation: as in :func:`diffeode.files.io.read_image`.

    Raises:
        InputError: the file is unusable as in :func:`diffeode.files.io.read_image` or
            :func:`diffeode.files.pictures.read_picture`, or has fewer than 16 pixels along an axis.
        DamagedFileError: the file is empty, truncated or damaged.
    """
    found = _read(path, orientation)
    found.image.check_usable(str(path))
    if not is_slice(found.image.grid) or min(found.image.grid.shape[:2]) < _LEAST_PIXELS:
        x, y, _ = found.image.grid.shape
        raise InputError(
            f"{path} has {x} x {y} pixels; a slice needs at least {_LEAST_PIXELS} along each axis."
        )
    return found


def read_flat_labels(path: Path | str, orientation: str | None = None) -> Labels:
    """Return the label map of a slice; the grey values of a picture are its ids.

    Args:
        orientation: as in :func:`diffeode.files.io.read_image`.

    Raises:
        InputError: the file is unusable, is a picture in colour, or its values are no ids.
        DamagedFileError: the file is empty, truncated or damaged.
    """
    if is_picture(path):
        picture = read_picture(path)
        if picture.values.shape[2] != 1 or picture.values.dtype.kind not in "iu":
            raise InputError(
                f"{path} is no label map: it is in colour or has fractions; give a grey picture "
                "whose values are the ids."
            )
        return Labels(picture.values, picture.grid)
    labels = io.read_labels(path, orientation)
    axis = thin_axis(labels.grid.shape)
    if axis is None:
        return labels
    return laid_flat(labels, axis)


def read_flat(path: Path | str, orientation: str | None = None) -> Image:
    """Return the intensities of a slice, which may be constant, such as a mask of ones.

    Raises:
        InputError, DamagedFileError: as for :func:`read_slice`.
    """
    return _read(path, orientation).image


def _read(path: Path | str, orientation: str | None) -> SliceFile:
    if is_picture(path):
        picture = read_picture(path)
        return SliceFile(picture.grey, 2, picture)
    volume = io.read_layer(path, orientation)
    axis = thin_axis(volume.grid.shape)
    if axis is None:
        raise InputError(
            f"{path} holds no slice: its shape is {volume.grid.shape}, and no axis has a length of "
            "1; give a picture or a single slice."
        )
    return SliceFile(laid_flat(volume, axis), axis)


def read_slice_labels(path: Path, grid: Grid, name: Path, orientation: str | None) -> Labels:
    """Return the label map of a slice, from a NIfTI or from a picture whose grey values are ids.

    Args:
        grid: the grid of the slice.
        name: the file of the slice, for messages.
        orientation: as in :func:`diffeode.files.slices.read_slice`.

    Raises:
        InputError: the file is unusable, holds no labels, or does not lie on ``grid``.
    """
    labels = read_flat_labels(path, orientation)
    if not labels.grid.matches(grid):
        raise InputError(
            f"Label map {path} does not lie on the grid of its slice {name}; resample it there "
            "with nearest neighbour."
        )
    if not labels.data.any():
        raise InputError(
            f"Label map {path} is empty (0 everywhere); remove it or give the right one."
        )
    return labels
