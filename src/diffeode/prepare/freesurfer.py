"""What FreeSurfer's tools of preparation share: a scan handed to a program in a file, and its
result read back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffeode.errors import ToolError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.programs.tools import Tool, output_of

CITATION = "Fischl, FreeSurfer, NeuroImage 62(2), 2012"

_GRID_TOLERANCE_MM = 0.01


@contextmanager
def workplace(
    image: Image, write: Callable[[Path, Image], None] = io.write_image
) -> Iterator[tuple[Path, Path]]:
    """Paths of ``image``, written, and of a result to be, in a folder that vanishes with
    the block.
    """
    with tempfile.TemporaryDirectory(prefix="diffeode-freesurfer-") as folder:
        scan = Path(folder) / "scan.nii.gz"
        write(scan, image)
        yield scan, Path(folder) / "result.nii.gz"


def read_result_image(tool: Tool, path: Path, grid: Grid) -> Image:
    """The image that ``tool`` wrote to ``path``, on ``grid``, the scan's own.

    Raises:
        ToolError: it is unusable or lies on another grid.
    """
    with output_of(tool, path):
        found = io.read_image(path)
    return Image(found.data, _own_grid(tool, found.grid, grid))


def read_result_labels(tool: Tool, path: Path, grid: Grid) -> Labels:
    """The label map that ``tool`` wrote to ``path``, on ``grid``, the scan's own.

    Raises:
        ToolError: it is unusable or lies on another grid.
    """
    with output_of(tool, path):
        found = io.read_labels(path)
    return Labels(found.data, _own_grid(tool, found.grid, grid))


def _own_grid(tool: Tool, found: Grid, expected: Grid) -> Grid:
    """The scan's own grid, where the one of the result is the same up to single precision."""
    if not found.matches(expected, _GRID_TOLERANCE_MM):
        raise ToolError(
            f"{tool} wrote its result on another grid ({found.shape} instead of {expected.shape} "
            "voxels, or elsewhere in space)."
        )
    return expected
