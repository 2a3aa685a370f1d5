"""Register a pair at a desk: images in memory (:func:`register_images`), or to the files of a
folder (:func:`register_at_desk`): maps, the warped scan, metrics and a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import METRICS, OVERVIEW, REPORT, WARPED_LABELS
from diffeode.desk.stages import (
    ALIGNING,
    DRAWING,
    MEASURING,
    PREPARING,
    REGISTERING,
    REPORTING,
    WRITING,
    Stages,
    planned,
    staged,
)
from diffeode.errors import InputError, RegistrationError, reason_of
from diffeode.files import io
from diffeode.files.label_ids import lost_labels, shown
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.transform import warp_image, warp_labels
from diffeode.names import readable
from diffeode.prepare.pair import align_pair
from diffeode.prepare.scan import prepare_image
from diffeode.registration.base import Machine
from diffeode.registration.harness import Result, Task, register, write_trace
from diffeode.registration.knobs import as_parameters
from diffeode.registration.runs import Run
from diffeode.units.registration import RegistrationUnit


@final
@dataclass(frozen=True, eq=False)
class Registered:
    """A pair that was registered in memory.

    Attributes:
        run: the run that registered.
        inputs: the images as they were given.
        task: the prepared pair, and the affine that it was aligned by.
        result: the maps, the verdict, the costs and the notes.
        warped: the moving image on the grid of the fixed one, by one linear interpolation, in the
            intensities that it was given in.
        warped_labels: its label map there, by nearest neighbour; None where none was given.
    """

    run: Run
    inputs: Inputs
    task: Task
    result: Result
    warped: Image
    warped_labels: Labels | None

    @property
    def title(self) -> str:
        """What pictures of the pair are headed by."""
        names = (self.inputs.moving_name, self.inputs.fixed_name)
        moving, fixed = (readable(Path(name).name) for name in names)
        return f"{moving} to {fixed}, {self.run.title}"


def register_images(run: Run, inputs: Inputs, machine: Machine, alignment: str) -> Registered:
    """Prepare, align and register a pair of images in memory; nothing is written.

    Args:
        alignment: as for :func:`~diffeode.prepare.pair.align_pair`.

    Raises:
        InputError: an image is unusable, or the brains do not meet.
        RegistrationError: the alignment failed, or the method could not register the pair.
    """
    stages = staged(machine.progress, _plan(run, inputs, machine, alignment, report=False))
    machine = dataclasses.replace(machine, progress=stages)
    task = _prepared_task(inputs, alignment, machine, stages)
    stages.begin(REGISTERING)
    result = _registered(run, task, machine)
    grid, moving = task.fixed.grid, inputs.moving_labels
    labels = None if moving is None else warp_labels(moving, result.warp, grid)
    result = dataclasses.replace(result, notes=(*result.notes, *_remarks(inputs, labels)))
    return Registered(
        run, inputs, task, result, warp_image(inputs.moving, result.warp, grid), labels
    )


def write_registered(
    registered: Registered,
    folder: Path,
    provenance: Mapping[str, object],
    report: bool = False,
    begin: Callable[[str], None] = lambda stage: None,
) -> None:
    """Measure a registered pair and write its files to ``folder``.

    The files are those of :func:`diffeode.desk.outputs.output_names`.

    Args:
        provenance: what else the metrics should record of how the result was made.
        report: whether the page of the registration is written, too.
        begin: called with the name of each stage that begins (:mod:`diffeode.desk.stages`).
    """
    # Imported only now, so that the peak memory in the metrics is that of the registration.
    from diffeode.desk.metrics import write_metrics
    from diffeode.desk.overview import scene_of_pair, worth_less_than_the_maps
    from diffeode.desk.report import write_report
    from diffeode.figures.pair_panel import draw_scene

    result, task = registered.result, registered.task
    begin(MEASURING)
    write_metrics(folder / METRICS, registered.run, result, task, registered.inputs, provenance)
    begin(WRITING)
    _write_maps(registered, folder)
    begin(DRAWING)
    with worth_less_than_the_maps("pictures"):
        scene = scene_of_pair(result, task)
        with worth_less_than_the_maps(OVERVIEW):
            draw_scene(scene, registered.title, folder / OVERVIEW)
        if report:
            begin(REPORTING)
            with worth_less_than_the_maps(REPORT):
                write_report(scene, folder)


def register_at_desk(
    run: Run,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    alignment: str,
    provenance: Mapping[str, object],
    report: bool = False,
) -> Result:
    """Register a pair (:func:`register_images`) and write its files (:func:`write_registered`).

    Raises:
        InputError, RegistrationError: as :func:`register_images`.
    """
    plan = _plan(run, inputs, machine, alignment, report)
    stages = staged(machine.progress, plan)
    stages.plan(plan)
    machine = dataclasses.replace(machine, progress=stages)
    registered = register_images(run, inputs, machine, alignment)
    write_registered(registered, folder, provenance, report, stages.begin)
    return registered.result


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


def _plan(
    run: Run, inputs: Inputs, machine: Machine, alignment: str, report: bool
) -> dict[str, float | None]:
    voxels = (inputs.fixed.data.size + inputs.moving.data.size) / 2
    return planned(
        run.method,
        as_parameters(run.build(), whole=True),
        voxels / 1e6,
        machine.threads,
        machine.device,
        aligns=alignment == "affine",
        report=report,
    )


def _prepared_task(inputs: Inputs, alignment: str, machine: Machine, stages: Stages) -> Task:
    stages.begin(PREPARING)
    fixed, _ = prepare_image(inputs.fixed, inputs.fixed_name)
    moving, _ = prepare_image(inputs.moving, inputs.moving_name)
    if alignment == "affine":
        _require_perpendicular(inputs)
    stages.begin(ALIGNING)
    aligned, to_scan = align_pair(
        fixed, moving, alignment, "resample", machine.threads, machine.seed
    )
    return Task(fixed, aligned, moving, to_scan)


def _require_perpendicular(inputs: Inputs) -> None:
    """Raise :class:`InputError`, which names the file, where the axes of a scan are sheared."""
    for image, name in ((inputs.fixed, inputs.fixed_name), (inputs.moving, inputs.moving_name)):
        try:
            image.grid.require_perpendicular("the alignment")
        except InputError as error:
            raise InputError(f"{name}: {error}") from None


def _registered(run: Run, task: Task, machine: Machine) -> Result:
    """Return the result of the registration.

    Whatever error a method raises becomes a :class:`RegistrationError` with its reason.
    """
    try:
        return register(run.build(), task, machine)
    except Exception as error:
        raise RegistrationError(
            f"{run.title} could not register the pair: {reason_of(error)}"
        ) from error


def _write_maps(registered: Registered, folder: Path) -> None:
    unit, result = RegistrationUnit(folder), registered.result
    io.write_displacement(unit.warp_file, result.warp)
    io.write_displacement(unit.inverse_warp_file, result.inverse_warp)
    io.write_image(unit.warped_file, registered.warped)
    write_trace(unit.trace_file, result.trace)
    if registered.warped_labels is not None:
        io.write_labels(folder / WARPED_LABELS, registered.warped_labels)
