"""Register a pair at a desk: read two scans; write maps, the warped scan, metrics and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import METRICS, OVERVIEW, WARPED_LABELS
from diffeode.errors import InputError, RegistrationError, reason_of
from diffeode.files import io
from diffeode.files.label_ids import lost_labels, shown
from diffeode.geometry.image import Labels
from diffeode.geometry.transform import warp_image, warp_labels
from diffeode.names import readable
from diffeode.prepare.pair import align_pair
from diffeode.prepare.scan import prepare_image
from diffeode.registration.base import Machine
from diffeode.registration.harness import Result, Task, register
from diffeode.registration.runs import Run
from diffeode.units.registration import RegistrationUnit


def register_at_desk(
    run: Run,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    alignment: str,
    provenance: Mapping[str, object],
) -> Result:
    """Prepare, align, register and measure a pair, and write the results to ``folder``.

    The results are the files of :func:`diffeode.desk.outputs.output_names`.

    Args:
        alignment: as for :func:`~diffeode.prepare.pair.align_pair`.
        provenance: what else the metrics should record of how the result was made.

    Raises:
        InputError: a scan is unusable, or the brains do not meet.
        RegistrationError: the alignment failed, or the method could not register the pair.
    """
    task = _prepared_task(inputs, alignment, machine)
    result = _registered(run, task, machine)
    moving = inputs.moving_labels
    labels = None if moving is None else warp_labels(moving, result.warp, task.fixed.grid)
    result = dataclasses.replace(result, notes=(*result.notes, *_remarks(inputs, labels)))
    machine.progress(1.0, "measuring and writing")
    # Imported only now, so that the peak memory in the metrics is that of the registration.
    from diffeode.desk.metrics import write_metrics
    from diffeode.desk.overview import draw_overview

    write_metrics(folder / METRICS, run, result, task, inputs, provenance)
    _write_maps(result, task, inputs, labels, folder)
    title = (
        f"{readable(inputs.moving_path.name)} to {readable(inputs.fixed_path.name)}, {run.title}"
    )
    draw_overview(result, task, title, folder / OVERVIEW)
    return result


def _remarks(inputs: Inputs, warped: Labels | None) -> list[str]:
    """Return notes on the label maps: ids that are lost by warping, and ids that do not count."""
    fixed, moving = inputs.fixed_labels, inputs.moving_labels
    if moving is None or warped is None:
        return []
    lost = lost_labels(moving.data, warped.data)
    remarks = (
        [f"{WARPED_LABELS} has none of the ids {shown(lost)} of the moving label map"]
        if lost
        else []
    )
    if fixed is None:
        return remarks
    from diffeode.evaluation.labels import what_is_not_counted

    return remarks + what_is_not_counted(
        fixed, moving, np.setdiff1d(np.union1d(fixed.data, moving.data), 0)
    )


def _prepared_task(inputs: Inputs, alignment: str, machine: Machine) -> Task:
    machine.progress(0.0, "preparing")
    fixed, _ = prepare_image(inputs.fixed, str(inputs.fixed_path))
    moving, _ = prepare_image(inputs.moving, str(inputs.moving_path))
    if alignment == "affine":
        _require_perpendicular(inputs)
    machine.progress(0.0, "aligning")
    aligned, to_scan = align_pair(
        fixed, moving, alignment, "resample", machine.threads, machine.seed
    )
    return Task(fixed, aligned, moving, to_scan)


def _require_perpendicular(inputs: Inputs) -> None:
    """Raise :class:`InputError`, which names the file, where the axes of a scan are sheared."""
    for image, path in ((inputs.fixed, inputs.fixed_path), (inputs.moving, inputs.moving_path)):
        try:
            image.grid.require_perpendicular("the alignment")
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def _registered(run: Run, task: Task, machine: Machine) -> Result:
    """Return the result of the registration.

    Whatever error a method raises becomes a :class:`RegistrationError` with its reason.
    """
    machine.progress(0.0, "registering")
    try:
        return register(run.build(), task, machine)
    except Exception as error:
        raise RegistrationError(
            f"{run.title} could not register the pair: {reason_of(error)}"
        ) from error


def _write_maps(
    result: Result, task: Task, inputs: Inputs, labels: Labels | None, folder: Path
) -> None:
    grid = task.fixed.grid
    unit = RegistrationUnit(folder)
    io.write_displacement(unit.warp_file, result.warp)
    io.write_displacement(unit.inverse_warp_file, result.inverse_warp)
    io.write_image(unit.warped_file, warp_image(inputs.moving, result.warp, grid))
    if labels is not None:
        io.write_labels(folder / WARPED_LABELS, labels)
