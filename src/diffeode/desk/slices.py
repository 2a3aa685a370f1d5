"""What the desk does for slices alone: how their files hold them, and pictures in their own
colours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import WARPED_PICTURE
from diffeode.files.pictures import Picture, write_picture
from diffeode.geometry.image import sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Transform
from diffeode.registration.harness import Result, Task


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
    outside = np.any(outside, axis=-1)[..., 0]
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
