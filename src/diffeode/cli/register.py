"""The command ``diffeode register``: register two scans, and write maps, the warped scan and
metrics.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.cli.arguments import (
    add_machine,
    add_orientation,
    mask,
    minutes,
    path,
    setting,
    start,
)
from diffeode.cli.delivery import delivered_whole, require_apart
from diffeode.cli.progress import ProgressLine
from diffeode.errors import InputError, RegistrationError, SuspectError
from diffeode.process.watch import Terminated, watched

if TYPE_CHECKING:
    from diffeode.registration.runs import Run

DEFAULT_RUN, DEFAULT_RUN_OF_SLICES = "node", "node-2d"
"""The runs that register volumes and slices where ``--method`` names none."""


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    register = commands.add_parser(
        "register",
        help="register a pair of scans",
        description="Register MOVING to FIXED, and write the maps both ways, the warped scan and "
        "the metrics to a folder. The images may show anything: brains, whole heads, other parts "
        "of a body, crops. Their grids, orientations and contrasts may differ; their background is "
        "found, and their intensities are normalised here. Maps are ITK displacement fields (LPS "
        "mm), which antsApplyTransforms and SimpleITK read. Two slices (PNG, JPEG, TIFF, or NIfTI "
        "of one layer) are registered in their plane.",
    )
    register.add_argument(
        "fixed", type=path, metavar="FIXED", help="the scan whose grid the result lies on"
    )
    register.add_argument("moving", type=path, metavar="MOVING", help="the scan to register to it")
    register.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the results"
    )
    register.add_argument(
        "--weights", type=path, metavar="FILE", help="weights, for a run that is trained first"
    )
    register.add_argument(
        "--method",
        metavar="RUN",
        help=f"a named run (default: {DEFAULT_RUN}, for slices {DEFAULT_RUN_OF_SLICES})",
    )
    register.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a hyper-parameter of the run (docs/methods.md), such as "
        "penalties.gradient.weight=0.5; may be given several times",
    )
    register.add_argument(
        "--init",
        type=start,
        default="affine",
        metavar="START",
        help="where the registration starts: from the positions in the headers (identity), with "
        "the centres of what is shown together (centre), from an alignment that is found (rigid, "
        "similarity, affine), or from the linear transform in a FILE of ITK, ANTs, FSL or "
        "FreeSurfer (default: %(default)s)",
    )
    for side in ("fixed", "moving"):
        register.add_argument(
            f"--{side}-mask",
            type=mask,
            metavar="FILE",
            help=f"image on the grid of {side.upper()} that is above 0 where it counts; all else, "
            "such as a lesion, is left out. 'none': nothing is background (default: the background "
            "is found)",
        )
    register.add_argument(
        "--brain",
        action="store_true",
        help="strip the skull of both heads first, by a network for any contrast",
    )
    register.add_argument(
        "--labels", type=path, metavar="FILE", help="label map of MOVING, which is warped as well"
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
        help="stop the registration after this time (default: no limit)",
    )
    register.add_argument(
        "--strict",
        action="store_true",
        help="exit with code 3 if the result is suspect, after it was written",
    )
    register.set_defaults(command=_register)


def _register(options: argparse.Namespace) -> None:
    from diffeode.desk.outputs import output_names

    run = _runnable(options)
    results = [options.output / name for name in output_names()]
    require_apart(results, _read_by(run, options))
    with delivered_whole(options.output, output_names()) as folder:
        if options.time_limit is None:
            suspicion = _register_here(run, options, folder)
        else:
            suspicion = watched(lambda: _register_pair(run, options, folder), options.time_limit)
    if suspicion and options.strict:
        raise SuspectError(suspicion)
    if suspicion:
        print(f"diffeode: {suspicion}", file=sys.stderr)


def _runnable(options: argparse.Namespace) -> Run:
    """Return the run with the hyper-parameters that were set.

    Raises:
        InputError: there is no such run, a hyper-parameter is wrong, or something that the run
            needs or reads is not here.
    """
    from diffeode.registration.registry import missing_needs
    from diffeode.registration.runs import load_run

    run = load_run(options.method or _default_run(options))
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


def _default_run(options: argparse.Namespace) -> str:
    """Return the name of the run for the files that are given.

    Files that cannot be read are refused later, where they are read.
    """
    from diffeode.files.slices import are_slices

    try:
        return DEFAULT_RUN_OF_SLICES if are_slices(options.fixed, options.moving) else DEFAULT_RUN
    except InputError:
        return DEFAULT_RUN


def _read_by(run: Run, options: argparse.Namespace) -> list[Path | None]:
    """Return every file that is read: scans, label maps, and files that the run's parameters
    name.
    """
    from diffeode.registration.knobs import dotted

    named = [
        Path(value) for value in dotted(run.parameters).values() if isinstance(value, str) and value
    ]
    given = (options.fixed_mask, options.moving_mask, options.init)
    named += [path for path in given if isinstance(path, Path)]
    return [options.fixed, options.moving, options.labels, options.fixed_labels, *named]


def _register_here(run: Run, options: argparse.Namespace, folder: Path) -> str:
    """Register in this process.

    A method that calls ``sys.exit`` has failed, as it has in a child process.
    """
    try:
        return _register_pair(run, options, folder)
    except Terminated:
        raise
    except SystemExit as error:
        raise RegistrationError(
            f"{run.title} called sys.exit({error.code!r}) before it was done."
        ) from error


def _register_pair(run: Run, options: argparse.Namespace, folder: Path) -> str:
    """Register a pair; return what makes the result suspect, as a sentence, or an empty one."""
    from diffeode.desk.inputs import read_as_told, read_inputs, read_start
    from diffeode.desk.registration import register_at_desk
    from diffeode.registration.base import Machine, require_device

    require_device(options.device)
    scans, label_maps = (options.fixed, options.moving), (options.fixed_labels, options.labels)
    masks = (options.fixed_mask, options.moving_mask)
    inputs = read_inputs(*scans, *label_maps, options.orientation, *masks, options.brain)
    start = read_start(options.init, inputs)
    provenance = {name: getattr(options, name) for name in ("seed", "threads", "device", "brain")}
    provenance["init"] = str(options.init)
    for name in ("fixed_mask", "moving_mask"):
        given = getattr(options, name)
        provenance[name] = None if given is None else str(given)
    if options.orientation:
        provenance["orientation"] = options.orientation
    with ProgressLine(sys.stderr) as progress:
        machine = Machine(options.threads, options.seed, options.device, progress=progress)
        result = register_at_desk(run, inputs, folder, machine, start, provenance)
    told = read_as_told(scans) if options.orientation else []
    for note in (*result.notes, *told):
        print(f"diffeode: {note}", file=sys.stderr)
    return result.verdict.sentence
