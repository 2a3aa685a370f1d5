"""The step that makes a label map of a prepared scan."""

from __future__ import annotations

from pathlib import Path

from diffeode.datasets.scan import Scan
from diffeode.files import io
from diffeode.prepare.registry import find_tool
from diffeode.prepare.step_tool import Resources, print_progress
from diffeode.prepare.units import about
from diffeode.provenance.receipt import write_receipt
from diffeode.units.names import LABELS
from diffeode.units.scan import ScanUnit


def segment(scan: Scan, choice: str, prepared: Path, folder: Path, threads: int = 1) -> None:
    """Write the unit with the label map of a prepared scan, on its grid, to ``folder``.

    Args:
        choice: the tool that a recipe chooses for ``labels``.
        prepared: folder of the unit of the prepared scan.

    Raises:
        InputError: no structure was found, or the tool or its weights are missing.
        ToolError: the tool failed.
        DamagedFileError: the prepared scan is not what its receipt says.
    """
    tool = find_tool("labels", choice)
    unit = ScanUnit(prepared)
    unit.require_intact()
    name = f"{scan.id} of dataset {scan.dataset}"
    labels = tool.function(unit.image(), name, Resources(threads, print_progress))
    io.write_labels(folder / LABELS, labels)
    write_receipt(folder, [LABELS], about(scan, "segmentation", choice, tool.programs()))
