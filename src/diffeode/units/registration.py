"""The unit of a registered pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.transform import DisplacementField
from diffeode.provenance.receipt import RECEIPT, require_intact


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
        return self.folder / "warp.nii.gz"

    @property
    def inverse_warp_file(self) -> Path:
        """The inverse map, from the moving scan's grid to the fixed scan."""
        return self.folder / "inverse_warp.nii.gz"

    @property
    def warped_file(self) -> Path:
        """The moving scan, warped to the fixed grid."""
        return self.folder / "warped.nii.gz"

    @property
    def trace_file(self) -> Path:
        """The energy by iteration, tab-separated."""
        return self.folder / "trace.tsv"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of a finished registration except its receipt."""
        return self.warp_file, self.inverse_warp_file, self.warped_file, self.trace_file

    def require_intact(self) -> dict[str, Any]:
        """Return the receipt after comparing it with the files.

        Raises:
            DamagedFileError: a file is missing or differs.
        """
        return require_intact(self.receipt)

    def warp(self) -> DisplacementField:
        """Return the map from points of the fixed grid to points of the moving scan, RAS mm, the
        affine alignment included.
        """
        return io.read_displacement(self.warp_file)

    def inverse_warp(self) -> DisplacementField:
        """Return the map from points of the moving scan's grid to points of the fixed
        scan, RAS mm.
        """
        return io.read_displacement(self.inverse_warp_file)

    def warped(self) -> Image:
        """Return the moving scan on the fixed grid, resampled once."""
        return io.read_image(self.warped_file)
