"""Finding the brain in a whole head."""

from __future__ import annotations

from pathlib import Path

from diffeode import io
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.image import Labels
from diffeode.prepare.backends import backend
from diffeode.prepare.units import MASK, Before, about
from diffeode.receipt import write_receipt


def strip(scan: Scan, choice: str, before: Before, folder: Path, threads: int = 1) -> None:
    """Write the brain that ``choice`` finds, on the scan's own grid, to ``folder``.

    Raises:
        InputError: the scan is no head, or the tool or its weights are missing.
    """
    image = before.image(scan)
    mask = backend("brain", choice)(image, threads=threads)
    if not mask.any():
        raise InputError(f"{choice} found no brain in {scan.image}; look at the scan.")
    io.write_labels(folder / MASK, Labels(mask, image.grid))
    write_receipt(folder, [MASK], about(scan, "brain", choice))
