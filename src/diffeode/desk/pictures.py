"""Pictures at a desk: resampled in their own colours, with the colour of their background around
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffeode.errors import InputError
from diffeode.files.pictures import Picture
from diffeode.geometry.interpolate import interpolated
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Transform
from diffeode.prepare.slices import prepare_slice

_OPACITY_AFTER = (1, 3)
"""Numbers of colours after which a further channel is the opacity."""
_LEAST_OPACITY = 0.5
"""Least opacity that does not become 0 where it is rounded."""


def warped_picture(picture: Picture, tissue: np.ndarray, warp: Transform, grid: Grid) -> Picture:
    """Return ``picture`` on ``grid``, resampled once through ``warp`` in its own colours.

    What lies outside of it takes the median colour of its background.

    Args:
        tissue: what is not background in the picture, ``(X, Y, 1)`` bool.
        warp: the map from points of ``grid`` to points of the picture, RAS mm.
    """
    voxels = picture.grid.to_voxel(warp(grid.points_mm()))
    colours = _colour_of_background(picture, tissue)
    planes = [
        interpolated(picture.values[..., None, channel].astype(np.float64), voxels, "linear", fill)
        for channel, fill in enumerate(colours)
    ]
    separate = np.stack(planes, axis=-1)
    return as_picture(without_hidden_colours(separate, picture, voxels, "linear"), picture)


def without_hidden_colours(
    values: np.ndarray, picture: Picture, voxels: np.ndarray, how: str
) -> np.ndarray:
    """Return resampled colours to which each pixel contributed as much as it is opaque.

    The colours are multiplied by the opacity, resampled, and divided by the resampled opacity
    (Porter and Duff, SIGGRAPH 1984), so that colours of invisible pixels do not bleed into visible
    ones. Invisible results, and those outside of the picture, stay as they were.

    Args:
        values: the channels, each resampled by itself, ``(..., C)``.
        voxels: the voxel coordinates in the picture that they were taken at, ``(..., 3)``.
        how: the interpolation, one of :data:`diffeode.geometry.interpolate.INTERPOLATIONS`.
    """
    colours = picture.values.shape[2] - 1
    opacity = picture.values[..., None, -1].astype(np.float64)
    if colours not in _OPACITY_AFTER or how == "nearest" or np.ptp(opacity) == 0:
        return values
    there = interpolated(opacity, voxels, how)
    visible = there >= _LEAST_OPACITY
    mended = values.copy()
    for channel in range(colours):
        weighted = picture.values[..., None, channel] * opacity
        found = interpolated(weighted, voxels, how)
        mended[visible, channel] = found[visible] / there[visible]
    return mended


def background_of(picture: Picture, name: str) -> list[float]:
    """Return the median colour of the background of ``picture``, one number for each channel; 0
    where tissue fills the picture.

    Args:
        name: what messages call the picture.
    """
    try:
        tissue = prepare_slice(picture.grey, name).tissue
    except InputError:  # it shows nothing but background
        tissue = np.zeros(picture.grid.shape, dtype=bool)
    return _colour_of_background(picture, tissue)


def as_picture(values: np.ndarray, like: Picture) -> Picture:
    """Return ``values (X, Y, 1, C)`` as a picture whose numbers are of the type of those of
    ``like``.
    """
    values = values[:, :, 0, :]
    if like.values.dtype.kind in "iu":
        limits = np.iinfo(like.values.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return Picture(values.astype(like.values.dtype), like.suffix, like.profile)


def one_colour(value: float, picture: Picture, name: str) -> Sequence[float]:
    """Return ``value`` for every colour of ``picture``, with full opacity.

    Raises:
        InputError: no pixel of the picture can have the value.
    """
    kind = picture.values.dtype
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        if value != np.rint(value) or not limits.min <= value <= limits.max:
            raise InputError(
                f"The background {value:g} is no value of the picture {name}; give a whole number "
                f"from {limits.min} to {limits.max}."
            )
    channels = picture.values.shape[2]
    has_opacity = channels in (2, 4)
    return [
        float(np.iinfo(kind).max) if has_opacity and channel == channels - 1 else value
        for channel in range(channels)
    ]


def _colour_of_background(picture: Picture, tissue: np.ndarray) -> list[float]:
    background = picture.values[~tissue[..., 0]]
    channels = picture.values.shape[2]
    if not len(background):
        return [0.0] * channels
    colour = np.median(background, axis=0)
    if channels - 1 in _OPACITY_AFTER and colour[-1] > 0:
        colour[:-1] = np.median(background[background[:, -1] > 0, :-1], axis=0)
    return [float(value) for value in colour]
