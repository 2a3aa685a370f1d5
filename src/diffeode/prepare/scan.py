"""One scan, from its file to a prepared unit: ``image``, ``mask``, and its checked labels and landmarks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode import io
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.image import Image, Labels
from diffeode.names import nearest
from diffeode.prepare.bias import n4
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.intensity import robust
from diffeode.prepare.resolution import resample_brain
from diffeode.receipt import write_receipt
from diffeode.space import Grid

_CHOICES = {"bias": ("none", "n4"), "brain": ("nonzero",), "intensity": ("robust",)}
_LABEL_GRID_TOLERANCE_MM = 0.05
_LANDMARK_COLUMNS = ("name", "x", "y", "z")


@dataclass(frozen=True)
class Recipe:
    """How the scans of a dataset are prepared.

    Attributes:
        bias: ``none``, or ``n4``.
        brain: ``nonzero``: the scans come skull-stripped.
        intensity: ``robust``.
        spacing_mm: the prepared image's voxel size; None keeps the scan's grid.

    Raises:
        InputError: an unknown choice, or a spacing that is not a positive number.
    """

    bias: str = "none"
    brain: str = "nonzero"
    intensity: str = "robust"
    spacing_mm: float | None = None

    def __post_init__(self) -> None:
        for step, known in _CHOICES.items():
            value = getattr(self, step)
            if value not in known:
                raise InputError(f"Preparation step {step} has no choice {value!r}{nearest(value, known)}.")
        if self.spacing_mm is not None and not 0 < self.spacing_mm < np.inf:
            raise InputError(
                f"Preparation spacing_mm is {self.spacing_mm}; it must be a positive number of mm, or null."
            )


def prepare_image(image: Image, recipe: Recipe, name: str, threads: int = 1) -> tuple[Image, np.ndarray]:
    """The prepared image, in [0, 1] with background exactly 0, and its brain, ``(X, Y, Z)`` bool.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: the brain is empty or constant.
    """
    image = without_negatives(image)
    mask = nonzero(image, name)
    if recipe.bias == "n4":
        image = n4(image, mask, threads)
    if recipe.spacing_mm is not None:
        image, mask = resample_brain(image, mask, recipe.spacing_mm)
    return robust(image, mask, name), mask


def prepare_scan(scan: Scan, recipe: Recipe, folder: Path, threads: int = 1, seed: int = 0) -> None:
    """Write ``image``, ``mask``, where there are any ``labels`` and ``landmarks``, and the receipt to ``folder``.

    Labels stay on the grid of the original scan, where they were drawn. Nothing here is random: ``seed`` is recorded.

    Raises:
        InputError: the scan, its labels or its landmarks are unusable; the message names the file.
    """
    original = io.read_image(scan.image)
    labels = read_scan_labels(scan.labels, original.grid, scan.image) if scan.labels else None
    landmarks = read_landmarks(scan.landmarks) if scan.landmarks else None
    image, mask = prepare_image(original, recipe, str(scan.image), threads)

    io.write_image(folder / "image.nii.gz", image)
    io.write_labels(folder / "mask.nii.gz", Labels(mask, image.grid))
    files = ["image.nii.gz", "mask.nii.gz"]
    if labels is not None:
        io.write_labels(folder / "labels.nii.gz", labels)
        files.append("labels.nii.gz")
    if landmarks is not None:
        with io.written_whole(folder / "landmarks.tsv") as temporary:
            landmarks.to_csv(temporary, sep="\t", index=False)
        files.append("landmarks.tsv")
    write_receipt(folder, files, _provenance(scan, recipe, seed))


def read_scan_labels(path: Path, grid: Grid, scan: Path) -> Labels:
    """The label map of a scan.

    Raises:
        InputError: as :func:`diffeode.io.read_labels`, or it is empty, or it does not lie on ``grid``, the scan's own.
    """
    labels = io.read_labels(path)
    if not labels.grid.matches(grid, _LABEL_GRID_TOLERANCE_MM):
        raise InputError(
            f"Label map {path} does not lie on the grid of its scan {scan}; resample it there with nearest neighbour."
        )
    if not labels.data.any():
        raise InputError(f"Label map {path} is empty (0 everywhere); remove it or give the right one.")
    return labels


def read_landmarks(path: Path) -> pd.DataFrame:
    """Named points, columns ``name x y z``, RAS mm.

    Raises:
        InputError: missing, without one of the columns, with a name twice or a coordinate that is not a finite number.
    """
    if not path.is_file():
        raise InputError(f"There is no table of landmarks {path}.")
    try:
        table = pd.read_csv(path, sep="\t", dtype={"name": str})
        coordinates = table[["x", "y", "z"]].to_numpy(dtype=np.float64)
        repeated = table["name"].duplicated().any()
    except (KeyError, ValueError):
        raise InputError(
            f"{path} is no table of landmarks; give tab-separated columns name, x, y, z with numbers in mm."
        ) from None
    if repeated or not np.isfinite(coordinates).all():
        raise InputError(f"{path} has a landmark twice or one without finite coordinates; repair that row.")
    return table[list(_LANDMARK_COLUMNS)]


def _provenance(scan: Scan, recipe: Recipe, seed: int) -> dict[str, object]:
    sources = {path.name: io.sha256(path) for path in (scan.image, scan.labels, scan.landmarks) if path}
    return {
        "scan": scan.id,
        "dataset": scan.dataset,
        "group": scan.group,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "sources": sources,
    }
