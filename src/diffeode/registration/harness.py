"""The harness that runs every method on one pair in the same way: seed, clock, memory, checks,
files, receipt, failures.
"""

from __future__ import annotations

import importlib
import itertools
import math
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from diffeode.errors import InputError, KilledError, RegistrationError, reason_of
from diffeode.evaluation.verdict import Verdict, judge, signs_of, turned_note
from diffeode.files import io
from diffeode.files.tables import write_rows
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import (
    Affine,
    DisplacementField,
    KeptVelocity,
    densify,
    invert,
    rounded,
    warp_image,
)
from diffeode.process.watch import watched
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.software import registering_versions
from diffeode.registration.base import (
    Machine,
    Method,
    Pair,
    Registration,
    require_slices_taken,
)
from diffeode.registration.large_slices import with_fewer_pixels
from diffeode.units.pair import PairUnit
from diffeode.units.registration import (
    FIELDS,
    INVERSE_WARP,
    TRACE,
    VELOCITY,
    WARP,
    WARPED,
    RegistrationUnit,
)
from diffeode.units.scan import ScanUnit

if TYPE_CHECKING:
    from diffeode.registration.runs import Run

_SAMPLING_PERIOD_S = 0.02
_SAMPLES_PER_SEARCH = 10
"""Number of samples of the memory for each search for child processes, which reads the state of all
processes of the machine.
"""


@dataclass(frozen=True, eq=False)
class Task:
    """One pair to register.

    Attributes:
        fixed: the prepared fixed scan; its grid is the grid of the result.
        moving: the prepared moving scan on the same grid, after the affine alignment.
        moving_scan: the prepared moving scan on its own grid, before the affine alignment; it is
            resampled once through the result.
        moving_to_scan: the affine from points of ``moving`` to points of ``moving_scan``, RAS mm.
        counts: the voxels of the fixed grid that count in the similarity, ``(X, Y, Z)`` bool; None:
            all of them.
    """

    fixed: Image
    moving: Image
    moving_scan: Image
    moving_to_scan: Affine
    counts: np.ndarray | None = field(default=None, kw_only=True)

    def pair(self) -> Pair:
        """Return the pair that a method is given."""
        masks = foreground(self.fixed), foreground(self.moving)
        return Pair(self.fixed, self.moving, *masks, self.counts)


@dataclass(frozen=True, eq=False)
class Result:
    """A finished registration.

    Attributes:
        warp: the map from the fixed grid to points of the moving scan, RAS mm, the affine alignment
            included.
        inverse_warp: the map from the grid of the moving scan to points of the fixed scan, RAS mm.
        inverse_origin: ``method`` where the method gave the inverse, ``numerical`` where the
            harness inverted the map.
        trace: one mapping of numbers per iteration.
        notes: sentences that the user should know, of the method and of the harness.
        seconds, cpu_seconds: wall and CPU time of the method's own work.
        peak_memory_mb: peak resident memory of the process and its children.
        verdict: whether the registration is suspect.
        velocity: the velocity that the method found, or None.
    """

    warp: DisplacementField
    inverse_warp: DisplacementField
    inverse_origin: str
    trace: tuple[dict[str, float], ...]
    notes: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    verdict: Verdict
    velocity: KeptVelocity | None = None


def read_task(pair: Path, moving_scan: Path) -> Task:
    """Read the task from the folders of an aligned pair and of its prepared moving scan.

    Raises:
        DamagedFileError: the pair or the scan differs from its receipt.
        AlignmentError: the pair could not be aligned.
    """
    aligned, scan = PairUnit(pair), ScanUnit(moving_scan)
    aligned.require_intact()
    scan.require_intact()
    images = aligned.fixed(), aligned.moving(), scan.image()
    return Task(*images, aligned.moving_to_scan(), counts=aligned.counts())


def register(method: Method, task: Task, machine: Machine) -> Result:
    """Run ``method`` under the clock that all methods share, and make whole maps of its result.

    The clock counts the method's own work. It does not count reading, writing, importing packages
    and the composition with the affine alignment.

    Raises:
        InputError: the method lacks something that it needs to start, such as weights, or cannot
            take this pair.
        RegistrationError: the method failed or returned an unusable map.
    """
    if reason := method.lacking():
        raise InputError(reason)
    require_slices_taken(method, task.fixed.grid)
    load(method)
    _seed_everything(machine.seed)
    with measured() as usage:
        registration = method.register(with_fewer_pixels(task.pair()), machine)
    forward, inverse, origin = whole_maps(registration, task)
    verdict = judge(signs_of(forward, inverse, task.fixed, task.moving_scan, task.moving_to_scan))
    # Slices of tissue lie turned on their glass as they were put there.
    turned = "" if is_slice(task.fixed.grid) else turned_note(task.moving_to_scan)
    notes = (*registration.notes, *filter(None, [turned]))
    return Result(
        forward,
        inverse,
        origin,
        registration.trace,
        notes,
        **usage,
        verdict=verdict,
        velocity=registration.velocity,
    )


