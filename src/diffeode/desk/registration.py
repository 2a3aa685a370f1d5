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

from diffeode.desk.guides import guidance_of, remarks_on
from diffeode.desk.inputs import Inputs
from diffeode.desk.log import log_result, log_side, log_start, log_task
from diffeode.desk.outputs import (
    AFFINE,
    ALIGNED_BY,
    METRICS,
    OVERVIEW,
    REPORT,
    START_BENDS,
    WARPED_LABELS,
)
from diffeode.desk.slices import thin_axes, write_warped_picture
from diffeode.desk.stages import (
    ALIGNING,
    DRAWING,
    MEASURING,
    PREPARING,
    REGISTERING,
    REPORTING,
    STRIPPING,
    WRITING,
    planned,
    staged,
)
from diffeode.desk.start import BentStart
from diffeode.desk.transform import Transform
from diffeode.errors import InputError, RegistrationError, reason_of
from diffeode.files import io
from diffeode.files.label_ids import lost_labels, shown
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice, lies_as_pictures, matrix_between, with_thin_axis
from diffeode.geometry.transform import Affine, warp_labels, warp_on_own_grid
from diffeode.geometry.transform import Transform as Map
from diffeode.names import readable
from diffeode.prepare.choices import ALIGNED_STARTS, NO_BACKGROUND
from diffeode.prepare.quick_affine import quick_alignment
from diffeode.prepare.recognised import looks_like_a_label_map
from diffeode.prepare.side import align_sides, looks_like_a_head, prepared_side, stripped_head
from diffeode.process.fresh import in_new_process
from diffeode.programs.ants_bridge import keeps_other_threads
from diffeode.registration.base import Machine, Method, require_slices_taken
from diffeode.registration.guidance import Guidance, guided_method, takes_guidance
from diffeode.registration.harness import Result, Task, register, write_trace
from diffeode.registration.knobs import as_parameters
from diffeode.registration.runs import Run
from diffeode.registration.stillness import judged_stillness
from diffeode.units.registration import RegistrationUnit

