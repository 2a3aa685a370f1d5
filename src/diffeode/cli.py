"""The command line: one pair at a desk, by the library that the workflow uses.

Heavy packages are imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from diffeode import __version__
from diffeode.errors import InputError, RegistrationError, TrainingError
from diffeode.watch import terminated_like_exit, watched

if TYPE_CHECKING:
    import pandas as pd

    from diffeode.image import Image, Labels
    from diffeode.methods.base import Machine
    from diffeode.methods.harness import Result, Task
    from diffeode.methods.runs import Run

DEFAULT_RUN = "node"
OUTPUTS = (
    "warp.nii.gz",
    "inverse_warp.nii.gz",
    "warped.nii.gz",
    "warped_labels.nii.gz",
    "overview.png",
    "metrics.json",
)
_ALIGNMENT_OF_INIT = {"affine": "affine", "identity": "none"}
_INPUT_ERROR, _FAILED, _INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 for a failed registration or 2 for unusable input."""
    options = _parser().parse_args(arguments)
    with terminated_like_exit():
        try:
            options.command(options)
        except InputError as error:
            return _complain(error, _INPUT_ERROR)
        except (RegistrationError, TrainingError) as error:
            return _complain(error, _FAILED)
        except KeyboardInterrupt:
            kept = "the same command goes on from the last checkpoint" if options.command is _train else ""
            return _complain(f"interrupted; {kept or 'nothing was written'}", _INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


# ------------------------------------------------------------------------------------------------ arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diffeode", description="Multimodal diffeomorphic registration of brain scans, one pair at a time."
    )
    parser.add_argument("--version", action="version", version=f"diffeode {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_register(commands)
    _add_apply(commands)
    _add_train(commands)
    _add_train_descriptor(commands)
    methods = commands.add_parser("methods", help="list every named run, what it needs and whether it can run here")
    methods.add_argument("--markdown", action="store_true", help="print docs/methods.md instead: every parameter")
    methods.set_defaults(command=_methods)
    _add_weights(commands)
    datasets = commands.add_parser(
        "datasets", help="list every dataset: what there is of it, what is missing, and how to get it"
    )
    datasets.add_argument("name", nargs="?", metavar="NAME", help="say all about this one")
    datasets.set_defaults(command=_datasets)
    return parser


def _add_register(commands: Any) -> None:
    register = commands.add_parser(
        "register",
        help="register a pair of scans",
        description="Register MOVING to FIXED; write the maps both ways, the warped scan and the metrics to a folder. "
        "Both scans must be skull-stripped (background 0); grids and orientations may differ, and intensities are "
        "normalised here. Maps are ITK displacement fields (LPS mm) that antsApplyTransforms and SimpleITK read.",
    )
    register.add_argument("fixed", type=Path, metavar="FIXED", help="the scan whose grid the result lies on")
    register.add_argument("moving", type=Path, metavar="MOVING", help="the scan to bring there")
    register.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    register.add_argument("--weights", type=Path, metavar="FILE", help="of a run that is trained first")
    register.add_argument("--method", default=DEFAULT_RUN, metavar="RUN", help="a named run (default: %(default)s)")
    register.add_argument(
        "--init",
        choices=sorted(_ALIGNMENT_OF_INIT),
        default="affine",
        help="align affinely first, or trust the positions in the headers (default: %(default)s)",
    )
    register.add_argument("--labels", type=Path, metavar="FILE", help="label map of MOVING, to be warped too")
    register.add_argument(
        "--fixed-labels", type=Path, metavar="FILE", help="label map of FIXED, to measure the overlap"
    )
    _add_machine(register)
    register.add_argument(
        "--time-limit", type=_minutes, metavar="MINUTES", help="give up after so long, whatever hangs (default: never)"
    )
    register.set_defaults(command=_register)


def _add_apply(commands: Any) -> None:
    apply = commands.add_parser("apply", help="resample a scan or label map through a map found before")
    apply.add_argument("warp", type=Path, metavar="WARP", help="an ITK displacement field, such as OUT/warp.nii.gz")
    apply.add_argument("moving", type=Path, metavar="MOVING", help="the scan or label map to resample, once")
    apply.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the NIfTI file to write")
    apply.add_argument("--reference", type=Path, metavar="FIXED", help="lie on this scan's grid instead of the map's")
    apply.add_argument("--labels", action="store_true", help="MOVING is a label map: nearest neighbour")
    apply.set_defaults(command=_apply)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a run whose network is learned",
        description="Train RUN on all pairs of different persons, each both ways; write weights.safetensors, its "
        "curves and the receipt to a folder. Persons come as lists of skull-stripped scans, one per person and in the "
        "same order, or as a BIDS dataset. A training that was stopped goes on when it is started again.",
    )
    train.add_argument("run", metavar="RUN", help="a named run; 'diffeode methods' says which are trained first")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the training")
    train.add_argument("--fixed", type=Path, nargs="+", default=[], metavar="SCAN", help="one scan per person")
    train.add_argument("--moving", type=Path, nargs="+", default=[], metavar="SCAN", help="one scan per person")
    train.add_argument("--fixed-labels", type=Path, nargs="+", default=[], metavar="FILE", help="their label maps")
    train.add_argument("--moving-labels", type=Path, nargs="+", default=[], metavar="FILE", help="their label maps")
    train.add_argument("--bids", type=Path, metavar="FOLDER", help="a BIDS dataset instead of lists")
    train.add_argument("--fixed-modality", default="T2w", metavar="SUFFIX", help="(default: %(default)s)")
    train.add_argument("--moving-modality", default="T1w", metavar="SUFFIX", help="(default: %(default)s)")
    train.add_argument("--subjects", nargs="+", metavar="SUB", help="of the dataset (default: all)")
    train.add_argument("--spacing", type=float, metavar="MM", help="resample the scans (default: their own voxels)")
    train.add_argument(
        "--init",
        choices=sorted(_ALIGNMENT_OF_INIT),
        default="affine",
        help="align pairs affinely first, or trust the positions in the headers (default: %(default)s)",
    )
    _add_machine(train)
    train.set_defaults(command=_train)