def register_to_folder(
    run: Run,
    task: Task,
    machine: Machine,
    folder: Path,
    provenance: dict[str, Any],
    limit_minutes: float | None = None,
    *,
    keep: str = "all",
    fields: str = "float32",
    meanwhile: Callable[[], object] = lambda: None,
    raises_where_killed: bool = False,
) -> bool:
    """Register a pair, write its files and its receipt, and return whether that succeeded.

    The files are those that :func:`write_result` writes. The work is done in a
    process of its own (:func:`diffeode.process.watch.watched`), so that a method that hangs,
    crashes or runs out of memory fails like any other. The notes of the method are written to the
    receipt and to standard error, which is the log of a workflow. A failure is written as a receipt
    with its reason and no files, so that the study continues and counts the pair as failed.

    Args:
        limit_minutes: the longest time that registering and writing may take together; None for no
            limit.
        keep, fields: as in :func:`write_result`.
        meanwhile: called in this process while the registration works.
        raises_where_killed: whether a registration whose process is killed leaves no receipt and
            raises, because it is tried again.

    Raises:
        KilledError: the process of the registration was killed, and ``raises_where_killed``.
    """
    try:
        files, outcome = watched(
            lambda: _register_and_write(run, task, machine, folder, keep, fields),
            limit_minutes,
            meanwhile,
        )
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        for file in RegistrationUnit(folder).files:
            file.unlink(missing_ok=True)
        if raises_where_killed and isinstance(error, KilledError):
            raise
        write_failure(run, machine, folder, provenance, error)
        return False
    for sentence in filter(None, [*outcome["notes"], outcome["verdict"]]):
        print(f"{run.name}: {sentence}", file=sys.stderr)
    about = {**provenance, **what_runs(run, machine)}
    write_receipt(folder, files, {**about, **outcome, "status": "done"})
    return True


def write_failure(
    run: Run, machine: Machine, folder: Path, provenance: dict[str, Any], error: Exception
) -> None:
    """Write the receipt of a registration that failed with ``error``; it lists no files."""
    about = {**provenance, **what_runs(run, machine)}
    write_receipt(folder, [], {**about, "status": "failed", "reason": reason_of(error)})


def what_runs(run: Run, machine: Machine) -> dict[str, Any]:
    """Return the entries of a receipt about a run and about the machine on which it works."""
    return {
        "run": run.name,
        "method": run.method,
        "parameters": run.parameters,
        "seed": machine.seed,
        "threads": machine.threads,
        "device": machine.device,
        "software": registering_versions(),
    }


