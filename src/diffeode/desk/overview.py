"""Draw the picture of a registration at a desk."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.slices import warped_picture
from diffeode.figures.pair_panel import draw_scene, scene_of
from diffeode.figures.slice_panel import SliceScene, draw_slices
from diffeode.files.pictures import Picture
from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import warp_image
from diffeode.registration.harness import Result, Task


def draw_overview(inputs: Inputs, result: Result, task: Task, title: str, path: Path) -> None:
    """Draw the panel of the pair, as in a study's report, to ``path``.

    Where drawing fails, a message on standard error says so, and no error is raised.
    """
    warped = warp_image(task.moving_scan, result.warp, task.fixed.grid)
    try:
        if is_slice(task.fixed.grid):
            draw_slices(_scene_of_slices(inputs, result, task, warped), title, path)
            return
        scene = scene_of(task.fixed, task.moving, warped, result.warp, task.moving_to_scan)
        draw_scene(scene, title, path)
    except Exception as error:  # a registration is worth more than its picture
        print(f"\ndiffeode: no {path.name} ({type(error).__name__}: {error})", file=sys.stderr)


def _scene_of_slices(inputs: Inputs, result: Result, task: Task, warped: Image) -> SliceScene:
    """Return what is drawn of a pair of slices; two pictures are shown in their own colours."""
    fixed, moving = (slice_.picture for slice_ in inputs.slices) if inputs.slices else (None, None)
    grid = task.fixed.grid
    if fixed is None or moving is None:
        shown = [image.data[..., 0] for image in (task.fixed, task.moving, warped)]
    else:
        tissue, maps = task.moving_scan.data > 0, (task.moving_to_scan, result.warp)
        moved = [warped_picture(moving, tissue, one, grid) for one in maps]
        shown = [_colours(picture) for picture in (fixed, *moved)]
    unit, tissue = "mm" if fixed is None else "pixels", task.fixed.data[..., 0] > 0
    return SliceScene(
        grid, shown[0], shown[1], shown[2], tissue, result.warp, task.moving_to_scan, unit
    )


def _colours(picture: Picture) -> np.ndarray:
    """Return red, green and blue in [0, 1], ``(X, Y, 3)``."""
    values = picture.values.astype(np.float32)
    colours = values[..., :3] if values.shape[2] > 2 else np.repeat(values[..., :1], 3, axis=2)
    if picture.values.dtype == np.uint8:
        return colours / 255
    low, high = np.percentile(colours, (0.1, 99.9))
    return np.clip((colours - low) / max(high - low, 1e-9), 0, 1)
