"""Make a prepared scan: its image, its brain, and its checked labels and landmarks."""

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
from diffeode.prepare.together import reaches_a_face
from diffeode.prepare.units import Before, Placement
from diffeode.provenance.software import preparing_versions
from diffeode.units.scan import ScanUnit, write_scan

LABEL_GRID_TOLERANCE_MM = 0.05
"""Farthest that the corners of a label map or mask may lie from those of its scan."""


def prepare_image(
    image: Image,
    name: str,
    mask: np.ndarray | None = None,
    intensity: str = "robust",
    modality: str = ANATOMICAL,
    spacing_mm: float | None = None,
) -> tuple[Image, np.ndarray]:
    """Return the prepared image and its brain, in the scan's own space.

    Args:
        image: the scan as it was read.
        name: what messages call the scan.
        mask: the brain on the grid of ``image``, ``(X, Y, Z)`` bool; by default ``image`` is
            skull-stripped, and the brain is what is above zero.
        intensity, modality, spacing_mm: as for :func:`finished_image`.

    Raises:
        InputError: the brain is empty or constant, the image is a whole head where ``mask`` is not
            given, or many of its voxels are negative.
    """
    image = without_negatives(image, name)
    brain = stripped_brain(image, name) if mask is None else mask
    return finished_image(image, brain, name, None, intensity, modality, spacing_mm)


def prepared_whole(image: Image, shown: np.ndarray, name: str) -> Image:
    """Return an image of anything prepared as brains are: what it shows is scaled to [0.001, 1],
    and its background is 0.

    Args:
        image: the image as it was read; its values may be negative.
        shown: what it shows, ``(X, Y, Z)`` bool.
        name: what messages call the image.

    Raises:
        InputError: nothing is shown, or it is constant.
    """
    return finished_image(image, shown, name, None, "robust", ANATOMICAL, None)[0]


def finished_image(
    image: Image,
    brain: np.ndarray,
    name: str,
    placement: Placement | None,
    intensity: str,
    modality: str,
    spacing_mm: float | None,
) -> tuple[Image, np.ndarray]:
    """Return the prepared image and its brain, ``(X, Y, Z)`` bool.

    The image is resampled once at most. Its intensities lie in [0, 1], and its background is
    exactly 0.

    Args:
        image: the scan without negative intensities
            (:func:`diffeode.prepare.brain.without_negatives`).
        brain: the brain on the grid of ``image``, ``(X, Y, Z)`` bool.
        name: what messages call the scan.
        placement: where the scan lies in the space of a template; with None it keeps its own space.
        intensity, spacing_mm: as in :class:`diffeode.prepare.recipe.Recipe`.
        modality: the scan's contrast, the BIDS suffix; ``white-stripe`` needs it.

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
    """Write the unit of a prepared scan (:class:`diffeode.units.scan.ScanUnit`) to ``folder``.

    Labels stay on the voxels that they were drawn on: where the scan is brought into a template's
    space, only their header changes, and the unit holds the map from points of the template to
    points of the scan, RAS mm.

    Args:
        before: the finished units of the scan's earlier steps.
        intensity, spacing_mm: as in :class:`diffeode.prepare.recipe.Recipe`.
        seed: recorded only; nothing here is random.

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
    if before.shows_anything():
        content["cut_off"] = reaches_a_face(mask)
    to_scan = to_scan if placement else None
    write_scan(ScanUnit(folder), image, mask, to_scan, labels, landmarks, content)


def moved_grid(grid: Grid, to_scan: Affine) -> Grid:
    """Return ``grid``, which lies in the scan's space, as it lies in the prepared space.

    Its voxels stay the same. ``to_scan`` sends points of the prepared space to points of the scan,
    RAS mm.
    """
    return Grid(grid.shape, to_scan.inverse().matrix @ grid.affine)


def moved_landmarks(landmarks: pd.DataFrame, to_scan: Affine) -> pd.DataFrame:
    """Return ``landmarks`` of the scan (columns ``name x y z``, RAS mm) in the prepared space."""
    points = to_scan.inverse()(landmarks[["x", "y", "z"]].to_numpy(dtype=np.float64))
    return landmarks.assign(**dict(zip("xyz", points.T, strict=True)))


def read_scan_labels(path: Path, grid: Grid, scan: Path, orientation: str | None = None) -> Labels:
    """Return the label map of a scan.

    Args:
        grid: the grid of the scan.
        scan: the file of the scan, for messages.
        orientation: the orientation of the array's axes, where the header leaves it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: as :func:`diffeode.files.io.read_labels`; or the label map is empty, or does not
            lie on ``grid``.
    """
    labels = io.read_labels(path, orientation)
    if not labels.grid.matches(grid, LABEL_GRID_TOLERANCE_MM):
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
