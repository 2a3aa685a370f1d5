"""The unit of an aligned pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from diffeode.errors import AlignmentError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.transform import Affine
from diffeode.provenance.receipt import RECEIPT, require_intact, write_receipt


@final
@dataclass(frozen=True)
class PairUnit:
    """An aligned pair: both prepared scans on the grid of the fixed one, and the affine
    alignment.
    """

    folder: Path

    @property
    def receipt(self) -> Path:
        """The file that says what the unit holds."""
        return self.folder / RECEIPT

    @property
    def fixed_file(self) -> Path:
        """The fixed scan."""
        return self.folder / "fixed.nii.gz"

    @property
    def moving_file(self) -> Path:
        """The moving scan after the affine alignment."""
        return self.folder / "moving.nii.gz"

    @property
    def moving_to_scan_file(self) -> Path:
        """The affine alignment."""
        return self.folder / "moving_to_scan.txt"

    @property
    def counts_file(self) -> Path:
        """The mask of the voxels that count; it exists where some do not."""
        return self.folder / "counts.nii.gz"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that every aligned pair has besides its receipt."""
        return self.fixed_file, self.moving_file, self.moving_to_scan_file

    def require_intact(self) -> dict[str, Any]:
        """Return the receipt after comparing it with the files.

        Raises:
            DamagedFileError: a file is missing or differs.
            AlignmentError: the pair could not be aligned, so that there are no files.
        """
        content = require_intact(self.receipt)
        if content.get("status") == "failed":
            raise AlignmentError(f"The pair could not be aligned: {content['reason']}")
        return content

    def fixed(self) -> Image:
        """Return the prepared fixed scan; the result of a registration lies on its grid."""
        return io.read_image(self.fixed_file)

    def moving(self) -> Image:
        """Return the prepared moving scan on the grid of the fixed one, after the affine
        alignment.
        """
        return io.read_image(self.moving_file)

    def moving_to_scan(self) -> Affine:
        """Return the affine from points of :meth:`moving` to points of the prepared moving scan on
        its own grid, RAS mm.
        """
        return io.read_affine(self.moving_to_scan_file)

    def counts(self) -> np.ndarray | None:
        """Return the voxels of the fixed grid that count in the similarity, ``(X, Y, Z)`` bool;
        None: all of them.
        """
        return io.read_labels(self.counts_file).data > 0 if self.counts_file.is_file() else None

    def write(
        self,
        fixed: Image,
        moving: Image,
        moving_to_scan: Affine,
        content: dict[str, Any],
        counts: np.ndarray | None = None,
    ) -> None:
        """Write the files of the unit and, last, its receipt with ``content``.

        Args:
            counts: as returned by :meth:`counts`.
        """
        files = list(self.files)
        io.write_image(self.fixed_file, fixed)
        io.write_image(self.moving_file, moving)
        io.write_affine(self.moving_to_scan_file, moving_to_scan)
        if counts is not None:
            io.write_labels(self.counts_file, Labels(counts, fixed.grid))
            files.append(self.counts_file)
        write_receipt(self.folder, [file.name for file in files], content)

    def write_failure(self, reason: str, content: dict[str, Any]) -> None:
        """Write the receipt of a pair that could not be aligned, with ``content``.

        Args:
            reason: the sentence that tells why.
        """
        write_receipt(self.folder, [], {**content, "status": "failed", "reason": reason})
