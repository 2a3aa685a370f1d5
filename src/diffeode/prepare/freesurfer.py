"""What FreeSurfer's tools of preparation share: a program reads the scan from a file, and its
result is read back from another.
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
    """Write ``image`` to a temporary folder, which is removed when the block ends.

    Yields:
        The file of ``image``, and the file that the program is to write.
    """
    with tempfile.TemporaryDirectory(prefix="diffeode-freesurfer-") as folder:
        scan = Path(folder) / "scan.nii.gz"
        write(scan, image)
        yield scan, Path(folder) / "result.nii.gz"


def read_result_image(tool: Tool, path: Path, grid: Grid) -> Image:
    """Return the image that ``tool`` wrote to ``path``, on the scan's own ``grid``.

    Raises:
        ToolError: the image is unusable or lies on another grid.
    """
    with output_of(tool, path):
        found = io.read_image(path)
    return Image(found.data, _own_grid(tool, found.grid, grid))


def read_result_labels(tool: Tool, path: Path, grid: Grid) -> Labels:
    """Return the label map that ``tool`` wrote to ``path``, on the scan's own ``grid``.

    Raises:
        ToolError: the label map is unusable or lies on another grid.
    """
    with output_of(tool, path):
        found = io.read_labels(path)
    return Labels(found.data, _own_grid(tool, found.grid, grid))


def _own_grid(tool: Tool, found: Grid, expected: Grid) -> Grid:
    """Return the ``expected`` grid where ``found`` equals it up to single precision."""
    if not found.matches(expected, _GRID_TOLERANCE_MM):
        raise ToolError(
            f"{tool} wrote its result on another grid ({found.shape} instead of {expected.shape} "
            "voxels, or elsewhere in space)."
        )
    return expected
