"""What the desk does for slices alone: their preparation and alignment, and pictures in their own
colours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import WARPED_PICTURE
from diffeode.errors import InputError
from diffeode.files.pictures import Picture, write_picture
from diffeode.files.slices import SliceFile
from diffeode.geometry.image import Image, sample
from diffeode.geometry.plane import affine_between
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Transform
from diffeode.prepare.slice_alignment import align_slices
from diffeode.prepare.slices import prepare_slice
from diffeode.registration.base import Machine
from diffeode.registration.harness import Result, Task


def slices_task(inputs: Inputs, alignment: str, machine: Machine) -> Task:
    """Return the prepared and aligned pair of two slices.

    Beyond its field of view the moving slice goes on with the values at its border where it has
    tissue there.

    Args:
        alignment: a kind of :data:`diffeode.prepare.slice_alignment.KINDS`, or ``none``.

    Raises:
        InputError: a slice is unusable, a grid is sheared, or the slices do not meet.
        RegistrationError: the alignment failed.
    """
    fixed, moving = (
        prepare_slice(image, name, _opaque(slice_)).image
        for image, name, slice_ in zip(
            (inputs.fixed, inputs.moving),
            (inputs.fixed_name, inputs.moving_name),
            inputs.slices or (None, None),
            strict=True,
        )
    )
    machine.progress(0.0, "aligning")
    if alignment == "none":
        to_scan = affine_between(np.eye(3), fixed.grid, moving.grid)
    else:
        to_scan = align_slices(fixed, moving, alignment, machine.threads, machine.seed)
    voxels = moving.grid.to_voxel(to_scan(fixed.grid.points_mm()))
    within = np.clip(voxels, 0, np.array(moving.grid.shape) - 1)
    seen = (np.abs(voxels - within) <= 0.5).all(axis=-1)
    aligned = Image(sample(moving.data, within, order=1), fixed.grid)
    if not (seen & (aligned.data > 0)).any():
        raise InputError(
            "The moving slice lies wholly outside the fixed one; let the alignment be found, or "
            "check the positions in the headers."
        )
    return Task(fixed, aligned, moving, to_scan)


def _opaque(slice_: SliceFile | None) -> np.ndarray | None:
    """Return the pixels of a picture that are not transparent; None where all are seen."""
    return None if slice_ is None or slice_.picture is None else slice_.picture.opaque[..., None]


def thin_axes(inputs: Inputs) -> tuple[int, int]:
    """Return the axis of one voxel in the files of the fixed and the moving image."""
    return (inputs.slices[0].axis, inputs.slices[1].axis) if inputs.slices else (2, 2)


def write_warped_picture(inputs: Inputs, task: Task, result: Result, folder: Path) -> None:
    """Write the moving picture on the fixed grid, in its own colours and kind of file.

    Nothing is written where the moving image is no picture.
    """
    picture = inputs.slices[1].picture if inputs.slices else None
    if picture is not None:
        tissue = task.moving_scan.data > 0
        warped = warped_picture(picture, tissue, result.warp, task.fixed.grid)
        write_picture(folder / f"{WARPED_PICTURE}{picture.suffix}", warped)


def warped_picture(picture: Picture, tissue: np.ndarray, warp: Transform, grid: Grid) -> Picture:
    """Return ``picture`` on ``grid``, resampled once through ``warp`` in its own colours.

    What lies outside of it takes the median colour of its background.

    Args:
        tissue: what is not background in the picture, ``(X, Y, 1)`` bool.
        warp: the map from points of ``grid`` to points of the picture, RAS mm.
    """
    voxels = picture.grid.to_voxel(warp(grid.points_mm()))
    outside = (voxels < -0.5) | (voxels > np.array(picture.grid.shape) - 0.5)
    outside = outside.any(axis=-1)[..., 0]
    background = picture.values[~tissue[..., 0]]
    channels = []
    for channel in range(picture.values.shape[2]):
        plane = picture.values[..., channel, None]
        values = sample(plane.astype(np.float64), voxels, order=1)[..., 0]
        fill = np.median(background[:, channel]) if len(background) else 0
        channels.append(np.where(outside, fill, values))
    values = np.stack(channels, axis=-1)
    if picture.values.dtype.kind in "iu":
        limits = np.iinfo(picture.values.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return Picture(values.astype(picture.values.dtype), picture.suffix, picture.profile)