def _add_machine(command: Any) -> None:
    command.add_argument(
        "--threads", type=_positive, default=_processors(), metavar="N", help="processors to use (default: all)"
    )
    command.add_argument(
        "--device", type=_device, default="cpu", metavar="cpu|cuda", help="where to compute (default: %(default)s)"
    )
    command.add_argument(
        "--seed", type=_natural, default=0, metavar="S", help="of what is random (default: %(default)s)"
    )


def _add_weights(commands: Any) -> None:
    weights = commands.add_parser("weights", help="list or download the trained networks that are used here")
    weights.set_defaults(command=_weights)
    verbs = weights.add_subparsers(metavar="get")
    get = verbs.add_parser("get", help="download weights into the user's cache, and verify them")
    get.add_argument("names", nargs="+", metavar="NAME", help="as 'diffeode weights' lists them")
    get.set_defaults(command=_get_weights)


def _add_train_descriptor(commands: Any) -> None:
    train = commands.add_parser(
        "train-descriptor",
        help="train the learned descriptor on scans and label maps",
        description="Train the learned descriptor as TRAINING says, such as config/training/synthetic.yaml; write the "
        "weights (best.safetensors), curves and where to go on to a folder. Given again after a kill, the same command "
        "goes on from the last checkpoint.",
    )
    train.add_argument("training", type=Path, metavar="TRAINING", help="a YAML file: scans, labels, validation, ...")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the training")
    train.add_argument("--data", type=Path, default=Path(), metavar="DIR", help="where its patterns start (default: .)")
    train.add_argument("--threads", type=_positive, default=_processors(), metavar="N", help="processors to use")
    train.add_argument("--device", type=_device, default="cpu", metavar="cpu|cuda", help="where (default: %(default)s)")
    train.set_defaults(command=_train_descriptor)


def _positive(text: str) -> int:
    return _whole_number(text, 1)


def _natural(text: str) -> int:
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return minutes


def _device(text: str) -> str:
    kind, _, number = text.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; use cpu, cuda or cuda:N")
    return text


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ------------------------------------------------------------------------------------------------ commands


def _register(options: argparse.Namespace) -> None:
    run = _runnable(options.method, options.weights)
    with _delivered_whole(options.output, OUTPUTS) as folder:
        if options.time_limit is None:
            _register_pair(run, options, folder)
        else:
            watched(lambda: _register_pair(run, options, folder), options.time_limit)


