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
    """A registered pair: the map both ways, the moving scan through it, and how the energy went."""

    folder: Path

    @property
    def receipt(self) -> Path:
        """The file that says what the unit holds, or why the registration failed."""
        return self.folder / RECEIPT

    @property
    def warp_file(self) -> Path:
        """The whole map."""
        return self.folder / "warp.nii.gz"

    @property
    def inverse_warp_file(self) -> Path:
        """The way back."""
        return self.folder / "inverse_warp.nii.gz"

    @property
    def warped_file(self) -> Path:
        """The moving scan on the fixed grid."""
        return self.folder / "warped.nii.gz"

    @property
    def trace_file(self) -> Path:
        """The energy by iteration, tab-separated."""
        return self.folder / "trace.tsv"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a finished registration leaves beside its receipt."""
        return self.warp_file, self.inverse_warp_file, self.warped_file, self.trace_file

    def require_intact(self) -> dict[str, Any]:
        """The receipt, after it was compared with the files.

        Raises:
            DamagedFileError: they differ.
        """
        return require_intact(self.receipt)

    def warp(self) -> DisplacementField:
        """Points of the fixed grid to points of the moving scan, RAS mm, the affine alignment
        included.
        """
        return io.read_displacement(self.warp_file)

    def inverse_warp(self) -> DisplacementField:
        """Points of the moving scan's grid to points of the fixed scan, RAS mm."""
        return io.read_displacement(self.inverse_warp_file)

    def warped(self) -> Image:
        """The moving scan on the fixed grid, resampled once."""
        return io.read_image(self.warped_file)
