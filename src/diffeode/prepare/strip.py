"""The step that finds the brain in a whole head."""

from __future__ import annotations

from pathlib import Path

from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.prepare.registry import find_tool
from diffeode.prepare.scan import read_scan_labels
from diffeode.prepare.step_tool import Resources, print_progress
from diffeode.prepare.units import Before, about
from diffeode.provenance.receipt import write_receipt
from diffeode.units.names import MASK


def strip(scan: Scan, choice: str, before: Before, folder: Path, threads: int = 1) -> None:
    """Write the unit with the brain of a scan, on the scan's own grid, to ``folder``.

    Args:
        choice: the tool that a recipe chooses for ``brain``.
        before: the finished units of the scan's earlier steps.

    Raises:
        InputError: the scan is no head, no brain was found in it, or the tool or its weights are
            missing.
        ToolError: the tool failed.
    """
    tool = find_tool("brain", choice)
    image = before.image(scan, tool.of_anything)
    given = [_labels(scan, image)] if tool.from_labels else []
    mask = tool.function(image, str(scan.image), Resources(threads, print_progress), *given)
    io.write_labels(folder / MASK, Labels(mask, image.grid))
    write_receipt(folder, [MASK], about(scan, "brain", choice, tool.programs()))


def _labels(scan: Scan, image: Image) -> Labels:
    if scan.labels is None:
        raise InputError(
            f"{scan.image} has no label map, by which its brain is to be found (brain: labels); "
            "add it, or choose another tool."
        )
    return read_scan_labels(scan.labels, image.grid, scan.image, scan.orientation)
