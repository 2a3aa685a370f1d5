"""Draw the picture of a registration at a desk."""

from __future__ import annotations

import sys
from pathlib import Path

from diffeode.figures.pair_panel import draw_scene, scene_of
from diffeode.geometry.transform import warp_image
from diffeode.registration.harness import Result, Task


def draw_overview(result: Result, task: Task, title: str, path: Path) -> None:
    """Draw the panel of the pair, as in a study's report, to ``path``.

    Where drawing fails, a message on standard error says so, and no error is raised.
    """
    warped = warp_image(task.moving_scan, result.warp, task.fixed.grid)
    try:
        scene = scene_of(task.fixed, task.moving, warped, result.warp, task.moving_to_scan)
        draw_scene(scene, title, path)
    except Exception as error:  # a registration is worth more than its picture
        print(f"\ndiffeode: no {path.name} ({type(error).__name__}: {error})", file=sys.stderr)
