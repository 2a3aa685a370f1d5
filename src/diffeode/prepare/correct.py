"""The step that corrects intensities on the scan's own grid: it removes the bias field, and
normalises where the chosen tool does that before the brain is found.
"""

from __future__ import annotations

from pathlib import Path

from diffeode.datasets.scan import Scan
from diffeode.files import io
from diffeode.prepare.brain import without_negatives
from diffeode.prepare.registry import correcting_tools
from diffeode.prepare.step_tool import Resources, print_progress
from diffeode.prepare.units import Before, about
from diffeode.provenance.receipt import write_receipt
from diffeode.units.names import IMAGE


def correct(
    scan: Scan, bias: str, intensity: str, before: Before, folder: Path, threads: int = 1
) -> None:
    """Write the unit of the corrected scan, on the scan's own grid, to ``folder``.

    Some tools work inside the brain, others on the whole head. A tool is left out where it is not
    made for the scan's contrast.

    Args:
        bias, intensity: the recipe's choices for these two steps.
        before: the finished units of the scan's earlier steps.

    Raises:
        InputError: the scan is unusable or negative in many voxels, or the tool is missing.
        ToolError: the tool failed.
    """
    image = without_negatives(before.image(scan), str(scan.image))
    programs: dict[str, dict[str, str]] = {}
    for tool in correcting_tools(bias, intensity, scan.modality):
        brain = None if tool.whole_head else before.mask(scan, image)
        image = tool.function(image, brain, scan.modality, Resources(threads, print_progress))
        programs |= tool.programs()
    io.write_image(folder / IMAGE, image)
    choices = {"bias": bias, "intensity": intensity}
    write_receipt(folder, [IMAGE], about(scan, "correction", choices, programs))
