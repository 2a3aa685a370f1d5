"""``diffeode register``: a pair of scans to a folder of maps, the warped scan and metrics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.cli.arguments import (
    ALIGNMENT_OF_INIT,
    add_init,
    add_machine,
    add_orientation,
    minutes,
    path,
    setting,
)
from diffeode.cli.delivery import delivered_whole, require_apart
from diffeode.cli.progress import ProgressLine
from diffeode.errors import InputError, RegistrationError, SuspectError
from diffeode.process.watch import Terminated, watched

if TYPE_CHECKING:
    from diffeode.registration.runs import Run

DEFAULT_RUN = "node"
"""The named run that registers where none is named."""

_OUTPUTS = (
    "warp.nii.gz",
    "inverse_warp.nii.gz",
    "warped.nii.gz",
    "warped_labels.nii.gz",
    "overview.png",
    "metrics.json",
)


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    register = commands.add_parser(
        "register",
        help="register a pair of scans",
        description="Register MOVING to FIXED; write the maps both ways, the warped scan and the "
        "metrics to a folder. "
        "Both scans must be skull-stripped (background 0); grids and orientations may differ, and "
        "intensities are "
        "normalised here. Maps are ITK displacement fields (LPS mm) that antsApplyTransforms and "
        "SimpleITK read.",
    )
    register.add_argument(
        "fixed", type=path, metavar="FIXED", help="the scan whose grid the result lies on"
    )
    register.add_argument("moving", type=path, metavar="MOVING", help="the scan to bring there")
    register.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the results"
    )
    register.add_argument(
        "--weights", type=path, metavar="FILE", help="of a run that is trained first"
    )
    register.add_argument(
        "--method", default=DEFAULT_RUN, metavar="RUN", help="a named run (default: %(default)s)"
    )
    register.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyper-parameter of the run (docs/methods.md), such as "
        "penalties.gradient.weight=0.5; may be given "
        "several times",
    )
    add_init(register, "align affinely first, or trust the positions in the headers")
    register.add_argument(
        "--labels", type=path, metavar="FILE", help="label map of MOVING, to be warped too"
    )
    register.add_argument(
        "--fixed-labels",
        type=path,
        metavar="FILE",
        help="label map of FIXED, to measure the overlap",
    )
    add_orientation(register)
    add_machine(register)
    register.add_argument(
        "--time-limit",
        type=minutes,
        metavar="MINUTES",
        help="give up after so long, whatever hangs (default: never)",
    )
    register.add_argument(
        "--strict",
        action="store_true",
        help="exit with code 3 where the result is suspect; it is written all the same",
    )
    register.set_defaults(command=_register)


def _register(options: argparse.Namespace) -> None:
    run = _runnable(options)
    results = [options.output / name for name in _OUTPUTS]
    require_apart(results, _read_by(run, options))
    with delivered_whole(options.output, _OUTPUTS) as folder:
        if options.time_limit is None:
            suspicion = _register_here(run, options, folder)
        else:
            suspicion = watched(lambda: _register_pair(run, options, folder), options.time_limit)
    if suspicion and options.strict:
        raise SuspectError(suspicion)
    if suspicion:
        print(f"diffeode: {suspicion}", file=sys.stderr)


def _runnable(options: argparse.Namespace) -> Run:
    """The run with the hyper-parameters that were set, once all that it needs and reads is known to
    be there.
    """
    from diffeode.registration.registry import missing_needs
    from diffeode.registration.runs import load_run

    run = load_run(options.method)
    weights = {} if options.weights is None else {"weights": str(options.weights)}
    run = run.changed({**dict(options.set), **weights})
    missing = missing_needs(run.method, run.parameters)
    if missing:
        raise InputError(
            f"Run {run.name} cannot run here: {'; '.join(missing)}; 'diffeode methods' lists those "
            "that can."
        )
    run.build().reads()
    return run


def _read_by(run: Run, options: argparse.Namespace) -> list[Path | None]:
    """Every file that is read: scans, label maps, and the files that parameters of the run name."""
    from diffeode.registration.knobs import dotted

    named = [
        Path(value) for value in dotted(run.parameters).values() if isinstance(value, str) and value
    ]
    return [options.fixed, options.moving, options.labels, options.fixed_labels, *named]


def _register_here(run: Run, options: argparse.Namespace, folder: Path) -> str:
    """In this process, where a method that leaves it has failed, as it has in a watched one."""
    try:
        return _register_pair(run, options, folder)
    except Terminated:
        raise
    except SystemExit as error:
        raise RegistrationError(
            f"{run.title} left by sys.exit({error.code!r}) before it was done."
        ) from error


def _register_pair(run: Run, options: argparse.Namespace, folder: Path) -> str:
    """What is suspicious of the result, in a sentence; empty where nothing is."""
    from diffeode.desk.inputs import read_as_told, read_inputs
    from diffeode.desk.registration import register_at_desk
    from diffeode.registration.base import Machine, require_device

    require_device(options.device)
    scans, label_maps = (options.fixed, options.moving), (options.fixed_labels, options.labels)
    inputs = read_inputs(*scans, *label_maps, options.orientation)
    provenance = {name: getattr(options, name) for name in ("init", "seed", "threads", "device")}
    if options.orientation:
        provenance["orientation"] = options.orientation
    with ProgressLine(sys.stderr) as progress:
        machine = Machine(options.threads, options.seed, options.device, progress=progress)
        alignment = ALIGNMENT_OF_INIT[options.init]
        result = register_at_desk(run, inputs, folder, machine, alignment, provenance)
    told = read_as_told(scans) if options.orientation else []
    for note in (*result.notes, *told):
        print(f"diffeode: {note}", file=sys.stderr)
    return result.verdict.sentence
