"""The command ``diffeode register``: register two scans, and write maps, the warped scan and
metrics.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.cli.arguments import (
    InPlaceOf,
    add_machine,
    add_orientation,
    add_overwrite,
    add_talk,
    mask,
    minutes,
    names_of_runs,
    offer,
    path,
    positive,
    setting,
    start,
    weight,
    with_examples,
)
from diffeode.cli.logs import ProgressLog
from diffeode.cli.notes import print_notes, say
from diffeode.cli.progress import ProgressLine
from diffeode.desk import DEFAULT_RUN, DEFAULT_RUN_OF_SLICES
from diffeode.desk.delivery import delivered_whole, require_apart, require_new
from diffeode.errors import InputError, RegistrationError, SuspectError
from diffeode.prepare.choices import NO_BACKGROUND, STARTS
from diffeode.process.garbage import rarely_collecting
from diffeode.process.watch import Terminated, watched

if TYPE_CHECKING:
    from diffeode.desk.inputs import Inputs
    from diffeode.registration.harness import Result
    from diffeode.registration.runs import Run

_EXAMPLES = (
    ("two scans of any contrasts", "diffeode register fixed.nii.gz moving.nii.gz -o OUT"),
    (
        "two raw heads, whose skulls are stripped first",
        "diffeode register fixed.nii.gz moving.nii.gz --brain -o OUT",
    ),
    (
        "with label maps, to measure the overlap",
        "diffeode register fixed.nii.gz moving.nii.gz --fixed-labels "
        "fixed_dseg.nii.gz --labels moving_dseg.nii.gz -o OUT",
    ),
    (
        "a lesion of the fixed scan is left out: the mask is 0 in it and 1 elsewhere",
        "diffeode register fixed.nii.gz moving.nii.gz --fixed-mask mask.nii.gz -o OUT",
    ),
    (
        "two scans that lie on each other already: the deformation alone",
        "diffeode register fixed.nii.gz moving.nii.gz --init identity -o OUT",
    ),
    (
        "two contrasts of each person at once",
        "diffeode register --fixed T1.nii.gz T2.nii.gz --moving m_T1.nii.gz m_T2.nii.gz -o OUT",
    ),
    ("two stained slices", "diffeode register fixed.png moving.jpg -o SLICES"),
)


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
        **with_examples(*_EXAMPLES),
    )
    _add_scans(register)
    register.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the results"
    )
    _add_method(register)
    _add_start(register)
    _add_background(register)
    _add_guides(register)
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
    register.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write report.html, a page with pictures and scores (default: where standard output "
        "is a terminal)",
    )
    add_overwrite(register)
    add_talk(
        register,
        "show no progress; what may be wrong with the result is still said",
        "instead of the bar, print versions, what was found in the images, the start, energies, "
        "the seconds of each stage and whole errors",
    )
    register.set_defaults(command=_register)


def _add_scans(register: argparse.ArgumentParser) -> None:
    """Add the scans and, in their place, several contrasts of each side."""
    scans = [
        register.add_argument(
            "fixed", type=path, metavar="FIXED", help="the scan whose grid the result lies on"
        ),
        register.add_argument(
            "moving", type=path, metavar="MOVING", help="the scan to register to it"
        ),
    ]
    for side in ("fixed", "moving"):
        register.add_argument(
            f"--{side}",
            dest=f"{side}_contrasts",
            action=InPlaceOf,
            positionals=scans,
            nargs="+",
            type=path,
            default=[],
            metavar="SCAN",
            help=f"in place of {side.upper()}: several contrasts of the {side} scan, such as its "
            "T1w and T2w, in the same order on both sides",
        )
    register.add_argument(
        "--contrast-weights",
        type=positive,
        nargs="+",
        metavar="W",
        help="how much each contrast counts; the similarity is the mean with these weights "
        "(default: all alike)",
    )


def _add_method(register: argparse.ArgumentParser) -> None:
    """Add the run and its settings."""
    register.add_argument(
        "--weights", type=path, metavar="FILE", help="weights, for a run that is trained first"
    )
    method = register.add_argument(
        "--method",
        metavar="RUN",
        help=f"a named run (default: {DEFAULT_RUN}, for slices {DEFAULT_RUN_OF_SLICES})",
    )
    offer(method, names_of_runs)
    register.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a hyper-parameter of the run (docs/methods.md), such as "
        "penalties.gradient.weight=0.5; may be given several times",
    )


def _add_start(register: argparse.ArgumentParser) -> None:
    """Add the start of the registration."""
    init = register.add_argument(
        "--init",
        type=start,
        default="affine",
        metavar="START",
        help="where the registration starts: from the positions in the headers (identity), with "
        "the centres of what is shown together (centre), from an alignment that is found (rigid, "
        "similarity, affine), or from the transform in a FILE: an affine of ITK, ANTs, FSL or "
        "FreeSurfer, a displacement field of ITK or FSL, a composite of ITK (.h5), or the folder "
        "of a registration (default: %(default)s)",
    )
    offer(init, lambda: STARTS, files=True)


def _add_background(register: argparse.ArgumentParser) -> None:
    """Add the masks and the stripping of skulls."""
    for side in ("fixed", "moving"):
        option = register.add_argument(
            f"--{side}-mask",
            type=mask,
            metavar="FILE",
            help=f"an image on the grid of {side.upper()}: 1 where {side.upper()} counts, and 0 "
            "where it is left out, such as in a lesion; or 'none': nothing is background (default: "
            "the background is found)",
        )
        offer(option, lambda: (NO_BACKGROUND,), files=True)
    register.add_argument(
        "--brain",
        action="store_true",
        help="strip the skulls of both heads first, by a network for any contrast",
    )


def _add_guides(register: argparse.ArgumentParser) -> None:
    """Add the label maps, the landmarks and the image of stiff places."""
    register.add_argument(
        "--labels", type=path, metavar="FILE", help="label map of MOVING, which is warped as well"
    )
    register.add_argument(
        "--fixed-labels",
        type=path,
        metavar="FILE",
        help="label map of FIXED, to measure the overlap",
    )
    register.add_argument(
        "--label-weight",
        type=weight,
        default=0.0,
        metavar="W",
        help="let the label maps guide the registration: W times the squared difference between "
        "the distances from their borders is added to the energy; 0.1 is a hint, 0.3 a good start, "
        "1 is strong (default: %(default)s)",
    )
    register.add_argument(
        "--landmarks",
        type=path,
        nargs=2,
        metavar=("FIXED_POINTS", "MOVING_POINTS"),
        help="named points of both scans, to measure the errors of the map at them: tables with "
        "columns name, x, y, z (RAS mm; of slices name, x, y, in pixels), .fcsv or .mrk.json",
    )
    register.add_argument(
        "--landmark-weight",
        type=weight,
        default=0.0,
        metavar="W",
        help="let the landmarks guide the registration: W is the weight of the squared distance of "
        "each in the energy; 0.1 is a hint, 1 a good start, 10 too much (default: %(default)s)",
    )
    register.add_argument(
        "--stiff",
        type=path,
        metavar="FILE",
        help="image on the grid of FIXED that is above 0 where the map is held stiff, such as a "
        "bone or a lesion",
    )


@rarely_collecting()
def _register(options: argparse.Namespace) -> None:
    from diffeode.desk.outputs import output_names
    from diffeode.desk.running import runnable_run

    _settle_scans(options)
    run = runnable_run(options.method or _default_run(options), dict(options.set), options.weights)
    results = [options.output / name for name in output_names()]
    require_apart(results, _read_by(run, options))
    require_new(results, options.overwrite)
    if options.brain:
        _fetch_what_strips(options)
    with delivered_whole(options.output, output_names()) as folder:
        if options.time_limit is None:
            suspicion = _register_here(run, options, folder)
        else:
            suspicion = watched(lambda: _register_pair(run, options, folder), options.time_limit)
    if not options.quiet:
        _say_where_the_page_is(options)
    print_notes(options, (), [result for result in results if result.is_file()])
    if suspicion and options.strict:
        raise SuspectError(suspicion)
    if suspicion:
        print(f"diffeode: {suspicion}", file=sys.stderr)


def _settle_scans(options: argparse.Namespace) -> None:
    """Let ``options.fixed`` and ``options.moving`` be the first contrasts, and ``options.further``
    the pairs of further ones.

    Raises:
        InputError: scans are given in both ways, or the sides differ in their number.
    """
    fixed, moving = options.fixed_contrasts, options.moving_contrasts
    options.further = []
    if not fixed and not moving:
        return
    if options.fixed is not None or options.moving is not None:
        raise InputError(
            "The scans are given twice; give either FIXED and MOVING or --fixed and --moving."
        )
    if len(fixed) != len(moving):
        raise InputError(
            f"--fixed names {len(fixed)} scans and --moving {len(moving)}; give the same contrasts "
            "of both, in the same order."
        )
    (options.fixed, options.moving), *options.further = zip(fixed, moving, strict=True)


def _say_where_the_page_is(options: argparse.Namespace) -> None:
    from diffeode.desk.outputs import REPORT

    page = options.output / REPORT
    if page.is_file():
        print(f"diffeode: open {page} in a browser to look at the result", file=sys.stderr)


def _fetch_what_strips(options: argparse.Namespace) -> None:
    """Fetch the network that strips skulls where it is not here.

    Scans that are missing, slices, and the mask 'none' are refused later, so nothing is fetched for
    them.
    """
    from diffeode.desk.fetching import fetch_what_is_absent
    from diffeode.prepare.choices import STRIPPER

    are_here = options.fixed.is_file() and options.moving.is_file()
    is_refused = NO_BACKGROUND in (options.fixed_mask, options.moving_mask) or _of_slices(options)
    if are_here and not is_refused:
        fetch_what_is_absent({"brain": STRIPPER}, say)


def _default_run(options: argparse.Namespace) -> str:
    return DEFAULT_RUN_OF_SLICES if _of_slices(options) else DEFAULT_RUN


def _of_slices(options: argparse.Namespace) -> bool:
    """Return whether slices are given.

    Files that cannot be read are refused later, where they are read.
    """
    from diffeode.files.slices import are_slices

    try:
        return are_slices(options.fixed, options.moving)
    except InputError:
        return False


def _is_page_wanted(options: argparse.Namespace) -> bool:
    return sys.stdout.isatty() if options.report is None else options.report


def _read_by(run: Run, options: argparse.Namespace) -> list[Path | None]:
    """Return every file that is read: scans, label maps, and files that the run's parameters
    name.
    """
    from diffeode.registration.knobs import dotted

    named = [
        Path(value) for value in dotted(run.parameters).values() if isinstance(value, str) and value
    ]
    given = (options.fixed_mask, options.moving_mask, options.init, options.stiff)
    named += [path for path in given if isinstance(path, Path)]
    named += [*(path for pair in options.further for path in pair), *(options.landmarks or [])]
    if isinstance(options.init, Path) and options.init.is_dir():
        named += sorted(options.init.iterdir())
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
    shown = ProgressLog() if options.verbose else ProgressLine(sys.stderr, options.quiet)
    with shown as progress:
        result = _result(run, options, folder, progress)
    _tell(result.notes, options)
    return result.verdict.sentence


def _result(
    run: Run, options: argparse.Namespace, folder: Path, progress: ProgressLine | ProgressLog
) -> Result:
    """Read the scans, register them and write the results to ``folder``."""
    from diffeode.desk.stages import READING, STARTING, Stages

    report = _is_page_wanted(options)
    stages = Stages(progress, _first_plan(run, options, report))
    stages.begin(STARTING)
    from diffeode.desk.inputs import read_inputs, read_start
    from diffeode.desk.registration import register_at_desk
    from diffeode.registration.base import Machine, require_device

    require_device(options.device)
    stages.begin(READING)
    scans, label_maps = (options.fixed, options.moving), (options.fixed_labels, options.labels)
    masks = (options.fixed_mask, options.moving_mask)
    inputs = read_inputs(*scans, *label_maps, options.orientation, *masks, options.brain)
    inputs = _with_guides(inputs, options)
    start = read_start(options.init, inputs)
    provenance = {name: getattr(options, name) for name in ("seed", "threads", "device", "brain")}
    provenance |= {"init": str(options.init), "command": shlex.join(options.typed)}
    for name in ("fixed_mask", "moving_mask"):
        given = getattr(options, name)
        provenance[name] = None if given is None else str(given)
    if options.orientation:
        provenance["orientation"] = options.orientation
    machine = Machine(options.threads, options.seed, options.device, progress=stages)
    return register_at_desk(run, inputs, folder, machine, start, provenance, report)


def _with_guides(inputs: Inputs, options: argparse.Namespace) -> Inputs:
    """Return ``inputs`` with what is given besides; most registrations have nothing of it."""
    given = (options.further, options.contrast_weights, options.label_weight, options.landmarks)
    if not any((*given, options.landmark_weight, options.stiff)):
        return inputs
    from diffeode.desk import landmarks
    from diffeode.desk.guide_files import read_guides

    tables: dict[str, Any] = {}
    if options.landmarks:
        here, there = (
            landmarks.load_points(file, scan=scan, orientation=options.orientation)
            for file, scan in zip(options.landmarks, (options.fixed, options.moving), strict=True)
        )
        tables = {"landmarks": (here, there), "landmark_names": tuple(map(str, options.landmarks))}
    return read_guides(
        inputs,
        [fixed for fixed, _ in options.further],
        [moving for _, moving in options.further],
        weights=options.contrast_weights,
        label_weight=options.label_weight,
        landmark_weight=options.landmark_weight,
        stiff=options.stiff,
        orientation=options.orientation,
        **tables,
    )


def _first_plan(run: Run, options: argparse.Namespace, report: bool) -> dict[str, float | None]:
    """Return the seconds of each stage, judged by the files alone: a compressed scan takes about a
    byte for each voxel.
    """
    from diffeode.desk.stages import planned
    from diffeode.prepare.choices import ALIGNED_STARTS
    from diffeode.registration.knobs import as_parameters

    sizes = [file.stat().st_size for file in (options.fixed, options.moving) if file.is_file()]
    return planned(
        run.method,
        as_parameters(run.build(), whole=True),
        sum(sizes) / max(1, len(sizes)) / 1e6,
        options.threads,
        options.device,
        aligns=options.init in ALIGNED_STARTS,
        strips=options.brain,
        report=report,
    )


def _tell(notes: Sequence[str], options: argparse.Namespace) -> None:
    """Print what the user should know on standard error."""
    from diffeode.desk.inputs import read_as_told

    scans = [(options.fixed, options.moving), *options.further]
    told = read_as_told(path for pair in scans for path in pair) if options.orientation else []
    for note in (*notes, *told):
        print(f"diffeode: {note}", file=sys.stderr)
