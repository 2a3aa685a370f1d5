"""The unit of a registered pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.transform import DisplacementField
from diffeode.provenance.receipt import RECEIPT, read_receipt, require_intact
from diffeode.provenance.removal import remove_files, require_kept

WARP, INVERSE_WARP, WARPED, TRACE = (
    "warp.nii.gz",
    "inverse_warp.nii.gz",
    "warped.nii.gz",
    "trace.tsv",
)
KEPT: Mapping[str, tuple[str, ...]] = {
    "all": (WARP, INVERSE_WARP, WARPED, TRACE),
    "maps": (WARP, INVERSE_WARP, TRACE),
    "numbers": (),
}
"""Names of the files that stay of a finished registration, by the study's key ``keep``."""
ROUNDED_TO_MM = 2.0**-8
FIELDS: Mapping[str, float | None] = {"float32": None, "rounded": ROUNDED_TO_MM}
"""Step, mm, to whose multiples displacements are rounded before they are written, by the study's
key ``fields``; None: they are written as they are.
"""
READ_BY_EVALUATION = (WARP, INVERSE_WARP)
READ_BY_PANELS = (WARP, WARPED)
READ_BY_CURVES = (TRACE,)
"""Names of the files that the evaluation and the figures of a pair read."""


@final
@dataclass(frozen=True)
class RegistrationUnit:
    """A registered pair: the map in both directions, the warped moving scan, and the trace."""

    folder: Path

    @property
    def receipt(self) -> Path:
        """The file that says what the unit holds, or why the registration failed."""
        return self.folder / RECEIPT

    @property
    def warp_file(self) -> Path:
        """The whole map, from the fixed grid to the moving scan."""
        return self.folder / WARP

    @property
    def inverse_warp_file(self) -> Path:
        """The inverse map, from the moving scan's grid to the fixed scan."""
        return self.folder / INVERSE_WARP

    @property
    def warped_file(self) -> Path:
        """The moving scan, warped to the fixed grid."""
        return self.folder / WARPED

    @property
    def trace_file(self) -> Path:
        """The energy by iteration, tab-separated."""
        return self.folder / TRACE

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of a finished registration except its receipt."""
        return self.warp_file, self.inverse_warp_file, self.warped_file, self.trace_file

    def require_intact(self) -> dict[str, Any]:
        """Return the receipt after comparing it with the files.

        A file that :meth:`reduce` has removed is not missing.

        Raises:
            DamagedFileError: a file is missing or differs.
        """
        return require_intact(self.receipt)

    def reduce(self, keep: str) -> int:
        """Remove the files that ``keep`` (:data:`KEPT`) does not hold; return the number of bytes
        that this freed.

        The receipt stays as it is, and the unit stays intact: a note beside the receipt lists what
        was removed (:mod:`diffeode.provenance.removal`). A failed registration has no files.

        Raises:
            DamagedFileError: the receipt is missing or damaged.
            InputError: the note cannot be written.
        """
        outputs = read_receipt(self.receipt)["outputs"]
        return remove_files(self.folder, outputs, [n for n in outputs if n not in KEPT[keep]])

    def kept(self, file: Path) -> Path:
        """Return ``file``, one of :attr:`files`.

        Raises:
            InputError: it was removed to save space.
        """
        require_kept(file)
        return file

    def warp(self) -> DisplacementField:
        """Return the map from points of the fixed grid to points of the moving scan, RAS mm, the
        affine alignment included.
        """
        return io.read_displacement(self.kept(self.warp_file))

    def inverse_warp(self) -> DisplacementField:
        """Return the map from points of the moving scan's grid to points of the fixed
        scan, RAS mm.
        """
        return io.read_displacement(self.kept(self.inverse_warp_file))

    def warped(self) -> Image:
        """Return the moving scan on the fixed grid, resampled once."""
        return io.read_image(self.kept(self.warped_file))
