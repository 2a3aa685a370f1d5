"""The picture of a registration at a desk."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from diffeode import io
from diffeode.figures.pair_panel import pair_panel
from diffeode.methods.harness import Result, Task
from diffeode.transform import warp_image


def draw_overview(result: Result, task: Task, title: str, path: Path) -> None:
    """The panel of the study's report; it reads files, so the pair is laid out for it in a scratch folder.

    The map is taken from ``warp.nii.gz`` beside ``path``. A panel that fails is said on stderr, no more.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch)
        io.write_image(folder / "fixed.nii.gz", task.fixed)
        io.write_image(folder / "moving.nii.gz", task.moving)
        io.write_image(folder / "warped.nii.gz", warp_image(task.moving_scan, result.warp, task.fixed.grid))
        io.write_affine(folder / "moving_to_scan.txt", task.moving_to_scan)
        shutil.copyfile(path.parent / "warp.nii.gz", folder / "warp.nii.gz")
        try:
            pair_panel(folder, folder, title, path)
        except Exception as error:  # a registration is worth more than its picture
            print(f"\ndiffeode: no {path.name} ({type(error).__name__}: {error})", file=sys.stderr)