def _register_pair(run: Run, options: argparse.Namespace, folder: Path) -> None:
    from diffeode.methods.base import Machine, require_device

    require_device(options.device)
    inputs = _read_inputs(options)
    with _ProgressLine(sys.stderr) as progress:
        machine = Machine(options.threads, options.seed, options.device, progress=progress)
        task = _prepared_task(inputs, _ALIGNMENT_OF_INIT[options.init], machine)
        result = _registered(run, task, machine)
        progress(1.0, "measuring and writing")
        rows = _measure(result, task, inputs)
        _write(result, task, inputs, folder)
        _write_metrics(folder / "metrics.json", run, result, rows, options)
        _draw(result, task, f"{options.moving.name} to {options.fixed.name}, {run.title}", folder / "overview.png")
    for note in result.notes:
        print(f"diffeode: {note}", file=sys.stderr)


def _apply(options: argparse.Namespace) -> None:
    from diffeode import io
    from diffeode.transform import warp_image, warp_labels

    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{options.output} is no name for a NIfTI file; end it in .nii.gz.")
    warp = io.read_displacement(options.warp)
    grid = io.read_image(options.reference).grid if options.reference else warp.grid
    if options.labels:
        io.write_labels(options.output, warp_labels(io.read_labels(options.moving), warp, grid))
    else:
        io.write_image(options.output, warp_image(io.read_image(options.moving), warp, grid))


def _train_descriptor(options: argparse.Namespace) -> None:
    import torch

    from diffeode.descriptors.learning.material import read_training, train_descriptor
    from diffeode.figures.training_curves import training_curves
    from diffeode.methods.base import require_device
    from diffeode.training.loop import CURVES

    require_device(options.device)
    torch.set_num_threads(options.threads)
    try:
        best = train_descriptor(options.training, options.data, options.output, options.device)
    except KeyboardInterrupt:
        raise TrainingError("interrupted; the same command goes on from the last checkpoint") from None
    criterion = read_training(options.training).settings.criterion
    training_curves(options.output / CURVES, options.training.stem, options.output / "curves.png", criterion)
    print(best)


def _train(options: argparse.Namespace) -> None:
    from diffeode.desk import persons_of_dataset, persons_of_files, train_at_desk
    from diffeode.figures.training_curves import training_curves
    from diffeode.methods.base import Machine, require_device
    from diffeode.methods.runs import load_run
    from diffeode.methods.training import CRITERION

    run = load_run(options.run)
    require_device(options.device)
    if options.bids and (options.fixed or options.moving):
        raise InputError("Both a dataset and lists of scans are given; give either --bids or --fixed and --moving.")
    if options.bids:
        modalities = (options.fixed_modality, options.moving_modality)
        persons = persons_of_dataset(options.bids, *modalities, options.subjects)
    else:
        labels = (options.fixed_labels, options.moving_labels)
        persons = persons_of_files(options.fixed, options.moving, *labels)
    with _ProgressLine(sys.stderr) as progress:
        machine = Machine(options.threads, options.seed, options.device, progress=progress)
        alignment = _ALIGNMENT_OF_INIT[options.init]
        train_at_desk(run, persons, options.output, machine, alignment, options.spacing)
    title = f"{run.title}, {len(persons)} persons"
    training_curves(options.output / "curves.tsv", title, options.output / "curves.png", CRITERION)


def _methods(options: argparse.Namespace) -> None:
    from diffeode.methods.page import methods_page, rows_here

    if options.markdown:
        print(methods_page(), end="")
    else:
        _print_table([(f"{run} (default)" if run == DEFAULT_RUN else run, *rest) for run, *rest in rows_here()])


def _weights(options: argparse.Namespace) -> None:
    from diffeode.weights import load_weights, weights_names

    rows = [("WEIGHTS", "FOR", "MB", "HERE", "LICENCE", "SOURCE")]
    for name in weights_names():
        entry = load_weights(name)
        size = f"{entry.bytes / 1e6:.1f}" if entry.bytes else "unknown"
        rows.append((name, entry.purpose, size, _whereabouts(name), entry.licence, entry.urls[0]))
    _print_table(rows)


def _whereabouts(name: str) -> str:
    from diffeode.weights import find, present

    path = present(name)
    if path is None:
        return "missing"
    try:
        return str(find(name))
    except InputError:
        return f"wrong checksum: {path}"


def _get_weights(options: argparse.Namespace) -> None:
    from diffeode.weights import load_weights, obtain

    for name in options.names:
        load_weights(name)
    for name in options.names:
        with _ProgressLine(sys.stderr) as progress:
            path = obtain(name, progress)
        print(path)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _datasets(options: argparse.Namespace) -> None:
    from diffeode.inventory import dataset_names, description, overview, take_inventory

    repository = _repository()
    if options.name is None:
        lines = overview([take_inventory(name, repository) for name in dataset_names(repository)])
    else:
        lines = description(take_inventory(options.name, repository))
    print(*lines, sep="\n")


