"""The page about a registration at a desk, made from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffeode.desk.account import damaged, read_record, write_report
from diffeode.desk.inputs import Inputs, read_inputs, read_start
from diffeode.desk.outputs import METRICS, REPORT, START_BENDS
from diffeode.desk.overview import scene_of_pair
from diffeode.desk.registration import prepared_pair
from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.figures.pair_panel import Scene
from diffeode.figures.slice_panel import SliceScene
from diffeode.files import io
from diffeode.files.presence import require_file
from diffeode.geometry.plane import laid_flat, thin_axis
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


def _scene_of_folder(record: Mapping[str, Any], folder: Path) -> Scene | SliceScene:
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
    whole = io.read_displacement(RegistrationUnit(folder).warp_file)
    axis = thin_axis(whole.grid.shape)
    whole = whole if axis is None else laid_flat(whole, axis)
    if not whole.grid.matches(inputs.fixed.grid):
        raise InputError(
            f"{RegistrationUnit(folder).warp_file} does not lie on the grid of {record['fixed']}, "
            "so it belongs to another pair; register the pair again."
        )
    task, bent = prepared_pair(inputs, _start_of(record, folder, inputs), Machine())
    return scene_of_pair(inputs, whole, task, bent)


def _start_of(record: Mapping[str, Any], folder: Path, inputs: Inputs) -> str | Affine | Transform:
    """Return the start of the registration; one that was no affine is read again from its file."""
    alignment = _alignment_of(record, folder)
    if record.get(START_BENDS):
        return read_start(_file_of(record, "init", "start", folder), inputs)
    return "identity" if record.get("init") == "identity" else alignment


def _mask_of(record: Mapping[str, Any], which: str) -> Path | str | None:
    mask = record.get(which)
    return mask if mask in (None, NO_BACKGROUND) else Path(str(mask))


def _scan_of(record: Mapping[str, Any], which: str, folder: Path) -> Path:
    """Return the file of a scan, which must be the one that was registered."""
    return _file_of(record, which, f"{which} scan", folder)


def _file_of(record: Mapping[str, Any], which: str, what: str, folder: Path) -> Path:
    path = Path(str(record.get(which)))
    if not path.exists():
        raise InputError(
            f"{folder / METRICS} says that the {what} is {path}, and no such file is here; "
            "start the command in the folder where the registration was started."
        )
    known = record.get("sha256")
    if path.is_file() and isinstance(known, dict) and known.get(which) != io.sha256(path):
        raise InputError(
            f"{path} has changed since it was registered to {folder}; register the pair again."
        )
    return path


def _alignment_of(record: Mapping[str, Any], folder: Path) -> Affine:
    try:
        return Affine(np.array(record["alignment"], dtype=np.float64))
    except (KeyError, TypeError, ValueError):
        raise damaged(folder / METRICS, "it lacks the alignment") from None
