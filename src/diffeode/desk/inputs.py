"""The scans and label maps of a pair that is registered at a desk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from diffeode.desk.guides import Guides
from diffeode.desk.transform import Transform, load_transform
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.fsl import is_fnirt, read_fnirt
from diffeode.files.linear import read_linear
from diffeode.files.slices import SliceFile, are_slices, read_flat, read_slice, read_slice_labels
from diffeode.files.transforms import ARCHIVE_SUFFIXES, FIELD_SUFFIXES
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.prepare.choices import NO_BACKGROUND, STARTS
from diffeode.prepare.scan import LABEL_GRID_TOLERANCE_MM, read_scan_labels
from diffeode.prepare.side import MaskChoice


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """The user's scans and label maps in memory, checked, with intensities as they were given.

    Attributes:
        fixed, moving: the scans, each on its own grid.
        fixed_name, moving_name: what messages and the metrics call them, such as their paths.
        fixed_labels, moving_labels: their label maps on their grids, or None.
        fixed_mask, moving_mask: where they count.
        brain: whether both are heads whose skulls are stripped first.
        slices: how the files hold the fixed and the moving image, where they are slices.
        guides: what guides the registration besides.
    """

    fixed: Image
    moving: Image
    fixed_name: str = "the fixed image"
    moving_name: str = "the moving image"
    fixed_labels: Labels | None = None
    moving_labels: Labels | None = None
    fixed_mask: MaskChoice = None
    moving_mask: MaskChoice = None
    brain: bool = False
    slices: tuple[SliceFile, SliceFile] | None = None
    guides: Guides = field(default_factory=Guides)


def read_inputs(
    fixed: Path,
    moving: Path,
    fixed_labels: Path | None,
    moving_labels: Path | None,
    orientation: str | None = None,
    fixed_mask: Path | str | None = None,
    moving_mask: Path | str | None = None,
    brain: bool = False,
) -> Inputs:
    """Read two scans and, where given, their label maps and masks.

    Args:
        fixed_mask, moving_mask: a file that is above 0 where the image counts; ``none``, by which
            nothing is background; or None, by which the background is found.
        brain: whether both are heads whose skulls are stripped first.
        orientation: the orientation of the axes of those files whose headers leave it open
            (:func:`diffeode.files.headers.grid_of`).

    Raises:
        InputError: a file is missing or unreadable; a mask is empty, is no mask, or does not lie on
            the grid of its scan; a label map holds no labels or does not lie on
            the grid of its scan; the two label maps have no id in common; or only the fixed one is
            given.
    """
    if fixed_labels and not moving_labels:
        raise InputError(
            f"The overlap of {fixed_labels} cannot be measured without a label map of the moving "
            "scan; give one by --labels, or leave --fixed-labels out."
        )
    slices = None
    if are_slices(fixed, moving):
        if brain:
            raise InputError(
                f"{fixed} and {moving} are slices, and --brain strips the skulls of volumes; leave "
                "it out."
            )
        slices = read_slice(fixed, orientation), read_slice(moving, orientation)
        fixed_scan, moving_scan = (slice_.image for slice_ in slices)
    else:
        fixed_scan, moving_scan = (io.read_image(scan, orientation) for scan in (fixed, moving))
    fixed_map = _read_labels(fixed_labels, fixed_scan, fixed, orientation) if fixed_labels else None
    moving_map = (
        _read_labels(moving_labels, moving_scan, moving, orientation) if moving_labels else None
    )
    if fixed_map and moving_map:
        _require_shared_ids(fixed_map, moving_map, f"{fixed_labels} and {moving_labels}")
    return Inputs(
        fixed_scan,
        moving_scan,
        str(fixed),
        str(moving),
        fixed_map,
        moving_map,
        read_mask(fixed_mask, fixed_scan.grid, fixed, orientation),
        read_mask(moving_mask, moving_scan.grid, moving, orientation),
        brain,
        slices,
    )


def _read_labels(path: Path, scan: Image, name: Path, orientation: str | None) -> Labels:
    read = read_slice_labels if is_slice(scan.grid) else read_scan_labels
    return read(path, scan.grid, name, orientation)


def read_start(start: str | Path, inputs: Inputs) -> str | Affine | Transform:
    """Return the start of a registration: a kind of :data:`diffeode.prepare.choices.STARTS` as it
    is; the linear transform of a file (:func:`diffeode.files.linear.read_linear`); or the transform
    that an ITK displacement field, a composite of ITK, a field of FSL or the folder of a
    registration holds.

    Raises:
        InputError: the file is unusable.
    """
    if start in STARTS:
        return str(start)
    path = Path(start)
    if path.name.endswith(FIELD_SUFFIXES) and is_fnirt(path):
        return Transform(read_fnirt(path, inputs.moving.grid), None, str(path))
    if path.is_dir() or path.name.endswith((*FIELD_SUFFIXES, *ARCHIVE_SUFFIXES)):
        transform = load_transform(path)
        if not transform.is_affine:
            return transform
    return read_linear(path, inputs.fixed.grid, inputs.moving.grid)


def read_mask(
    mask: Path | str | None, grid: Grid, scan: Path, orientation: str | None
) -> MaskChoice:
    """Return the mask of an image: the voxels above 0 of the file ``mask``, or ``mask`` itself
    where it is no file.

    Args:
        grid, scan: the grid and the file of the image.

    Raises:
        InputError: the file is unreadable, is empty or no mask, or does not lie on ``grid``.
    """
    if mask is None or mask == NO_BACKGROUND:
        return mask
    image = (read_flat if is_slice(grid) else io.read_finite)(mask, orientation)
    if not image.grid.matches(grid, LABEL_GRID_TOLERANCE_MM):
        raise InputError(
            f"The mask {mask} does not lie on the grid of its image {scan}; resample it there with "
            "nearest neighbour ('diffeode apply' or another program)."
        )
    values = np.unique(image.data)
    # Of two ids above 0, such as 1 and 2, both would count, and nothing would be left out.
    if values[0] < 0 or len(values[values > 0]) > 1:
        raise InputError(
            f"{mask} is no mask, because it holds {len(values)} different values from "
            f"{values[0]:g} to {values[-1]:g}, as label maps and scans do; give a file that is 1 "
            "where the image counts and 0 elsewhere."
        )
    if not values[-1] > 0:
        raise InputError(
            f"The mask {mask} is empty (0 everywhere); set it to 1 where the image counts."
        )
    return image.data > 0


def read_as_told(paths: Iterable[Path]) -> list[str]:
    """Return a warning for each of ``paths`` that only the user's ``--orientation`` made readable.

    Other programs may read such a file in another orientation.
    """
    return [
        f"{path} was read in the orientation that you gave; correct its header before other "
        "programs apply the maps"
        for path in paths
        if _leaves_open(path)
    ]


def _leaves_open(path: Path) -> bool:
    try:
        io.read_grid(path)
    except InputError:
        return True
    return False


def _require_shared_ids(fixed: Labels, moving: Labels, names: str) -> None:
    fixed_ids, moving_ids = (np.unique(labels.data[labels.data > 0]) for labels in (fixed, moving))
    if not np.intersect1d(fixed_ids, moving_ids).size:
        shown = " and ".join(f"{ids[0]} to {ids[-1]}" for ids in (fixed_ids, moving_ids))
        raise InputError(
            f"Label maps {names} have no id in common ({shown}); give maps with the same ids."
        )
