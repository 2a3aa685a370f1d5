"""What the desk does for slices alone: how their files hold them, and pictures in their own
colours.
"""

from __future__ import annotations

from pathlib import Path

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import WARPED_PICTURE
from diffeode.desk.pictures import warped_picture
from diffeode.files.pictures import write_picture
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
