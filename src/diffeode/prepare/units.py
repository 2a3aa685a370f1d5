"""What the steps of preparation leave behind for each other: folders with one file and a
receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from diffeode.datasets.scan import Scan
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.prepare.brain import stripped_brain, without_negatives
from diffeode.prepare.plausible import read_plausible
from diffeode.provenance.receipt import RECEIPT, require_intact, write_receipt
from diffeode.provenance.software import preparing_versions

MASK, CORRECTED, TO_SCAN, LABELS = "mask.nii.gz", "image.nii.gz", "to_scan.txt", "labels.nii.gz"


@final
@dataclass(frozen=True, eq=False)
class Placement:
    """Where a scan lies in the space of a template.

    Attributes:
        to_scan: points of the template to points of the scan, RAS mm.
        grid: the grid of the template that prepared scans lie on.
    """

    to_scan: Affine
    grid: Grid


@final
@dataclass(frozen=True)
class Before:
    """Folders of the finished units that a step may build on; None where the recipe has no such
    step.

    Attributes:
        corrected: the scan with its intensities corrected.
        brain: the brain that was found, on the scan's grid.
        placed: the map from points of the template to points of the scan.
    """

    corrected: Path | None = None
    brain: Path | None = None
    placed: Path | None = None

    def image(self, scan: Scan) -> Image:
        """The corrected scan where there is one, else the scan itself, without negatives.

        Raises:
            InputError: the file is no usable scan.
            DamagedFileError: a unit is not what its receipt says.
        """
        if self.corrected is None:
            image = read_plausible(scan.image, scan.orientation)
        else:
            image = io.read_image(intact(self.corrected) / CORRECTED)
        return without_negatives(image, str(scan.image))

    def mask(self, scan: Scan, image: Image) -> np.ndarray:
        """The brain on the grid of ``image``, ``(X, Y, Z)`` bool: as it was found, or what is above
        zero.

        Raises:
            InputError: nothing is above zero, or a whole head is.
            DamagedFileError: a unit is not what its receipt says.
        """
        if self.brain is None:
            return stripped_brain(image, str(scan.image))
        return io.read_labels(intact(self.brain) / MASK).data > 0

    def stripped(self, scan: Scan) -> Image:
        """The scan with 0 outside the brain.

        Raises:
            InputError, DamagedFileError: as :meth:`image` and :meth:`mask`.
        """
        image = self.image(scan)
        return Image(np.where(self.mask(scan, image), image.data, 0), image.grid)

    def placement(self) -> Placement | None:
        """Where the scan lies in the template's space; None where it keeps its own.

        Raises:
            DamagedFileError: the unit is not what its receipt says.
        """
        if self.placed is None:
            return None
        grid = require_intact(self.placed / RECEIPT)["grid"]
        return Placement(
            io.read_affine(self.placed / TO_SCAN),
            Grid(tuple(grid["shape"]), np.array(grid["affine"])),
        )

    def choices(self) -> dict[str, object]:
        """What was chosen at each step, for the receipt of the finished scan."""
        folders = [folder for folder in (self.corrected, self.brain, self.placed) if folder]
        receipts = (require_intact(folder / RECEIPT) for folder in folders)
        return {receipt["step"]: receipt["choice"] for receipt in receipts}


def write_placement(folder: Path, placement: Placement, content: dict[str, object]) -> None:
    """Write ``placement`` and a receipt with ``content`` to ``folder``."""
    io.write_affine(folder / TO_SCAN, placement.to_scan)
    grid = {"shape": list(placement.grid.shape), "affine": placement.grid.affine.tolist()}
    write_receipt(folder, [TO_SCAN], {**content, "grid": grid})


def intact(folder: Path) -> Path:
    """``folder``, after its receipt was compared with its files.

    Raises:
        DamagedFileError: they differ.
    """
    require_intact(folder / RECEIPT)
    return folder


def about(
    scan: Scan, step: str, choice: object, programs: dict[str, dict[str, str]]
) -> dict[str, object]:
    """What the receipt of a step says; ``programs``: see
    :func:`diffeode.programs.tools.identities`.
    """
    what = {"scan": scan.id, "dataset": scan.dataset, "step": step, "choice": choice}
    return {**what, "programs": programs, "software": preparing_versions()}
