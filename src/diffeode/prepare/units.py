"""The units of single steps of preparation: folders with one file and a receipt, which later steps
read.

The files have the names of :mod:`diffeode.units.names`.
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
from diffeode.prepare.registry import find_tool
from diffeode.provenance.receipt import RECEIPT, require_intact, write_receipt
from diffeode.provenance.software import preparing_versions
from diffeode.units.names import IMAGE, MASK, TO_SCAN


@final
@dataclass(frozen=True, eq=False)
class Placement:
    """Where a scan lies in the space of a template.

    Attributes:
        to_scan: the map from points of the template to points of the scan, RAS mm.
        grid: the grid of the template, on which prepared scans lie.
    """

    to_scan: Affine
    grid: Grid


@final
@dataclass(frozen=True)
class Before:
    """Folders of a scan's finished units, which its next step reads; None where the recipe has no
    such step.

    Attributes:
        corrected: folder of the scan with its intensities corrected.
        brain: folder of the brain that was found, on the scan's grid.
        placed: folder of the map from points of the template to points of the scan.
    """

    corrected: Path | None = None
    brain: Path | None = None
    placed: Path | None = None

    def image(self, scan: Scan, of_anything: bool | None = None) -> Image:
        """Return the corrected scan where there is one, else the scan itself.

        Negative intensities of heads and brains are set to 0; a scan of anything keeps them.

        Args:
            of_anything: whether the scan may show anything
                (:attr:`diffeode.prepare.step_tool.StepTool.of_anything`); None: as
                :meth:`shows_anything` says.

        Raises:
            InputError: the file is no usable scan.
            DamagedFileError: a unit is not what its receipt says.
        """
        if of_anything is None:
            of_anything = self.shows_anything()
        if self.corrected is None:
            image = read_plausible(scan.image, scan.orientation, of_anything)
        else:
            image = io.read_image(_intact(self.corrected) / IMAGE)
        return image if of_anything else without_negatives(image, str(scan.image))

    def mask(self, scan: Scan, image: Image) -> np.ndarray:
        """Return the brain on the grid of ``image``, ``(X, Y, Z)`` bool.

        It is the brain that was found or, where the recipe looks for none, what is above zero.

        Raises:
            InputError: no brain was looked for, and ``image`` is empty or a whole head.
            DamagedFileError: a unit is not what its receipt says.
        """
        if self.brain is None:
            return stripped_brain(image, str(scan.image))
        return io.read_labels(_intact(self.brain) / MASK).data > 0

    def stripped(self, scan: Scan) -> Image:
        """Return the scan with 0 outside the brain.

        Raises:
            InputError, DamagedFileError: as :meth:`image` and :meth:`mask`.
        """
        image = self.image(scan)
        return Image(np.where(self.mask(scan, image), image.data, 0), image.grid)

    def shows_anything(self) -> bool:
        """Return whether the scan may show anything, as the tool says that found what counts.

        Raises:
            DamagedFileError: the unit is not what its receipt says.
        """
        if self.brain is None:
            return False
        return find_tool("brain", require_intact(self.brain / RECEIPT)["choice"]).of_anything

    def placement(self) -> Placement | None:
        """Return where the scan lies in the template's space, or None where it keeps its own.

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
        """Return the recipe's choice at each finished step, for the receipt of the scan."""
        folders = [folder for folder in (self.corrected, self.brain, self.placed) if folder]
        receipts = (require_intact(folder / RECEIPT) for folder in folders)
        return {receipt["step"]: receipt["choice"] for receipt in receipts}


def write_placement(folder: Path, placement: Placement, content: dict[str, object]) -> None:
    """Write ``placement`` and a receipt with ``content`` to ``folder``."""
    io.write_affine(folder / TO_SCAN, placement.to_scan)
    grid = {"shape": list(placement.grid.shape), "affine": placement.grid.affine.tolist()}
    write_receipt(folder, [TO_SCAN], {**content, "grid": grid})


def _intact(folder: Path) -> Path:
    """Return ``folder``, after its receipt was compared with its files.

    Raises:
        DamagedFileError: they differ.
    """
    require_intact(folder / RECEIPT)
    return folder


def about(
    scan: Scan, step: str, choice: object, programs: dict[str, dict[str, str]]
) -> dict[str, object]:
    """Return the content of the receipt of a step.

    Args:
        step: its name in the receipt.
        choice: what the recipe chooses for it.
        programs: the programs that it ran (:func:`diffeode.programs.tools.identities`).
    """
    what = {"scan": scan.id, "dataset": scan.dataset, "step": step, "choice": choice}
    return {**what, "programs": programs, "software": preparing_versions()}
