"""One scan, from its file to a prepared unit: ``image``, ``mask``, and its checked labels and
landmarks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.landmarks import read_landmarks
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.prepare.brain import stripped_brain, without_negatives
from diffeode.prepare.intensity import without_outliers
from diffeode.prepare.registry import scaling_tool
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.units import Before, Placement
from diffeode.provenance.software import preparing_versions
from diffeode.units.scan import ScanUnit

_LABEL_GRID_TOLERANCE_MM = 0.05


def prepare_image(
    image: Image,
    name: str,
    mask: np.ndarray | None = None,
    intensity: str = "robust",
    modality: str = ANATOMICAL,
    spacing_mm: float | None = None,
) -> tuple[Image, np.ndarray]:
    """A scan, as it was read, prepared in its own space: the image and its brain, as
    :func:`finished_image` has them.

    Args:
        name: what messages call the scan.
        mask: the brain on the grid of ``image``, ``(X, Y, Z)`` bool; what is above zero where not
            given.
        intensity, modality, spacing_mm: as of :func:`finished_image`.

    Raises:
        InputError: the brain is empty or constant, or the image is a whole head or largely
            negative.
    """
    image = without_negatives(image, name)
    brain = stripped_brain(image, name) if mask is None else mask
    return finished_image(image, brain, name, None, intensity, modality, spacing_mm)


def finished_image(
    image: Image,
    brain: np.ndarray,
    name: str,
    placement: Placement | None,
    intensity: str,
    modality: str,
    spacing_mm: float | None,
) -> tuple[Image, np.ndarray]:
    """The prepared image and its brain, ``(X, Y, Z)`` bool: resampled once at most, in [0, 1],
    background exactly 0.

    Args:
        image: without negative intensities (:func:`diffeode.prepare.brain.without_negatives`).
        brain: on the grid of ``image``, ``(X, Y, Z)`` bool.
        name: what messages call the scan.
        placement: where the template's space lies; the image keeps its own where None.
        intensity, spacing_mm: as in :class:`diffeode.prepare.recipe.Recipe`.
        modality: which white matter ``white-stripe`` looks for.

    Raises:
        InputError: the brain is empty or constant.
    """
    if brain.any():
        image = without_outliers(image, brain)
    grid = placement.grid if placement else image.grid
    if spacing_mm is not None:
        grid = grid.resample(spacing_mm)
    if grid is not image.grid:
        image, brain = resample_brain(image, brain, grid, placement.to_scan if placement else None)
    if not brain.any():
        raise InputError(
            f"The brain of {name} is empty on the prepared grid; look at its mask and where it "
            "lies."
        )
    return scaling_tool(intensity).function(image, brain, modality, name), brain


def prepare_scan(
    scan: Scan,
    before: Before,
    folder: Path,
    intensity: str = "robust",
    spacing_mm: float | None = None,
    seed: int = 0,
) -> None:
    """Write ``image``, ``mask``, where there are any ``labels`` and ``landmarks``, and the receipt
    to ``folder``.

    Labels stay on the voxels they were drawn on: where the scan is brought into a template's space,
    their header moves them there, and ``to_scan.txt`` holds the map (points of the template to
    points of the scan, RAS mm). Nothing here
    is random: ``seed`` is recorded.

    Raises:
        InputError: the scan, its labels or its landmarks are unusable; the message names the file.
        DamagedFileError: a unit of ``before`` is not what its receipt says.
    """
    original, placement = before.image(scan), before.placement()
    mask = before.mask(scan, original)
    labels = (
        read_scan_labels(scan.labels, original.grid, scan.image, scan.orientation)
        if scan.labels
        else None
    )
    landmarks = read_landmarks(scan.landmarks) if scan.landmarks else None
    image, mask = finished_image(
        original, mask, str(scan.image), placement, intensity, scan.modality, spacing_mm
    )

    to_scan = placement.to_scan if placement else Affine()
    if labels is not None:
        labels = Labels(labels.data, moved_grid(labels.grid, to_scan))
    if landmarks is not None:
        landmarks = moved_landmarks(landmarks, to_scan)
    choices = {**before.choices(), "intensity": intensity, "spacing_mm": spacing_mm}
    content = {
        **_provenance(scan),
        "recipe": choices,
        "seed": seed,
        "software": preparing_versions(),
    }
    ScanUnit(folder).write(image, mask, to_scan if placement else None, labels, landmarks, content)


def moved_grid(grid: Grid, to_scan: Affine) -> Grid:
    """``grid``, which lies in the scan's space, where ``to_scan`` is undone: its voxels, in the
    prepared space.
    """
    return Grid(grid.shape, to_scan.inverse().matrix @ grid.affine)


def moved_landmarks(landmarks: pd.DataFrame, to_scan: Affine) -> pd.DataFrame:
    """``landmarks`` in the prepared space."""
    points = to_scan.inverse()(landmarks[["x", "y", "z"]].to_numpy(dtype=np.float64))
    return landmarks.assign(**dict(zip("xyz", points.T, strict=True)))


def read_scan_labels(path: Path, grid: Grid, scan: Path, orientation: str | None = None) -> Labels:
    """The label map of a scan.

    Args:
        orientation: how it lies, where its header leaves that open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: as :func:`diffeode.files.io.read_labels`, or it is empty, or it does not lie on
            ``grid``, the scan's own.
    """
    labels = io.read_labels(path, orientation)
    if not labels.grid.matches(grid, _LABEL_GRID_TOLERANCE_MM):
        raise InputError(
            f"Label map {path} does not lie on the grid of its scan {scan}; resample it there with "
            "nearest neighbour."
        )
    if not labels.data.any():
        raise InputError(
            f"Label map {path} is empty (0 everywhere); remove it or give the right one."
        )
    return labels


def _provenance(scan: Scan) -> dict[str, object]:
    sources = {
        path.name: io.sha256(path) for path in (scan.image, scan.labels, scan.landmarks) if path
    }
    said = {"orientation": scan.orientation} if scan.orientation else {}
    return {
        "scan": scan.id,
        "dataset": scan.dataset,
        "group": scan.group,
        "sources": sources,
        **said,
    }
