"""The unit of a prepared scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from diffeode.files import io
from diffeode.files.landmarks import read_landmarks, write_landmarks
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.transform import Affine
from diffeode.provenance.receipt import RECEIPT, require_intact, write_receipt
from diffeode.units.names import IMAGE, LABELS, MASK, TO_SCAN


@final
@dataclass(frozen=True)
class ScanUnit:
    """A prepared scan: its image, its brain mask and, where there are any, labels and landmarks.

    The labels keep the grid on which they were drawn, in the space of the image. The unit of a
    single step of preparation, such as a label map that is made from a prepared scan, holds one of
    these files, under the same name.
    """

    folder: Path

    @property
    def receipt(self) -> Path:
        """The file that says what the unit holds."""
        return self.folder / RECEIPT

    @property
    def image_file(self) -> Path:
        """The image, in [0, 1] with background exactly 0."""
        return self.folder / IMAGE

    @property
    def mask_file(self) -> Path:
        """The brain mask, on the grid of the image."""
        return self.folder / MASK

    @property
    def labels_file(self) -> Path:
        """The label map; not every scan has one."""
        return self.folder / LABELS

    @property
    def landmarks_file(self) -> Path:
        """The table of landmarks; not every scan has one."""
        return self.folder / "landmarks.tsv"

    @property
    def to_scan_file(self) -> Path:
        """The affine to the scan's own space; it exists where the image lies in a
        template's space.
        """
        return self.folder / TO_SCAN

    def require_intact(self) -> dict[str, Any]:
        """Return the receipt after comparing it with the files.

        Raises:
            DamagedFileError: a file is missing or differs.
        """
        return require_intact(self.receipt)

    def image(self) -> Image:
        """Return the prepared image.

        Raises:
            InputError: the file is missing or unusable.
        """
        return io.read_image(self.image_file)

    def brain(self) -> np.ndarray:
        """Return the brain mask on the grid of the image, ``(X, Y, Z)`` bool."""
        return io.read_labels(self.mask_file).data > 0

    def to_scan(self) -> Affine:
        """Return the affine from points of the prepared image to points of the scan, RAS mm.

        It is the identity where the image lies in the scan's own space.
        """
        return io.read_affine(self.to_scan_file) if self.to_scan_file.is_file() else Affine()


# These two are no methods. A registration uses the unit but no landmarks, so a change in how tables
# are read must make no registration again.


def landmarks_of(unit: ScanUnit) -> pd.DataFrame | None:
    """Return the named points in the space of the image, columns ``name x y z``, RAS mm; None where
    there are none.
    """
    return read_landmarks(unit.landmarks_file) if unit.landmarks_file.is_file() else None


def write_scan(
    unit: ScanUnit,
    image: Image,
    brain: np.ndarray,
    to_scan: Affine | None,
    labels: Labels | None,
    landmarks: pd.DataFrame | None,
    content: dict[str, Any],
) -> None:
    """Write the files of the unit and, last, its receipt with ``content``.

    Args:
        brain: the brain mask on the grid of ``image``, ``(X, Y, Z)`` bool.
        to_scan: the affine from points of the image to points of the scan, RAS mm; None where the
            image lies in the scan's own space.
        labels, landmarks: in the space of the image; None where there are none.
    """
    files = [unit.image_file, unit.mask_file]
    io.write_image(unit.image_file, image)
    io.write_labels(unit.mask_file, Labels(brain, image.grid))
    if to_scan is not None:
        io.write_affine(unit.to_scan_file, to_scan)
        files.append(unit.to_scan_file)
    if labels is not None:
        io.write_labels(unit.labels_file, labels)
        files.append(unit.labels_file)
    if landmarks is not None:
        write_landmarks(unit.landmarks_file, landmarks)
        files.append(unit.landmarks_file)
    write_receipt(unit.folder, [file.name for file in files], content)
