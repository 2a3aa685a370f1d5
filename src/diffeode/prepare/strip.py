"""Finding the brain in a whole head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeode import io
from diffeode.datasets.scan import Scan
from diffeode.image import Image, Labels
from diffeode.prepare.backends import backend, limits, naming, programs, told
from diffeode.prepare.units import MASK, Before, about
from diffeode.receipt import write_receipt


def strip(scan: Scan, choice: str, before: Before, folder: Path, threads: int = 1) -> None:
    """Write the brain that ``choice`` finds, on the scan's own grid, to ``folder``.

    Raises:
        InputError: the scan is no head, there is no brain in it, or the tool or its weights are missing.
        ToolError: the tool failed.
    """
    image = before.image(scan)
    mask = _found(choice, image, str(scan.image), threads)
    io.write_labels(folder / MASK, Labels(mask, image.grid))
    write_receipt(folder, [MASK], about(scan, "brain", choice, programs(brain=choice)))


def _found(choice: str, image: Image, name: str, threads: int) -> np.ndarray:
    find = backend("brain", choice)
    if choice == "synthstrip":
        return find(image, name, limits(threads))
    with naming(name):
        return find(image, threads, told)