def _repository() -> Path:
    """The checkout one stands in, or the one this package is installed from."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "config" / "datasets").is_dir():
            return Path(os.path.relpath(folder))
    raise InputError(f"There is no config/datasets in {here} or above; go to the repository first.")


# ------------------------------------------------------------------------------------------------ one registration


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the user gave, read and checked; intensities as they are in the files."""

    fixed: Image
    moving: Image
    fixed_name: str
    moving_name: str
    fixed_labels: Labels | None
    moving_labels: Labels | None


def _runnable(name: str, weights: Path | None) -> Run:
    from diffeode.methods.registry import make_method, missing_needs
    from diffeode.methods.runs import load_run

    run = load_run(name)
    if weights is not None:
        parameters = {**run.parameters, "weights": str(weights)}
        make_method(run.method, parameters)
        run = dataclasses.replace(run, parameters=parameters)
    missing = missing_needs(run.method, run.parameters)
    if missing:
        raise InputError(f"Run {name} cannot run here: {'; '.join(missing)}; 'diffeode methods' lists those that can.")
    return run


def _read_inputs(options: argparse.Namespace) -> _Inputs:
    from diffeode import io
    from diffeode.prepare.scan import read_scan_labels

    fixed, moving = io.read_image(options.fixed), io.read_image(options.moving)
    return _Inputs(
        fixed,
        moving,
        str(options.fixed),
        str(options.moving),
        read_scan_labels(options.fixed_labels, fixed.grid, options.fixed) if options.fixed_labels else None,
        read_scan_labels(options.labels, moving.grid, options.moving) if options.labels else None,
    )


def _prepared_task(inputs: _Inputs, alignment: str, machine: Machine) -> Task:
    from diffeode.methods.harness import Task
    from diffeode.prepare.pair import align_pair
    from diffeode.prepare.scan import prepare_image

    machine.progress(0.0, "preparing")
    fixed, _ = prepare_image(inputs.fixed, inputs.fixed_name)
    moving, _ = prepare_image(inputs.moving, inputs.moving_name)
    machine.progress(0.0, "aligning")
    on_grid, aligned, _, to_scan = align_pair(fixed, moving, alignment, "resample", machine.threads, machine.seed)
    return Task(on_grid, aligned, moving, to_scan)


def _registered(run: Run, task: Task, machine: Machine) -> Result:
    """The result of the harness; whatever goes wrong inside a method is a failed registration with its reason."""
    from diffeode.methods.harness import reason_of, register

    machine.progress(0.0, "registering")
    try:
        return register(run.build(), task, machine)
    except Exception as error:
        raise RegistrationError(f"{run.title} could not register the pair: {reason_of(error)}") from error


def _measure(result: Result, task: Task, inputs: _Inputs) -> pd.DataFrame:
    from diffeode.evaluation.evaluate import evaluate_pair

    return evaluate_pair(
        warp=result.warp,
        inverse_warp=result.inverse_warp,
        fixed_image=task.fixed,
        fixed_mask=task.pair().fixed_mask,
        moving_scan=task.moving_scan,
        moving_to_scan=task.moving_to_scan,
        fixed_labels=inputs.fixed_labels,
        moving_labels=inputs.moving_labels,
        label_table=_every_label(inputs.fixed_labels, inputs.moving_labels),
    )


def _every_label(fixed: Labels | None, moving: Labels | None) -> pd.DataFrame | None:
    """A label table of every id that either map holds, named by its number; None unless both are given."""
    if fixed is None or moving is None:
        return None
    import numpy as np
    import pandas as pd

    ids = [int(i) for i in np.union1d(fixed.data, moving.data) if i > 0]
    return pd.DataFrame({"id": ids, "name": [str(i) for i in ids]})


def _write(result: Result, task: Task, inputs: _Inputs, folder: Path) -> None:
    from diffeode import io
    from diffeode.transform import warp_image, warp_labels

    grid = task.fixed.grid
    io.write_displacement(folder / "warp.nii.gz", result.warp)
    io.write_displacement(folder / "inverse_warp.nii.gz", result.inverse_warp)
    io.write_image(folder / "warped.nii.gz", warp_image(inputs.moving, result.warp, grid))
    if inputs.moving_labels is not None:
        io.write_labels(folder / "warped_labels.nii.gz", warp_labels(inputs.moving_labels, result.warp, grid))


