"""Taking the bias field away, and normalising intensities where a tool does that on the scan's own
grid.
"""

from __future__ import annotations

from pathlib import Path

from diffeode.datasets.scan import Scan
from diffeode.files import io
from diffeode.prepare.registry import correcting_tools
from diffeode.prepare.step_tool import Resources, print_progress
from diffeode.prepare.units import CORRECTED, Before, about
from diffeode.provenance.receipt import write_receipt


def correct(
    scan: Scan, bias: str, intensity: str, before: Before, folder: Path, threads: int = 1
) -> None:
    """Write the corrected scan, on its own grid, to ``folder``.

    Some tools work inside the brain, others on the whole head. A scan of a contrast that a tool is
    not made for goes without it.

    Raises:
        InputError: the scan is unusable, or the tool is missing.
        ToolError: the tool failed.
    """
    image = before.image(scan)
    programs: dict[str, dict[str, str]] = {}
    for tool in correcting_tools(bias, intensity, scan.modality):
        brain = None if tool.whole_head else before.mask(scan, image)
        image = tool.function(image, brain, scan.modality, Resources(threads, print_progress))
        programs |= tool.programs()
    io.write_image(folder / CORRECTED, image)
    choices = {"bias": bias, "intensity": intensity}
    write_receipt(folder, [CORRECTED], about(scan, "correction", choices, programs))
