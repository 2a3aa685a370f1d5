"""What is drawn of a registration at a desk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffeode.figures.pair_panel import Scene, scene_of
from diffeode.geometry.transform import DisplacementField, warp_image
from diffeode.registration.harness import Task


def scene_of_maps(whole: DisplacementField, task: Task) -> Scene:
    """Return what is drawn of the pair ``task`` that was registered by the map ``whole``."""
    warped = warp_image(task.moving_scan, whole, task.fixed.grid)
    return scene_of(task.fixed, task.moving, warped, whole, task.moving_to_scan)


@contextmanager
def worth_less_than_the_maps(name: str) -> Iterator[None]:
    """Let no error in the block end the registration: a message on standard error says that there
    is no file ``name``, and why.
    """
    try:
        yield
    except Exception as error:  # a registration is worth more than its pictures
        print(f"\ndiffeode: no {name} ({type(error).__name__}: {error})", file=sys.stderr)
