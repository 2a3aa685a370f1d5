"""Register a pair at a desk: images in memory (:func:`register_images`), or to the files of a
folder (:func:`register_at_desk`): maps, the warped scan, metrics and a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import METRICS, OVERVIEW, WARPED_LABELS
from diffeode.desk.slices import slices_task, thin_axes, write_warped_picture
from diffeode.errors import InputError, RegistrationError, reason_of
from diffeode.files import io
from diffeode.files.label_ids import lost_labels, shown
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice, with_thin_axis
from diffeode.geometry.transform import warp_image, warp_labels
from diffeode.names import readable
from diffeode.prepare.pair import align_pair
from diffeode.prepare.scan import prepare_image
from diffeode.registration.base import Machine, require_slices_taken
from diffeode.registration.harness import Result, Task, register
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
    require_slices_taken(run.build(), inputs.fixed.grid)
    task = _prepared_task(inputs, alignment, machine)
    result = _registered(run, task, machine)
    grid, moving = task.fixed.grid, inputs.moving_labels
    labels = None if moving is None else warp_labels(moving, result.warp, grid)
    result = dataclasses.replace(result, notes=(*result.notes, *_remarks(inputs, labels)))
    return Registered(
        run, inputs, task, result, warp_image(inputs.moving, result.warp, grid), labels
    )


def write_registered(
    registered: Registered, folder: Path, provenance: Mapping[str, object]
) -> None:
    """Measure a registered pair and write its files to ``folder``.

    The files are those of :func:`diffeode.desk.outputs.output_names`.

    Args:
        provenance: what else the metrics should record of how the result was made.
    """
    # Imported only now, so that the peak memory in the metrics is that of the registration.
    from diffeode.desk.metrics import write_metrics
    from diffeode.desk.overview import draw_overview

    result, task = registered.result, registered.task
    write_metrics(folder / METRICS, registered.run, result, task, registered.inputs, provenance)
    _write_maps(registered, folder)
    draw_overview(registered.inputs, result, task, registered.title, folder / OVERVIEW)


def register_at_desk(
    run: Run,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    alignment: str,
    provenance: Mapping[str, object],
) -> Result:
    """Register a pair (:func:`register_images`) and write its files (:func:`write_registered`).

    Raises:
        InputError, RegistrationError: as :func:`register_images`.
    """
    registered = register_images(run, inputs, machine, alignment)
    machine.progress(1.0, "measuring and writing")
    write_registered(registered, folder, provenance)
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


def _prepared_task(inputs: Inputs, alignment: str, machine: Machine) -> Task:
    machine.progress(0.0, "preparing")
    if is_slice(inputs.fixed.grid):
        return slices_task(inputs, alignment, machine)
    fixed, _ = prepare_image(inputs.fixed, inputs.fixed_name)
    moving, _ = prepare_image(inputs.moving, inputs.moving_name)
    if alignment == "affine":
        _require_perpendicular(inputs)
    machine.progress(0.0, "aligning")
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
    machine.progress(0.0, "registering")
    try:
        return register(run.build(), task, machine)
    except Exception as error:
        raise RegistrationError(
            f"{run.title} could not register the pair: {reason_of(error)}"
        ) from error


def _write_maps(registered: Registered, folder: Path) -> None:
    unit, result = RegistrationUnit(folder), registered.result
    fixed_axis, moving_axis = thin_axes(registered.inputs)
    io.write_displacement(unit.warp_file, with_thin_axis(result.warp, fixed_axis))
    io.write_displacement(unit.inverse_warp_file, with_thin_axis(result.inverse_warp, moving_axis))
    io.write_image(unit.warped_file, with_thin_axis(registered.warped, fixed_axis))
    if registered.warped_labels is not None:
        labels = with_thin_axis(registered.warped_labels, fixed_axis)
        io.write_labels(folder / WARPED_LABELS, labels)
    write_warped_picture(registered.inputs, registered.task, result, folder)
