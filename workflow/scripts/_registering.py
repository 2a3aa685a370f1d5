"""Registers one pair with one run, as a job of rule register does for each pair of its chunk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffeode.errors import AlignmentError
from diffeode.provenance.receipt import read_receipt
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, read_task, register_to_folder, write_failure
from diffeode.registration.registry import programs_of
from diffeode.registration.runs import Run, with_weights


def read_inputs(step: Mapping[str, Any]) -> Task | AlignmentError:
    """Return what a registration starts from, or why its pair could not be aligned; ``step`` holds
    its inputs by name.
    """
    pair, moving_scan = (Path(step["inputs"][name]).parent for name in ("pair", "moving_scan"))
    try:
        return read_task(pair, moving_scan)
    except AlignmentError as error:
        return error


def register_unit(
    step: Mapping[str, Any],
    names: Mapping[str, str],
    task: Task | AlignmentError,
    *,
    threads: int,
    device: str,
    limit_minutes: float | None,
    keep: str,
    meanwhile: Callable[[], None],
    is_last_attempt: bool,
) -> dict[str, Any]:
    """Register, write the files and the receipt, and return the content of the receipt.

    Args:
        step: the receipt to write, the inputs and the parameters.
        names: experiment, pair and run.
        task: the pair, or why it could not be aligned; then the registration fails for that reason.
        keep: which files are written.
        meanwhile: called while the registration works in a process of its own.
        is_last_attempt: False where the whole job is tried again with more memory if the process
            of the registration is killed.
    """
    parameters, folder = step["parameters"], Path(step["file"]).parent
    machine = Machine(
        threads=threads,
        seed=parameters["seed"],
        device=device,
        progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}", flush=True),
    )
    run = Run(names["run"], title=names["run"], **parameters["run"])
    for receipt in step["inputs"]["network"]:
        run = with_weights(run, Path(receipt).parent)
    # nothing of an earlier registration may lie beside the receipt of one that fails
    shutil.rmtree(folder, ignore_errors=True)
    provenance = {**names, **parameters["datasets"], "programs": programs_of(run.method)}
    if isinstance(task, AlignmentError):
        write_failure(run, machine, folder, provenance, task)
        return read_receipt(step["file"])
    register_to_folder(
        run,
        task,
        machine,
        folder,
        provenance,
        limit_minutes,
        keep=keep,
        fields=parameters["fields"],
        meanwhile=meanwhile,
        raises_where_killed=not is_last_attempt,
    )
    return read_receipt(step["file"])