def _write_metrics(path: Path, run: Run, result: Result, rows: pd.DataFrame, options: argparse.Namespace) -> None:
    from diffeode import io
    from diffeode.methods.harness import software_versions

    whole, by_label = rows[rows["label"] == ""], rows[rows["label"] != ""]
    costs = {cost: getattr(result, cost) for cost in ("seconds", "cpu_seconds", "peak_memory_mb")}
    metrics = dict(zip(whole["metric"], whole["value"], strict=True)) | costs
    content = {
        "fixed": str(options.fixed),
        "moving": str(options.moving),
        "run": run.name,
        "method": run.method,
        "title": run.title,
        "parameters": dataclasses.asdict(run.build()),
        "init": options.init,
        "seed": options.seed,
        "threads": options.threads,
        "device": options.device,
        "inverse": result.inverse_origin,
        "notes": list(result.notes),
        "metrics": {name: _number(value) for name, value in metrics.items()},
        "software": software_versions(),
    }
    for metric, group in by_label.groupby("metric"):
        content[f"{metric}_by_label"] = {k: _number(v) for k, v in zip(group["label"], group["value"], strict=True)}
    io.write_json(path, content)


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(float(value), 6) if math.isfinite(value) else None


def _draw(result: Result, task: Task, title: str, path: Path) -> None:
    """The panel of the study's report; it reads files, so the pair is laid out for it in a scratch folder."""
    from diffeode import io
    from diffeode.figures.pair_panel import pair_panel
    from diffeode.transform import warp_image

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch)
        io.write_image(folder / "fixed.nii.gz", task.fixed)
        io.write_image(folder / "moving.nii.gz", task.moving)
        io.write_image(folder / "warped.nii.gz", warp_image(task.moving_scan, result.warp, task.fixed.grid))
        io.write_affine(folder / "moving_to_scan.txt", task.moving_to_scan)
        shutil.copyfile(path.parent / "warp.nii.gz", folder / "warp.nii.gz")
        try:
            pair_panel(folder, folder, title, path)
        except Exception as error:  # a registration is worth more than its picture
            print(f"\ndiffeode: no {path.name} ({type(error).__name__}: {error})", file=sys.stderr)


# ------------------------------------------------------------------------------------------------ the desk


@contextmanager
def _delivered_whole(folder: Path, ours: tuple[str, ...]) -> Iterator[Path]:
    """A hidden folder whose files replace those of ``folder`` when the block ends well, and that vanishes always.

    Files named in ``ours`` that were not made this time are removed from ``folder``; all others there are left alone.

    Raises:
        InputError: ``folder`` is a file or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder with -o.")
    standing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        staging = Path(tempfile.mkdtemp(prefix=".diffeode-", dir=standing))
    except OSError as error:
        raise InputError(f"Cannot write to {standing}: {error.strerror}; give another folder with -o.") from None
    try:
        yield staging
        folder.mkdir(parents=True, exist_ok=True)
        for name in ours:
            if (staging / name).exists():
                (staging / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot write to {folder}: {error.strerror or error}; free or choose another folder."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _ProgressLine:
    """One line on a terminal: percentage, time left and what is going on; silent where ``stream`` is no terminal."""

    _LEAST_PERIOD_S = 0.1
    _LEAST_FRACTION = 0.03  # before that, setting up dominates and the time left would be nonsense

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, stream.isatty()
        self._last, self._started_at = -math.inf, None

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._print("")

    def __call__(self, fraction: float, message: str) -> None:
        now = time.monotonic()
        if fraction <= 0:
            self._started_at = now
        elif now - self._last < self._LEAST_PERIOD_S:
            return
        self._last = now
        self._print(f"{100 * fraction:3.0f} %{self._left(fraction, now)}  {message}")

    def _left(self, fraction: float, now: float) -> str:
        if self._started_at is None or not self._LEAST_FRACTION <= fraction < 1:
            return ""
        minutes, seconds = divmod(round((now - self._started_at) * (1 - fraction) / fraction), 60)
        return f"  {minutes}:{seconds:02d} left"

    def _print(self, line: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)


def _complain(error: object, code: int) -> int:
    print(f"diffeode: {error}", file=sys.stderr)
    return code