def _register_and_write(
    run: Run, task: Task, machine: Machine, folder: Path, keep: str, fields: str
) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the files, and the entries of the receipt about the result."""
    method = run.build()
    result = register(method, task, machine)
    files = write_result(result, task, folder, keep, fields)
    costs = {
        key: round(getattr(result, key), 3) for key in ("seconds", "cpu_seconds", "peak_memory_mb")
    }
    used = {"inverse_origin": result.inverse_origin, "reads": method.reads(), "fields": fields}
    return files, {**costs, **used, "notes": list(result.notes), **recorded(result.verdict)}


def recorded(verdict: Verdict) -> dict[str, Any]:
    """Return the entries of receipts and ``metrics.json`` about a verdict: ``suspect``, the
    sentence, and the numbers on which it rests.
    """
    signs = {
        name: round(value, 6) if math.isfinite(value) else None
        for name, value in verdict.signs.items()
    }
    return {"suspect": verdict.suspect, "verdict": verdict.sentence, "signs": signs}


def write_result(
    result: Result, task: Task, folder: Path, keep: str = "all", fields: str = "float32"
) -> list[str]:
    """Write the files of a registration to ``folder``, and return their names.

    Args:
        keep: the study's key (:data:`diffeode.units.registration.KEPT`). Only ``all`` writes the
            warped image, and only ``velocity`` the velocity, where the method has one. Maps and
            trace are always written, because the evaluation and the figures read them;
            :meth:`diffeode.units.registration.RegistrationUnit.reduce` removes them afterwards.
        fields: whether the maps are written as they are (``float32``) or rounded
            (:data:`diffeode.units.registration.FIELDS`). The warped image is made with the map
            that is written.
    """
    unit = RegistrationUnit(folder)
    names = [WARP, INVERSE_WARP, TRACE]
    warp = _write_maps(unit, result.warp, result.inverse_warp, fields)
    if keep == "all":
        io.write_image(unit.warped_file, warp_image(task.moving_scan, warp, task.fixed.grid))
        names.append(WARPED)
    if keep == "velocity" and result.velocity is not None:
        unit.write_velocity(result.velocity)
        names.append(VELOCITY)
    _write_trace(unit.trace_file, result.trace)
    return [file.name for file in unit.files if file.name in names]


def restore_maps(folder: Path, task: Task) -> None:
    """Make the maps of a registration, which were removed, again from the velocity that it keeps.

    Args:
        folder: the unit of the registration.
        task: the pair that was registered (:func:`read_task`).

    Raises:
        InputError: the unit keeps no velocity, or is damaged.
        RegistrationError: the maps differ from those that were registered and evaluated, because
            the software or the device is another. Nothing is written then.
    """
    from diffeode.registration.runs import Run

    unit = RegistrationUnit(folder)
    receipt = unit.require_intact()
    velocity = unit.velocity()
    method = Run(receipt["run"], receipt["method"], receipt["run"], receipt["parameters"]).build()
    forward, inverse, _ = whole_maps(method.expanded(velocity, Machine(receipt["threads"])), task)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".restoring-") as here:
        made = RegistrationUnit(Path(here))
        _write_maps(made, forward, inverse, receipt["fields"])
        for file in (made.warp_file, made.inverse_warp_file):
            if io.sha256(file) != receipt["outputs"][file.name]["sha256"]:
                raise RegistrationError(
                    f"{file.name} of {folder} cannot be made from the velocity to the bit, because "
                    "the software or the device is another; register the pair again."
                )
        for file in (made.warp_file, made.inverse_warp_file):
            file.replace(folder / file.name)


def _write_maps(
    unit: RegistrationUnit, warp: DisplacementField, inverse_warp: DisplacementField, fields: str
) -> DisplacementField:
    """Write both maps in the form ``fields``; return the forward one as it was written."""
    step_mm = FIELDS[fields]
    if step_mm is not None:
        warp, inverse_warp = rounded(warp, step_mm), rounded(inverse_warp, step_mm)
    io.write_displacement(unit.warp_file, warp)
    io.write_displacement(unit.inverse_warp_file, inverse_warp)
    return warp


def _write_trace(path: Path, trace: tuple[dict[str, float], ...]) -> None:
    names = dict.fromkeys(name for row in trace for name in row)
    rows = ({"iteration": index, **row} for index, row in enumerate(trace))
    write_rows(path, ["iteration", *names], rows)


# Renaming the function would change the identity of every registration.
write_trace = _write_trace
"""Write the trace of a registration as a table with a row for each iteration."""


def whole_maps(
    registration: Registration, task: Task
) -> tuple[DisplacementField, DisplacementField, str]:
    """Return both maps with the affine alignment, and where the inverse comes from."""
    forward = densify(registration.forward.then(task.moving_to_scan), task.fixed.grid)
    return forward, *_inverse(registration, task)


def _inverse(registration: Registration, task: Task) -> tuple[DisplacementField, str]:
    grid = task.moving_scan.grid
    inverse, origin = registration.inverse, "method"
    if inverse is None:
        inverse, origin = (
            invert(densify(registration.forward, task.fixed.grid), task.fixed.grid),
            "numerical",
        )
    return densify(task.moving_to_scan.inverse().then(inverse), grid), origin


def load(method: Method) -> None:
    """Import all that a method uses, before the clock starts and the seed is set.

    Warnings are restored afterwards, because some packages silence all warnings of the process.
    """
    with warnings.catch_warnings():
        for name in method.needs.packages:
            importlib.import_module(name)
    method.load()


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Measure the block: yield a mapping that holds, at its end, wall and CPU seconds and the peak
    resident memory, MB, of this process and its children.
    """
    usage: dict[str, float] = {}
    process = psutil.Process()
    peak, stop = [0], threading.Event()

    def watch() -> None:
        for sample in itertools.count():
            if sample % _SAMPLES_PER_SEARCH == 0:
                family = _family(process)
            peak[0] = max(peak[0], _resident_bytes(family))
            if stop.wait(_SAMPLING_PERIOD_S):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), _cpu_seconds(process)
    try:
        yield usage
    finally:
        usage["seconds"] = time.perf_counter() - wall
        usage["cpu_seconds"] = _cpu_seconds(process) - cpu
        stop.set()
        watcher.join()
        usage["peak_memory_mb"] = max(peak[0], _resident_bytes(_family(process))) / 1e6


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _resident_bytes(family: list[psutil.Process]) -> int:
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system