BY_ANTS, ON_COARSE_VOXELS = "ANTs", "ITK, on coarse voxels"
"""How a pair was aligned."""
_OF_ANTS = "ants-syn"
"""The method that runs inside of this process on the threads that ITK keeps since its first use."""


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
        bent: the start of the user's own, where that was no affine.
        aligned_by: the program that found the alignment; empty where none was looked for.
    """

    run: Run
    inputs: Inputs
    task: Task
    result: Result
    warped: Image
    warped_labels: Labels | None
    bent: BentStart | None = None
    aligned_by: str = ""

    @property
    def title(self) -> str:
        """What pictures of the pair are headed by."""
        names = (self.inputs.moving_name, self.inputs.fixed_name)
        moving, fixed = (readable(Path(name).name) for name in names)
        return f"{moving} to {fixed}, {self.run.title}"


def register_images(
    run: Run, inputs: Inputs, machine: Machine, start: str | Affine | Transform
) -> Registered:
    """Prepare, align and register a pair of images in memory; nothing is written.

    Args:
        start: a kind of :data:`diffeode.prepare.choices.STARTS`, or a map of one's own from points
            of the fixed image to points of the moving one, RAS mm.

    Raises:
        InputError: an image, a mask or a start is unusable, the images do not meet, or the run
            cannot leave out what a mask leaves out or take what is to guide it.
        RegistrationError: the alignment failed, or the method could not register the pair.
    """
    require_slices_taken(run.build(), inputs.fixed.grid)
    _require_masks_used(run, inputs)
    _require_guides_used(run, inputs, start)
    stages = staged(machine.progress, _plan(run, inputs, machine, start, report=False))
    machine = dataclasses.replace(machine, progress=stages)
    log_task(run, inputs)
    prepared = _prepared(inputs, start, machine, stages.begin)
    task, bent = prepared.task, prepared.bent
    stages.begin(REGISTERING)
    result = _registered(run, task, machine, bent, prepared.guidance)
    start_map = task.moving_to_scan if bent is None else bent.forward
    verdict = judged_stillness(result.verdict, run.method, result.warp, start_map, task)
    result = dataclasses.replace(result, verdict=verdict)
    log_result(result)
    grid, moving = task.fixed.grid, inputs.moving_labels
    labels = None if moving is None else warp_labels(moving, result.warp, grid)
    remarks = (
        *_offers(inputs, task),
        *_on_label_maps(inputs),
        *remarks_on(inputs),
        *_remarks(inputs, labels),
    )
    result = dataclasses.replace(result, notes=(*result.notes, *remarks))
    warped = warp_on_own_grid(inputs.moving, result.warp)
    return Registered(run, inputs, task, result, warped, labels, bent, prepared.aligned_by)


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
    from diffeode.desk.overview import worth_less_than_the_maps

    result, task = registered.result, registered.task
    begin(MEASURING)
    if registered.aligned_by:
        provenance = {**provenance, ALIGNED_BY: registered.aligned_by}
    if registered.bent is not None:
        provenance = {**provenance, START_BENDS: True}
    write_metrics(folder / METRICS, registered.run, result, task, registered.inputs, provenance)
    begin(WRITING)
    _write_maps(registered, folder)
    begin(DRAWING)
    with worth_less_than_the_maps("pictures"):
        _draw(registered, folder, report, begin)


def _draw(registered: Registered, folder: Path, report: bool, begin: Callable[[str], None]) -> None:
    from diffeode.desk.account import write_report
    from diffeode.desk.overview import draw, scene_of_registered, worth_less_than_the_maps

    scene = scene_of_registered(registered)
    with worth_less_than_the_maps(OVERVIEW):
        draw(scene, registered.title, folder / OVERVIEW)
    if report:
        begin(REPORTING)
        with worth_less_than_the_maps(REPORT):
            write_report(scene, folder)


def register_at_desk(
    run: Run,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    start: str | Affine | Transform,
    provenance: Mapping[str, object],
    report: bool = False,
) -> Result:
    """Register a pair (:func:`register_images`) and write its files (:func:`write_registered`).

    Raises:
        InputError, RegistrationError: as :func:`register_images`.
    """
    plan = _plan(run, inputs, machine, start, report)
    stages = staged(machine.progress, plan)
    stages.plan(plan)
    machine = dataclasses.replace(machine, progress=stages)
    registered = register_images(run, inputs, machine, start)
    write_registered(registered, folder, provenance, report, stages.begin)
    return registered.result


def _offers(inputs: Inputs, task: Task) -> list[str]:
    """Return a note that offers skull stripping where two whole heads were registered."""
    given = inputs.fixed_mask is not None or inputs.moving_mask is not None or inputs.brain
    if given or is_slice(inputs.fixed.grid):
        return []
    sides = (inputs.fixed, task.fixed), (inputs.moving, task.moving_scan)
    if not all(looks_like_a_head(image, prepared) for image, prepared in sides):
        return []
    return ["both images look like whole heads; --brain strips their skulls first"]


def _on_label_maps(inputs: Inputs) -> list[str]:
    """Return a note for each scan that looks like a label map."""
    pictures = [side.picture for side in inputs.slices] if inputs.slices else [None, None]
    scans = [
        (inputs.fixed, inputs.fixed_name, pictures[0]),
        (inputs.moving, inputs.moving_name, pictures[1]),
    ]
    for other in inputs.guides.contrasts:
        scans += [(other.fixed, other.fixed_name, None), (other.moving, other.moving_name, None)]
    return [
        f"{name} looks like a label map or a mask, and its values were compared as intensities; "
        "give label maps beside the scans, by --fixed-labels and --labels"
        for image, name, picture in scans
        if looks_like_a_label_map(image.data, picture)
    ]


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
    run: Run, inputs: Inputs, machine: Machine, start: str | Affine | Transform, report: bool
) -> dict[str, float | None]:
    voxels = (inputs.fixed.data.size + inputs.moving.data.size) / 2
    plan = planned(
        run.method,
        as_parameters(run.build(), whole=True),
        voxels / 1e6,
        machine.threads,
        machine.device,
        aligns=start in ALIGNED_STARTS,
        strips=inputs.brain,
        report=report,
    )
    alone = plan[REGISTERING]
    if alone is not None:
        plan[REGISTERING] = alone * len(inputs.guides.shares)
    return plan


def prepared_task(
    inputs: Inputs,
    start: str | Affine,
    machine: Machine,
    begin: Callable[[str], None] = lambda stage: None,
) -> Task:
    """Return the pair as a method is given it (:func:`prepared_pair`)."""
    return prepared_pair(inputs, start, machine, begin)[0]


def prepared_pair(
    inputs: Inputs,
    start: str | Affine | Transform,
    machine: Machine,
    begin: Callable[[str], None] = lambda stage: None,
) -> tuple[Task, BentStart | None]:
    """Return the pair as a method is given it: prepared, and the moving image brought to ``start``;
    and the start where it is no affine.

    Args:
        start: as for :func:`register_images`.
        begin: called with the name of each stage that begins.

    Raises:
        InputError, RegistrationError: as :func:`register_images`.
    """
    prepared = _prepared(inputs, start, machine, begin)
    return prepared.task, prepared.bent


@final
@dataclass(frozen=True, eq=False)
class _Prepared:
    """A prepared pair.

    Attributes:
        task: the pair as a method is given it.
        bent: the start where it is no affine.
        guidance: what guides the registration.
        aligned_by: as in :class:`Registered`.
    """

    task: Task
    bent: BentStart | None
    guidance: Guidance | None
    aligned_by: str


def _prepared(
    inputs: Inputs,
    start: str | Affine | Transform,
    machine: Machine,
    begin: Callable[[str], None],
) -> _Prepared:
    fixed_image, moving_image = inputs.fixed, inputs.moving
    if inputs.brain:
        begin(STRIPPING)
        fixed_image = stripped_head(fixed_image, inputs.fixed_name, machine.threads)
        moving_image = stripped_head(moving_image, inputs.moving_name, machine.threads)
    begin(PREPARING)
    fixed = prepared_side(fixed_image, inputs.fixed_name, inputs.fixed_mask)
    moving = prepared_side(moving_image, inputs.moving_name, inputs.moving_mask)
    log_side(fixed_image, inputs.fixed_name, inputs.fixed_mask, fixed)
    log_side(moving_image, inputs.moving_name, inputs.moving_mask, moving)
    if start in ALIGNED_STARTS:
        _require_perpendicular(inputs)
    begin(ALIGNING)
    leads: str | Map
    bent, aligned_by = None, ""
    if isinstance(start, Transform):
        bent = BentStart.of(start, fixed.image, moving.image)
        leads = bent.forward
    elif isinstance(start, str) and start in ALIGNED_STARTS:
        quick = quick_alignment(start, fixed, moving)
        leads, aligned_by = (start, BY_ANTS) if quick is None else (quick, ON_COARSE_VOXELS)
    else:
        leads = start
    aligned = align_sides(fixed, moving, leads, machine.threads, machine.seed)
    images = fixed.image, aligned.image, moving.image
    to_scan = bent.nearest if bent else aligned.affine
    log_start(start, fixed, moving, to_scan, aligned)
    task = Task(*images, to_scan, counts=aligned.counts)
    scans = fixed_image, moving_image
    guidance = guidance_of(inputs, scans, fixed, aligned, leads, to_scan, machine.threads)
    return _Prepared(task, bent, guidance, aligned_by)


def _require_masks_used(run: Run, inputs: Inputs) -> None:
    masks = (inputs.fixed_mask, inputs.moving_mask)
    if inputs.brain and NO_BACKGROUND in [mask for mask in masks if isinstance(mask, str)]:
        raise InputError(
            "The skull cannot be stripped where nothing is background; leave out either --brain or "
            "the mask 'none'."
        )
    if any(isinstance(mask, np.ndarray) for mask in masks) and not run.build().leaves_out:
        raise InputError(
            f"{run.title} ({run.name}) cannot leave out the voxels that a mask leaves out; give no "
            "mask, or a run of our method, such as node."
        )


def _require_guides_used(run: Run, inputs: Inputs, start: str | Affine | Transform) -> None:
    wanted = next(inputs.guides.changing(), None)
    if wanted is not None and isinstance(start, Transform):
        raise InputError(
            f"A registration takes no {wanted} where it starts from a map that bends; leave one of "
            "the two out, or start from an affine."
        )
    if wanted is not None and not takes_guidance(run.method):
        raise InputError(
            f"{run.title} ({run.name}) takes no {wanted}; leave it out, or choose a run of our "
            "method, such as node."
        )


def _require_perpendicular(inputs: Inputs) -> None:
    """Raise :class:`InputError`, which names the file, where the axes of a scan are sheared."""
    for image, name in ((inputs.fixed, inputs.fixed_name), (inputs.moving, inputs.moving_name)):
        try:
            image.grid.require_perpendicular("the alignment")
        except InputError as error:
            raise InputError(f"{name}: {error}") from None


def _registered(
    run: Run, task: Task, machine: Machine, bent: BentStart | None, guidance: Guidance | None
) -> Result:
    """Return the result of the registration.

    Whatever error a method raises becomes a :class:`RegistrationError` with its reason. SyN runs in
    a process of its own where this one used ANTs with another number of threads before.
    """
    method = run.build() if guidance is None else guided_method(run, guidance)
    try:
        if run.method == _OF_ANTS and keeps_other_threads(machine.threads):
            where = (machine.threads, machine.seed, machine.device)
            return in_new_process(_registered_there, method, task, bent, where)
        return _registered_here(method, task, bent, machine)
    except Exception as error:
        raise RegistrationError(
            f"{run.title} could not register the pair: {reason_of(error)}"
        ) from error


def _registered_here(
    method: Method, task: Task, bent: BentStart | None, machine: Machine
) -> Result:
    if bent is not None:
        return bent.continued(method, task, machine)
    return register(method, task, machine)


def _registered_there(
    method: Method, task: Task, bent: BentStart | None, where: tuple[int, int, str]
) -> Result:
    """Register in a process that has not used ITK yet, and tells no progress."""
    return _registered_here(method, task, bent, Machine(*where))


def _write_maps(registered: Registered, folder: Path) -> None:
    unit, result = RegistrationUnit(folder), registered.result
    fixed_axis, moving_axis = thin_axes(registered.inputs)
    io.write_displacement(unit.warp_file, with_thin_axis(result.warp, fixed_axis), quick=True)
    io.write_displacement(
        unit.inverse_warp_file, with_thin_axis(result.inverse_warp, moving_axis), quick=True
    )
    if registered.bent is None:
        _write_affine(folder / AFFINE, registered.task)
    io.write_image(unit.warped_file, with_thin_axis(registered.warped, fixed_axis))
    write_trace(unit.trace_file, result.trace)
    if registered.warped_labels is not None:
        labels = with_thin_axis(registered.warped_labels, fixed_axis)
        io.write_labels(folder / WARPED_LABELS, labels)
    write_warped_picture(registered.inputs, registered.task, result, folder)


def _write_affine(path: Path, task: Task) -> None:
    """Write the affine of ``task``; that of two pictures is one of ITK's transforms in 2-D."""
    grids = task.fixed.grid, task.moving_scan.grid
    if all(map(lies_as_pictures, grids)):
        io.write_itk_plane_affine(path, matrix_between(task.moving_to_scan, *grids))
    else:
        io.write_itk_affine(path, task.moving_to_scan)
