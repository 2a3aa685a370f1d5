"""Labelling a prepared scan."""

from __future__ import annotations

from pathlib import Path

from diffeode import io
from diffeode.datasets.scan import Scan
from diffeode.image import Image, Labels
from diffeode.prepare.backends import backend, limits, naming, programs, told
from diffeode.prepare.units import LABELS, about, intact
from diffeode.receipt import write_receipt


def segment(scan: Scan, choice: str, prepared: Path, folder: Path, threads: int = 1) -> None:
    """Write the label map that ``choice`` makes of the scan in folder ``prepared``, on its grid, to ``folder``.

    Raises:
        InputError: nothing was found, or the tool or its weights are missing.
        ToolError: the tool failed.
        DamagedFileError: the prepared scan is not what its receipt says.
    """
    image = io.read_image(intact(prepared) / "image.nii.gz")
    labels = _found(choice, image, f"{scan.id} of dataset {scan.dataset}", threads)
    io.write_labels(folder / LABELS, labels)
    write_receipt(folder, [LABELS], about(scan, "segmentation", choice, programs(labels=choice)))


def _found(choice: str, image: Image, name: str, threads: int) -> Labels:
    find = backend("labels", choice)
    if choice == "synthseg":
        return find(image, name, limits(threads))
    with naming(name):
        return find(image, threads, told)
