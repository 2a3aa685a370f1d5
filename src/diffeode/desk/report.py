"""The page about a registration at a desk, made from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffeode.desk.account import damaged, read_record, write_report
from diffeode.desk.inputs import read_inputs
from diffeode.desk.outputs import METRICS, OVERVIEW, REPORT
from diffeode.desk.overview import scene_of_maps
from diffeode.desk.registration import prepared_task
from diffeode.errors import InputError
from diffeode.figures.pair_panel import Scene
from diffeode.files import io
from diffeode.files.presence import require_file
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import Affine
from diffeode.prepare.choices import NO_BACKGROUND
from diffeode.registration.base import Machine
from diffeode.units.registration import RegistrationUnit


def page_of_folder(folder: Path) -> Path:
    """Write the page of a registration that ``folder`` holds, and return its path.

    The two scans are read from where the registration found them.

    Raises:
        InputError: a file is missing or damaged, or a scan is not the one that was registered.
    """
    record = read_record(folder / METRICS)
    unit = RegistrationUnit(folder)
    for file in (unit.warp_file, unit.warped_file):
        require_file(file, "result of a registration")
    write_report(_scene_of_folder(record, folder), folder)
    return folder / REPORT


def _scene_of_folder(record: Mapping[str, Any], folder: Path) -> Scene:
    """Return what is drawn of the pair, whose scans are read and prepared again."""
    inputs = read_inputs(
        _scan_of(record, "fixed", folder),
        _scan_of(record, "moving", folder),
        fixed_labels=None,
        moving_labels=None,
        orientation=record.get("orientation"),
        fixed_mask=_mask_of(record, "fixed_mask"),
        moving_mask=_mask_of(record, "moving_mask"),
        brain=bool(record.get("brain")),
    )
    if is_slice(inputs.fixed.grid):
        raise InputError(f"{folder} holds slices, of which no page is made yet; see {OVERVIEW}.")
    whole = io.read_displacement(RegistrationUnit(folder).warp_file)
    if not whole.grid.matches(inputs.fixed.grid):
        raise InputError(
            f"{RegistrationUnit(folder).warp_file} does not lie on the grid of {record['fixed']}, "
            "so it belongs to another pair; register the pair again."
        )
    alignment = _alignment_of(record, folder)
    start = "identity" if record.get("init") == "identity" else alignment
    return scene_of_maps(whole, prepared_task(inputs, start, Machine()))


def _mask_of(record: Mapping[str, Any], which: str) -> Path | str | None:
    mask = record.get(which)
    return mask if mask in (None, NO_BACKGROUND) else Path(str(mask))


def _scan_of(record: Mapping[str, Any], which: str, folder: Path) -> Path:
    """Return the file of a scan, which must be the one that was registered."""
    path = Path(record[which])
    if not path.is_file():
        raise InputError(
            f"{folder / METRICS} says that the {which} scan is {path}, and no such file is here; "
            "start the command in the folder where the registration was started."
        )
    known = record.get("sha256")
    if isinstance(known, dict) and known.get(which) != io.sha256(path):
        raise InputError(
            f"{path} has changed since it was registered to {folder}; register the pair again."
        )
    return path


def _alignment_of(record: Mapping[str, Any], folder: Path) -> Affine:
    try:
        return Affine(np.array(record["alignment"], dtype=np.float64))
    except (KeyError, TypeError, ValueError):
        raise damaged(folder / METRICS, "it lacks the alignment") from None
