"""What is drawn of a registration at a desk."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.pictures import warped_picture
from diffeode.figures.pair_panel import Scene, draw_scene, scene_of
from diffeode.figures.slice_panel import SliceScene, draw_slices
from diffeode.files.pictures import Picture
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import DisplacementField, warp_image, warp_on_own_grid
from diffeode.registration.harness import Task

_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    from diffeode.desk.registration import Registered
    from diffeode.desk.start import BentStart


def draw_pair(registered: Registered, path: Path) -> None:
    """Draw both images, the warped one and the deformation to ``path``."""
    draw(scene_of_registered(registered), registered.title, path)


def draw(scene: Scene | SliceScene, title: str, path: Path) -> None:
    """Draw what ``scene`` holds to ``path``."""
    if isinstance(scene, SliceScene):
        draw_slices(scene, title, path)
    else:
        draw_scene(scene, title, path)


def scene_of_registered(registered: Registered) -> Scene | SliceScene:
    """Return what is drawn of a registered pair."""
    return scene_of_pair(
        registered.inputs, registered.result.warp, registered.task, registered.bent
    )


def scene_of_pair(
    inputs: Inputs, whole: DisplacementField, task: Task, bent: BentStart | None = None
) -> Scene | SliceScene:
    """Return what is drawn of the pair ``task`` that was registered by the map ``whole``.

    Args:
        bent: the start where that was no affine.
    """
    if is_slice(task.fixed.grid):
        return scene_of_slices(inputs, whole, task, bent)
    return scene_of_maps(whole, task)


def scene_of_maps(whole: DisplacementField, task: Task) -> Scene:
    """Return what is drawn of the pair ``task`` that was registered by the map ``whole``."""
    warped = warp_on_own_grid(task.moving_scan, whole)
    return scene_of(task.fixed, task.moving, warped, whole, task.moving_to_scan)


def scene_of_slices(
    inputs: Inputs, whole: DisplacementField, task: Task, bent: BentStart | None = None
) -> SliceScene:
    """Return what is drawn of a pair of slices that was registered by the map ``whole``; two
    pictures are shown in their own colours.

    Args:
        bent: the start where that was no affine.
    """
    grid = task.fixed.grid
    fixed, moving = (slice_.picture for slice_ in inputs.slices) if inputs.slices else (None, None)
    if fixed is None or moving is None:
        warped = warp_image(task.moving_scan, whole, grid)
        before, aligned, after = (i.data[..., 0] for i in (task.fixed, task.moving, warped))
    else:
        tissue = task.moving_scan.data > 0
        start = bent.forward if bent else task.moving_to_scan
        before = _colours(fixed)
        aligned = _colours(warped_picture(moving, tissue, start, grid))
        after = _colours(warped_picture(moving, tissue, whole, grid))
    return SliceScene(
        grid,
        before,
        aligned,
        after,
        task.fixed.data[..., 0] > 0,
        whole,
        task.moving_to_scan,
        "mm" if fixed is None else "pixels",
    )


@contextmanager
def worth_less_than_the_maps(name: str) -> Iterator[None]:
    """Let no error in the block end the registration: a message on standard error says that there
    is no file ``name``, and why.
    """
    try:
        yield
    except Exception as error:  # a registration is worth more than its pictures
        print(f"\ndiffeode: no {name} ({type(error).__name__}: {error})", file=sys.stderr)
        _LOG.info("why there is no %s:", name, exc_info=error)


def _colours(picture: Picture) -> np.ndarray:
    """Return red, green and blue in [0, 1], ``(X, Y, 3)``."""
    values = picture.values.astype(np.float32)
    colours = values[..., :3] if values.shape[2] > 2 else np.repeat(values[..., :1], 3, axis=2)
    if picture.values.dtype == np.uint8:
        return colours / 255
    low, high = np.percentile(colours, (0.1, 99.9))
    return np.clip((colours - low) / max(high - low, 1e-9), 0, 1)
