"""Every option of every command reaches the function that does the work, with its own value.

What is given here differs from every default and from every other value. An option without an entry
in ARRIVES fails.
"""

import argparse
import ast
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import shtab

import diffeode
from diffeode.bids_app import plan as bids_plan
from diffeode.bids_app import repository as bids_repository
from diffeode.bids_app import running as bids_running
from diffeode.cli import (
    apply,
    arguments,
    completion,
    compose,
    convert,
    datasets,
    evaluate,
    exclude,
    invert,
    jacobian,
    main,
    methods,
    needs,
    points,
    prepare,
    register,
    report,
    study,
    train,
    train_descriptor,
)
from diffeode.cli import weights as weights_command
from diffeode.datasets import exclusions
from diffeode.desk import (
    DEFAULT_RUN,
    applying,
    converting,
    guide_files,
    inputs,
    landmarks,
    measuring,
    preparing,
    registration,
    training,
    transform,
    transforming,
)
from diffeode.desk import report as desk_report
from diffeode.desk.resampling import How
from diffeode.figures import training_curves
from diffeode.files import series
from diffeode.geometry.space import Grid
from diffeode.learning.descriptor import material
from diffeode.process import threads
from diffeode.registration import base, page, registry
from diffeode.study import inventory
from diffeode.study import needs as study_needs
from diffeode.weights import fetch as weights_download

PACKAGE = Path(diffeode.__file__).parent
COMMANDS = {
    "register": register,
    "apply": apply,
    "points": points,
    "invert": invert,
    "compose": compose,
    "jacobian": jacobian,
    "evaluate": evaluate,
    "convert": convert,
    "prepare": prepare,
    "report": report,
    "study": study,
    "train": train,
    "train-descriptor": train_descriptor,
    "methods": methods,
    "weights": weights_command,
    "datasets": datasets,
    "needs": needs,
    "exclude": exclude,
    "completion": completion,
}
SEEN: dict = {}
"""The arguments that the functions behind the commands were given, by the function's name."""
PROCESSORS = 9
"""More processors than any option asks for here, and a number that no machine is likely to have."""
WEIGHTS = str(Path(__file__))
"""A file that stands for weights: they must be there, but are checked only when they are used."""

GRID_OF_SCAN = Grid((6, 5, 4), np.eye(4))
"""The grid of every scan whose grid is read."""
EMPTY = SimpleNamespace(nifti=nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)))


OUT: list[Path] = []
"""The folder of the results of the command line that runs."""


def noted(name, answer=None):
    """Stands for a function, and records its arguments."""

    def function(*given, **named):
        SEEN[name] = (given, named)
        return answer

    return function


def registered(*given):
    """Stands for a registration: records its arguments, and writes one of its files."""
    SEEN["register_at_desk"] = (given, {})
    (given[2] / "metrics.json").write_text("{}", encoding="utf-8")
    return SimpleNamespace(notes=(), verdict=SimpleNamespace(sentence=SEEN.get("suspicion", "")))


def applied(*given, **named):
    """Stands for the resampling of images: records its arguments, and writes empty images."""
    SEEN["apply_at_desk"] = (given, named)
    for image in given[1]:
        given[2](image, EMPTY)
    return ["a note"]


def prepared(*given, **named):
    """Stands for the preparation of a scan, and records its arguments."""
    SEEN["prepare_scan"] = (given, named)
    return SimpleNamespace(save=lambda folder: (folder / "image.nii.gz").write_text("an image"))


@pytest.fixture(autouse=True)
def behind_the_commands(monkeypatch):
    """Replace the functions that do the work by ones that record their arguments."""
    SEEN.clear()
    for module, name, answer in (
        (inputs, "read_inputs", "the inputs"),
        (inputs, "read_start", "the start"),
        (guide_files, "read_guides", "the inputs"),
        (registry, "missing_needs", []),
        (base, "require_device", None),
        (training, "persons_of_files", ["a", "b", "c"]),
        (training, "persons_of_dataset", ["a", "b"]),
        (training, "train_at_desk", None),
        (desk_report, "page_of_folder", Path("page")),
        (training_curves, "training_curves", None),
        (material, "train_descriptor", Path("best.safetensors")),
        (material, "read_training", SimpleNamespace(settings=SimpleNamespace(criterion="loss"))),
        (page, "methods_page", "the page\n"),
        (page, "rows_here", [("node", "neural-ode")]),
        (weights_download, "obtain", Path("here")),
        (inventory, "take_inventory", "an inventory"),
        (inventory, "description", ["all about it"]),
        (inventory, "overview", ["about all"]),
        (shtab, "complete", "a script"),
        (study_needs, "needs_of", []),
        (exclusions, "flagged", ["flagged"]),
        (exclusions, "names_of_nobody", []),
        (exclusions, "read_exclusions", "the kept"),
        (exclusions, "add_exclusions", []),
        (transform, "load_chain", "the chain"),
        (transform, "load_transform", "a transform"),
        (applying, "require_scan_of_map", None),
        (series, "read_grid_of_series", GRID_OF_SCAN),
        (landmarks, "move_points_file", ["a note"]),
        (landmarks, "load_points", "the points"),
        (transforming, "invert_file", ["a note"]),
        (transforming, "compose_files", ["a note"]),
        (transforming, "jacobian_files", ("the numbers", ["a note"])),
        (measuring, "evaluate", measuring.Evaluation({"dice": 0.5})),
        (measuring, "write_evaluation", None),
        (bids_repository, "find_repository", Path("here")),
        (bids_repository, "profile_folder", Path("there")),
        (bids_plan, "plan_of", SimpleNamespace(summary=lambda: ["a summary"])),
        (bids_running, "run_plan", ["a line"]),
        (bids_running, "show_plan", None),
        (converting, "read_in_format", "a transform"),
        (converting, "require_not_exchanged", None),
        (converting, "write_in_format", ["a note"]),
        (threads, "use_threads", None),
        (arguments, "processors", PROCESSORS),
    ):
        monkeypatch.setattr(module, name, noted(name, answer))
    monkeypatch.setattr(registration, "register_at_desk", registered)
    monkeypatch.setattr(applying, "apply_at_desk", applied)
    monkeypatch.setattr(preparing, "prepare_scan", prepared)
    monkeypatch.setattr(
        register, "watched", lambda work, limit: SEEN.update(watched=limit) or work()
    )


def seen(name):
    """The positional arguments that the function ``name`` was given."""
    return SEEN[name][0]


def run_of(name="register_at_desk"):
    """Return name, method and parameters of the run that was handed on."""
    run = seen(name)[0]
    return run.name, run.method, run.parameters


def named(function, option):
    """The argument ``option`` that the function was given by name."""
    return SEEN[function][1][option]


def asked(field):
    """The field of the request that ``diffeode study`` made."""
    return getattr(seen("plan_of")[0], field)


def machine_of(name):
    return next(given for given in seen(name) if isinstance(given, base.Machine))


REGISTER = ["register", "f.nii", "m.nii", "-o", "{out}"]
SEVERAL = [
    *("register", "--fixed", "f.nii", "f2.nii", "--moving", "m.nii", "m2.nii"),
    *("-o", "{out}"),
]
APPLY = ["apply", "w.nii", "m.nii", "-o", "{out}/o.nii.gz"]
POINTS = ["points", "w.nii", "p.csv", "-o", "{out}/o.csv"]
INVERT = ["invert", "w.nii", "-o", "{out}/o.nii.gz"]
COMPOSE = ["compose", "a.txt", "[b.txt,inverse]", "-o", "{out}/o.nii.gz"]
JACOBIAN = ["jacobian", "w.nii", "-o", "{out}/o.nii.gz"]
EVALUATE = ["evaluate", "w.nii", "f.nii", "m.nii", "-o", "{out}/o.json"]
CONVERT = ["convert", "w.nii", "-o", "{out}/o.h5"]
PREPARE = ["prepare", "s.nii", "-o", "{out}"]
OF_FOLDER = ["study", "bids", "{out}"]
TRAIN = ["train", "symnet", "-o", "{out}", "--fixed", "a", "b", "c", "--moving", "d", "e", "f"]
EXCLUDE = ["exclude", "a", "b", "--to", "c"]
STUDY = Path(__file__).resolve().parents[2] / "config" / "paper.yaml"
BIDS = ["train", "symnet", "-o", "{out}", "--bids", "data"]
DESCRIPTOR = ["train-descriptor", "mine.yaml", "-o", "{out}"]

VERBS = ("apply", "points", "invert", "compose", "jacobian", "evaluate", "convert", "prepare")
ASKED_FOR_APART = {
    ("register", "strict"),
    ("report", "overwrite"),
    *(
        (verb, option)
        for verb in ("register", *VERBS)
        for option in ("overwrite", "quiet", "verbose")
    ),
}
"""Options that are passed to no function; each has a test of its own."""

ARRIVES = {
    ("register", "fixed"): (REGISTER, lambda: seen("read_inputs")[0], Path("f.nii")),
    ("register", "moving"): (REGISTER, lambda: seen("read_inputs")[1], Path("m.nii")),
    ("register", "output"): (
        REGISTER,
        lambda: [path.name for path in (seen("register_at_desk")[2].parent / "out").iterdir()],
        ["metrics.json"],
    ),
    ("register", "weights"): (
        [*REGISTER, "--method", "symnet", "--weights", WEIGHTS],
        run_of,
        ("symnet", "symnet", {"weights": WEIGHTS}),
    ),
    ("register", "method"): (
        [*REGISTER, "--method", "greedy"],
        lambda: run_of()[:2],
        ("greedy", "greedy"),
    ),
    ("register", "set"): (
        [*REGISTER, "--method", "greedy", "--set", "warp_sigma=0.75", "--set", "iterations=[9, 4]"],
        run_of,
        ("greedy", "greedy", {"warp_sigma": 0.75, "iterations": [9, 4]}),
    ),
    ("register", "init"): (
        [*REGISTER, "--init", "rigid"],
        lambda: (
            seen("read_start"),
            seen("register_at_desk")[4],
            seen("register_at_desk")[5]["init"],
        ),
        (("rigid", "the inputs"), "the start", "rigid"),
    ),
    ("register", "fixed_mask"): (
        [*REGISTER, "--fixed-mask", "fm.nii"],
        lambda: (seen("read_inputs")[5:], seen("register_at_desk")[5]["fixed_mask"]),
        ((Path("fm.nii"), None, False), "fm.nii"),
    ),
    ("register", "moving_mask"): (
        [*REGISTER, "--moving-mask", "none"],
        lambda: (seen("read_inputs")[5:], seen("register_at_desk")[5]["moving_mask"]),
        ((None, "none", False), "none"),
    ),
    ("register", "brain"): (
        [*REGISTER, "--brain"],
        lambda: (seen("read_inputs")[7], seen("register_at_desk")[5]["brain"]),
        (True, True),
    ),
    ("register", "labels"): (
        [*REGISTER, "--labels", "ml.nii"],
        lambda: seen("read_inputs")[3],
        Path("ml.nii"),
    ),
    ("register", "fixed_labels"): (
        [*REGISTER, "--fixed-labels", "fl.nii"],
        lambda: seen("read_inputs")[2],
        Path("fl.nii"),
    ),
    ("register", "fixed_contrasts"): (
        SEVERAL,
        lambda: (seen("read_inputs")[:2], seen("read_guides")),
        ((Path("f.nii"), Path("m.nii")), ("the inputs", [Path("f2.nii")], [Path("m2.nii")])),
    ),
    ("register", "moving_contrasts"): (
        [*REGISTER[:1], "--moving", "a.nii", "b.nii", "--fixed", "c.nii", "d.nii", *REGISTER[3:]],
        lambda: (seen("read_inputs")[:2], seen("read_guides")),
        ((Path("c.nii"), Path("a.nii")), ("the inputs", [Path("d.nii")], [Path("b.nii")])),
    ),
    ("register", "contrast_weights"): (
        [*SEVERAL, "--contrast-weights", "2", "0.5"],
        lambda: named("read_guides", "weights"),
        [2.0, 0.5],
    ),
    ("register", "label_weight"): (
        [*REGISTER, "--label-weight", "0.25"],
        lambda: named("read_guides", "label_weight"),
        0.25,
    ),
    ("register", "landmarks"): (
        [*REGISTER, "--landmarks", "fp.csv", "mp.fcsv"],
        lambda: [
            *(named("read_guides", name) for name in ("landmarks", "landmark_names")),
            named("load_points", "scan"),
        ],
        [("the points",) * 2, ("fp.csv", "mp.fcsv"), Path("m.nii")],
    ),
    ("register", "landmark_weight"): (
        [*REGISTER, "--landmark-weight", "0.125"],
        lambda: named("read_guides", "landmark_weight"),
        0.125,
    ),
    ("register", "stiff"): (
        [*REGISTER, "--stiff", "bone.nii", "--orientation", "LAS"],
        lambda: [named("read_guides", name) for name in ("stiff", "orientation")],
        [Path("bone.nii"), "LAS"],
    ),
    ("register", "orientation"): (
        [*REGISTER, "--orientation", "LAS"],
        lambda: (seen("read_inputs")[4], seen("register_at_desk")[5]["orientation"]),
        ("LAS", "LAS"),
    ),
    ("register", "threads"): (
        [*REGISTER, "--threads", "7"],
        lambda: (machine_of("register_at_desk").threads, seen("register_at_desk")[5]["threads"]),
        (7, 7),
    ),
    ("register", "device"): (
        [*REGISTER, "--device", "cuda:5"],
        lambda: (
            machine_of("register_at_desk").device,
            seen("register_at_desk")[5]["device"],
            seen("require_device")[0],
        ),
        ("cuda:5",) * 3,
    ),
    ("register", "seed"): (
        [*REGISTER, "--seed", "12"],
        lambda: (machine_of("register_at_desk").seed, seen("register_at_desk")[5]["seed"]),
        (12, 12),
    ),
    ("register", "report"): (
        [*REGISTER, "--report"],
        lambda: seen("register_at_desk")[6],
        True,
    ),
    ("register", "time_limit"): ([*REGISTER, "--time-limit", "2.5"], lambda: SEEN["watched"], 2.5),
    ("report", "folder"): (["report", "o"], lambda: seen("page_of_folder"), (Path("o"),)),
    ("apply", "files"): (
        APPLY,
        lambda: (seen("load_chain"), seen("apply_at_desk")[:2]),
        (([(Path("w.nii"), False)],), ("the chain", [Path("m.nii")])),
    ),
    ("apply", "output"): (
        ["apply", "w.nii", "m.nii", "n.mgz", "-o", "{out}"],
        lambda: sorted(path.name for path in OUT[0].iterdir()),
        ["m.nii.gz", "n.nii.gz"],
    ),
    ("apply", "transform"): (
        ["apply", "m.nii", "-t", "a.txt", "-t", "[b.nii,inverse]", "-o", "{out}/o.nii.gz"],
        lambda: (
            seen("load_chain")[0],
            seen("apply_at_desk")[1],
            seen("require_scan_of_map")[:3],
        ),
        (
            [(Path("a.txt"), False), (Path("b.nii"), True)],
            [Path("m.nii")],
            (Path("b.nii"), True, Path("m.nii")),
        ),
    ),
    ("apply", "reference"): (
        [*APPLY, "--reference", "f.nii"],
        lambda: named("apply_at_desk", "reference"),
        Path("f.nii"),
    ),
    ("apply", "labels"): (
        [*APPLY, "--labels"],
        lambda: named("apply_at_desk", "how"),
        How(labels=True),
    ),
    ("apply", "interpolation"): (
        [*APPLY, "--no-labels", "--interpolation", "spline"],
        lambda: named("apply_at_desk", "how"),
        How("spline", labels=False),
    ),
    ("apply", "background"): (
        [*APPLY, "--background", "-3.5"],
        lambda: named("apply_at_desk", "how"),
        How(background=-3.5),
    ),
    ("apply", "other_scan"): (
        [*APPLY, "--other-scan"],
        lambda: "require_scan_of_map" in SEEN,
        False,
    ),
    ("apply", "orientation"): (
        [*APPLY, "--orientation", "LAS"],
        lambda: (named("apply_at_desk", "orientation"), seen("require_scan_of_map")[3]),
        ("LAS", "LAS"),
    ),
    ("points", "files"): (
        POINTS,
        lambda: (seen("load_chain")[0], seen("move_points_file")[:2]),
        ([(Path("w.nii"), False)], ("the chain", Path("p.csv"))),
    ),
    ("points", "output"): (POINTS, lambda: seen("move_points_file")[2].name, "o.csv"),
    ("points", "transform"): (
        ["points", "p.csv", "-t", "a.txt", "-t", "b.nii", "-o", "{out}/o.csv"],
        lambda: (seen("load_chain")[0], seen("move_points_file")[1]),
        ([(Path("a.txt"), False), (Path("b.nii"), False)], Path("p.csv")),
    ),
    **{
        ("points", option): (
            [*POINTS, f"--{option.replace('_', '-')}", value],
            lambda option=option: named("move_points_file", option),
            value,
        )
        for option, value in (("frame", "lps"), ("output_frame", "ras"))
    },
    **{
        ("points", option): (
            [*POINTS, f"--{option}", f"{option}.nii", "--orientation", "LAS"],
            lambda option=option: (
                named("move_points_file", option),
                seen("read_grid_of_series"),
            ),
            (GRID_OF_SCAN, (Path(f"{option}.nii"), "LAS")),
        )
        for option in ("fixed", "moving")
    },
    ("points", "allow_outside"): (
        [*POINTS, "--allow-outside"],
        lambda: named("move_points_file", "allow_outside"),
        True,
    ),
    ("points", "orientation"): (
        [*POINTS, "--fixed", "f.nii", "--orientation", "LAS"],
        lambda: seen("read_grid_of_series")[1],
        "LAS",
    ),
    ("invert", "transform"): (INVERT, lambda: seen("invert_file")[0], Path("w.nii")),
    ("invert", "output"): (INVERT, lambda: seen("invert_file")[1].name, "o.nii.gz"),
    ("invert", "reference"): (
        [*INVERT, "--reference", "m.nii"],
        lambda: seen("invert_file")[2],
        Path("m.nii"),
    ),
    ("invert", "orientation"): (
        [*INVERT, "--orientation", "LAS"],
        lambda: seen("invert_file")[3],
        "LAS",
    ),
    ("compose", "transforms"): (
        COMPOSE,
        lambda: seen("compose_files")[0],
        [(Path("a.txt"), False), (Path("b.txt"), True)],
    ),
    ("compose", "output"): (COMPOSE, lambda: seen("compose_files")[1].name, "o.nii.gz"),
    ("compose", "reference"): (
        [*COMPOSE, "--reference", "f.nii"],
        lambda: seen("compose_files")[2],
        Path("f.nii"),
    ),
    ("compose", "orientation"): (
        [*COMPOSE, "--orientation", "LAS"],
        lambda: seen("compose_files")[3],
        "LAS",
    ),
    ("jacobian", "transform"): (JACOBIAN, lambda: seen("jacobian_files")[0], Path("w.nii")),
    ("jacobian", "output"): (JACOBIAN, lambda: seen("jacobian_files")[1].name, "o.nii.gz"),
    ("jacobian", "determinant"): (
        [*JACOBIAN, "--determinant"],
        lambda: named("jacobian_files", "determinant"),
        True,
    ),
    **{
        ("jacobian", option): (
            [*JACOBIAN, f"--{option}", f"{option}.nii"],
            lambda option=option: named("jacobian_files", option),
            Path(f"{option}.nii"),
        )
        for option in ("folds", "affine", "reference")
    },
    ("jacobian", "orientation"): (
        [*JACOBIAN, "--orientation", "LAS"],
        lambda: named("jacobian_files", "orientation"),
        "LAS",
    ),
    ("evaluate", "transform"): (
        ["evaluate", "[w.nii,inverse]", "f.nii", "m.nii"],
        lambda: (seen("load_chain")[0], seen("evaluate")[0]),
        ([(Path("w.nii"), True)], "the chain"),
    ),
    ("evaluate", "fixed"): (EVALUATE, lambda: seen("evaluate")[1], Path("f.nii")),
    ("evaluate", "moving"): (EVALUATE, lambda: seen("evaluate")[2], Path("m.nii")),
    ("evaluate", "picture"): (
        [*EVALUATE, "--picture", "{out}/p.png"],
        lambda: named("evaluate", "picture").name,
        "p.png",
    ),
    ("evaluate", "output"): (EVALUATE, lambda: seen("write_evaluation")[1].name, "o.json"),
    **{
        ("evaluate", option): (
            [*EVALUATE, f"--{option}", "x.nii"],
            lambda option=option: (seen("load_transform"), named("evaluate", option)),
            ((Path("x.nii"),), "a transform"),
        )
        for option in ("inverse", "affine")
    },
    **{
        ("evaluate", option): (
            [*EVALUATE, f"--{option.replace('_', '-')}", "x.nii"],
            lambda option=option: named("evaluate", option),
            Path("x.nii"),
        )
        for option in ("fixed_labels", "labels", "mask")
    },
    **{
        ("evaluate", option): (
            [*EVALUATE, f"--{option.replace('_', '-')}", "x.csv"],
            lambda option=option: (
                *(seen("load_points"), named("load_points", "scan")),
                named("evaluate", option),
            ),
            ((Path("x.csv"),), Path(scan), "the points"),
        )
        for option, scan in (("fixed_landmarks", "f.nii"), ("landmarks", "m.nii"))
    },
    ("evaluate", "orientation"): (
        [*EVALUATE, "--orientation", "LAS"],
        lambda: named("evaluate", "orientation"),
        "LAS",
    ),
    ("convert", "transform"): (CONVERT, lambda: seen("read_in_format")[0], Path("w.nii")),
    ("convert", "output"): (CONVERT, lambda: seen("write_in_format")[0].name, "o.h5"),
    ("convert", "source"): (
        [*CONVERT, "--from", "ras"],
        lambda: seen("read_in_format")[1],
        "ras",
    ),
    ("convert", "to"): ([*CONVERT, "--to", "fsl"], lambda: seen("write_in_format")[1], "fsl"),
    ("convert", "fixed"): (
        [*CONVERT, "--fixed", "f.nii"],
        lambda: (seen("read_in_format")[2:], seen("write_in_format")[3:]),
        ((GRID_OF_SCAN, None), (GRID_OF_SCAN, None)),
    ),
    ("convert", "moving"): (
        [*CONVERT, "--moving", "m.nii"],
        lambda: (seen("read_in_format")[2:], seen("write_in_format")[3:]),
        ((None, GRID_OF_SCAN), (None, GRID_OF_SCAN)),
    ),
    ("convert", "orientation"): (
        [*CONVERT, "--fixed", "f.nii", "--orientation", "LAS"],
        lambda: seen("read_grid_of_series")[1],
        "LAS",
    ),
    ("prepare", "scan"): (PREPARE, lambda: seen("prepare_scan"), (Path("s.nii"),)),
    ("prepare", "output"): (
        PREPARE,
        lambda: [path.name for path in OUT[0].iterdir()],
        ["image.nii.gz"],
    ),
    **{
        ("prepare", option): (
            [*PREPARE, f"--{option.replace('_', '-')}", given],
            lambda option=option: named("prepare_scan", option),
            given,
        )
        for option, given in (
            *(("brain", "nonzero"), ("bias", "none"), ("intensity", "white-stripe")),
            *(("template", "icbm152"), ("labels", "meshnet"), ("modality", "T2w")),
            ("orientation", "LAS"),
        )
    },
    ("prepare", "given_labels"): (
        [*PREPARE, "--given-labels", "l.nii"],
        lambda: named("prepare_scan", "given_labels"),
        Path("l.nii"),
    ),
    ("prepare", "is_scan"): (
        [*PREPARE, "--is-scan"],
        lambda: named("prepare_scan", "is_scan"),
        True,
    ),
    ("prepare", "spacing"): (
        [*PREPARE, "--spacing", "1.7"],
        lambda: named("prepare_scan", "spacing_mm"),
        1.7,
    ),
    ("prepare", "threads"): (
        [*PREPARE, "--threads", "7"],
        lambda: named("prepare_scan", "threads"),
        7,
    ),
    ("prepare", "seed"): ([*PREPARE, "--seed", "12"], lambda: named("prepare_scan", "seed"), 12),
    ("study", "bids_dir"): (OF_FOLDER, lambda: asked("source"), Path("bids").absolute()),
    ("study", "output_dir"): (OF_FOLDER, lambda: asked("out").name, "out"),
    ("study", "level"): (
        [*OF_FOLDER, "participant"],
        lambda: seen("run_plan")[1].level,
        "participant",
    ),
    ("study", "task"): (
        [*OF_FOLDER, "--task", "longitudinal"],
        lambda: (asked("task").name, asked("fixed"), asked("moving")),
        ("longitudinal", "T1w", "T1w"),
    ),
    **{
        ("study", option): (
            [*OF_FOLDER, f"--{option.replace('_', '-')}", *given],
            lambda field=field: asked(field),
            expected,
        )
        for option, given, field, expected in (
            ("participant_label", ["sub-01", "02"], "participants", ("01", "02")),
            ("session_label", ["ses-a", "b"], "sessions", ("a", "b")),
            ("moving_modality", ["PDw"], "moving", "PDw"),
            ("fixed_modality", ["FLAIR"], "fixed", "FLAIR"),
            ("filter", ["acq-fast", "rec-norm"], "filters", ("acq-fast", "rec-norm")),
            ("template", ["t.nii"], "template", Path("t.nii").absolute()),
            ("template_labels", ["l.nii"], "template_labels", Path("l.nii").absolute()),
            ("pairs", ["12"], "pairs", 12),
            ("method", ["greedy", "node"], "runs", (DEFAULT_RUN, "greedy")),
            ("brain", ["mindgrab"], "brain", "mindgrab"),
            ("spacing", ["1.7"], "spacing_mm", 1.7),
            ("dseg", ["surfer"], "dseg", Path("surfer")),
            ("dseg_desc", ["desc-aseg"], "dseg_desc", "aseg"),
            ("labels", ["albert"], "labels", "albert"),
            ("are_scans", [], "are_scans", True),
            ("seed", ["12"], "seed", 12),
        )
    },
    ("study", "profile"): (
        [*OF_FOLDER, "--profile", "gpu"],
        lambda: (seen("run_plan")[1].profile, seen("profile_folder")[1], asked("gpu")),
        ("gpu", "gpu", 1),
    ),
    ("study", "cores"): ([*OF_FOLDER, "-c", "7"], lambda: seen("run_plan")[1].cores, 7),
    ("study", "dry_run"): (
        [*OF_FOLDER, "--dry-run"],
        lambda: ("show_plan" in SEEN, "run_plan" in SEEN),
        (True, False),
    ),
    ("train", "run"): (TRAIN, lambda: seen("train_at_desk")[0].name, "symnet"),
    ("train", "output"): (TRAIN, lambda: seen("train_at_desk")[2].name, "out"),
    ("train", "fixed"): (TRAIN, lambda: seen("persons_of_files")[0], [Path(p) for p in "abc"]),
    ("train", "moving"): (TRAIN, lambda: seen("persons_of_files")[1], [Path(p) for p in "def"]),
    ("train", "fixed_labels"): (
        [*TRAIN, "--fixed-labels", "g", "h", "i"],
        lambda: seen("persons_of_files")[2:4],
        ([Path(p) for p in "ghi"], []),
    ),
    ("train", "moving_labels"): (
        [*TRAIN, "--moving-labels", "g", "h", "i"],
        lambda: seen("persons_of_files")[2:4],
        ([], [Path(p) for p in "ghi"]),
    ),
    ("train", "bids"): (
        BIDS,
        lambda: seen("persons_of_dataset")[:4],
        (Path("data"), "T2w", "T1w", None),
    ),
    ("train", "fixed_modality"): (
        [*BIDS, "--fixed-modality", "PDw"],
        lambda: seen("persons_of_dataset")[1:3],
        ("PDw", "T1w"),
    ),
    ("train", "moving_modality"): (
        [*BIDS, "--moving-modality", "PDw"],
        lambda: seen("persons_of_dataset")[1:3],
        ("T2w", "PDw"),
    ),
    ("train", "subjects"): (
        [*BIDS, "--subjects", "01", "03"],
        lambda: seen("persons_of_dataset")[3],
        ["01", "03"],
    ),
    ("train", "spacing"): ([*TRAIN, "--spacing", "1.7"], lambda: seen("train_at_desk")[5], 1.7),
    ("train", "are_scans"): (
        [*TRAIN, "--are-scans"],
        lambda: named("train_at_desk", "are_scans"),
        True,
    ),
    ("train", "init"): ([*TRAIN, "--init", "identity"], lambda: seen("train_at_desk")[4], "none"),
    ("train", "orientation"): (
        [*TRAIN, "--orientation", "LAS"],
        lambda: seen("persons_of_files")[4],
        "LAS",
    ),
    ("train", "threads"): (
        [*TRAIN, "--threads", "7"],
        lambda: machine_of("train_at_desk").threads,
        7,
    ),
    ("train", "device"): (
        [*TRAIN, "--device", "cuda:5"],
        lambda: (machine_of("train_at_desk").device, seen("require_device")[0]),
        ("cuda:5", "cuda:5"),
    ),
    ("train", "seed"): ([*TRAIN, "--seed", "12"], lambda: machine_of("train_at_desk").seed, 12),
    ("train-descriptor", "training"): (
        DESCRIPTOR,
        lambda: (seen("train_descriptor")[0], seen("read_training")[0]),
        (Path("mine.yaml"), Path("mine.yaml")),
    ),
    ("train-descriptor", "output"): (DESCRIPTOR, lambda: seen("train_descriptor")[2].name, "out"),
    ("train-descriptor", "data"): (
        [*DESCRIPTOR, "--data", "there"],
        lambda: seen("train_descriptor")[1],
        Path("there"),
    ),
    ("train-descriptor", "threads"): (
        [*DESCRIPTOR, "--threads", "7"],
        lambda: seen("use_threads"),
        (7,),
    ),
    ("train-descriptor", "device"): (
        [*DESCRIPTOR, "--device", "cuda:5"],
        lambda: (seen("train_descriptor")[3], seen("require_device")[0]),
        ("cuda:5", "cuda:5"),
    ),
    ("methods", "markdown"): (["methods", "--markdown"], lambda: "methods_page" in SEEN, True),
    ("weights", "names"): (
        ["weights", "get", "multigradicon"],
        lambda: seen("obtain")[0],
        "multigradicon",
    ),
    ("datasets", "name"): (
        ["datasets", "ixi"],
        lambda: (seen("take_inventory")[0], "description" in SEEN),
        ("ixi", True),
    ),
    ("needs", "studies"): (
        ["needs", str(STUDY)],
        lambda: seen("needs_of"),
        (STUDY, STUDY.parents[1]),
    ),
    ("completion", "shell"): (
        ["completion", "tcsh"],
        lambda: seen("complete")[1],
        "tcsh",
    ),
    ("exclude", "tables"): (EXCLUDE, lambda: seen("flagged")[0], [Path("a"), Path("b")]),
    ("exclude", "to"): (EXCLUDE, lambda: seen("add_exclusions"), (Path("c"), ["flagged"])),
    ("exclude", "keep"): (
        [*EXCLUDE, "--keep", "d"],
        lambda: (seen("read_exclusions")[0], seen("flagged")[1], seen("names_of_nobody")),
        (Path("d"), "the kept", ("the kept", [Path("a"), Path("b")])),
    ),
}
"""By command and option: a command line, the argument that is checked, and the value that it must
have.
"""


def options_of(command) -> set[str]:
    """Return the names of all options and arguments of ``command`` and its subcommands."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return set(_names(parser))


def _names(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _names(below)
        elif action.dest != "help":
            yield action.dest


OTHER_PROGRAMS = {
    "desk/converting.py": {"--initk"},
    "files/fsl.py": {"--in", "--ref", "--out", "--withaff", "--fout"},
    "files/linear.py": {"--inmni", "--invert"},
    "files/meshes.py": {"--to-scanner"},
    "cli/convert.py": {"--rel"},
    "programs/interfaces/freesurfer.py": {"--i", "--o", "--threads"},
    "statistics/paper_page.py": {"--workflow-profile", "--configfile"},
}
"""By file: options of FreeSurfer, FSL, wb_command and Snakemake that its texts name."""
_NAMED = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_NAMED_WITH_COMMAND = re.compile(r"diffeode ([a-z-]+)[^`';]*?(?<![\w-])(--[a-z][a-z-]*)")


def flags_of(name) -> set[str]:
    """Return the options of a command and of its subcommands, as they are typed."""
    parser = argparse.ArgumentParser()
    COMMANDS[name].add(parser.add_subparsers())
    return set(_flags(parser))


def _flags(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)


def texts_in(file) -> list[str]:
    """Return every text of a module that holds a space and is no docstring, with ``{}`` in place of
    what is filled in.
    """
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = []
    for node in nodes:
        if id(node) in docstrings:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text for text in found if " " in text.strip()]


def test_every_option_that_a_message_names_exists():
    """A user who is told to give an option must be able to."""
    everywhere = {"--version"}.union(*map(flags_of, COMMANDS))
    named, unknown = set(), {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        options = {option for text in texts_in(file) for option in _NAMED.findall(text)}
        named |= options
        if strange := options - everywhere - OTHER_PROGRAMS.get(name, set()):
            unknown[name] = strange
    assert unknown == {}
    assert {"--orientation", "--allow-outside", "--dseg-desc"} <= named


def test_a_message_that_names_a_command_names_its_own_options():
    named = {
        (command, option)
        for file in PACKAGE.rglob("*.py")
        for text in texts_in(file)
        for command, option in _NAMED_WITH_COMMAND.findall(text)
        if command in COMMANDS
    }
    assert {(command, option) for command, option in named if option not in flags_of(command)} == (
        set()
    )
    assert {("convert", "--from"), ("study", "--are-scans")} <= named


def test_every_command_is_asked_for():
    assert set(sys.modules["diffeode.cli.main"]._COMMANDS) == set(COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_place_to_arrive(name):
    apart = {option for command, option in ASKED_FOR_APART if command == name}
    assert (
        options_of(COMMANDS[name])
        == {option for command, option in ARRIVES if command == name} | apart
    )


@pytest.mark.parametrize(("option", "code"), [([], 0), (["--strict"], 3)])
def test_a_suspect_result_fails_where_that_is_asked_for(option, code, tmp_path, capsys):
    SEEN["suspicion"] = "This registration is suspect."
    assert main([word.format(out=tmp_path / "out") for word in [*REGISTER, *option]]) == code
    assert "This registration is suspect." in capsys.readouterr().err
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.parametrize("option", [[], ["--quiet"]])
def test_a_quiet_command_shows_no_bar_and_says_what_is_suspect(
    option, tmp_path, monkeypatch, capsys
):
    SEEN["suspicion"] = "This registration is suspect."
    line = register.ProgressLine

    class Line(line):
        def __init__(self, stream, quiet):
            SEEN["quiet"] = quiet
            super().__init__(stream, quiet)

    monkeypatch.setattr(register, "ProgressLine", Line)
    assert main([word.format(out=tmp_path / "out") for word in [*REGISTER, *option]]) == 0
    assert SEEN["quiet"] == bool(option)
    assert "This registration is suspect." in capsys.readouterr().err


@pytest.mark.parametrize(("command", "option"), ARRIVES)
def test_an_option_arrives(command, option, tmp_path):
    line, look, expected = ARRIVES[command, option]
    OUT[:] = [tmp_path / "out"]
    assert main([word.format(out=tmp_path / "out") for word in line]) == 0
    assert look() == expected


@pytest.mark.parametrize(
    ("line", "look", "expected"),
    [
        (REGISTER, lambda: run_of()[0], DEFAULT_RUN),
        (REGISTER, lambda: seen("read_start"), ("affine", "the inputs")),
        (REGISTER, lambda: seen("read_inputs")[5:], (None, None, False)),
        (REGISTER, lambda: "watched" in SEEN, False),
        (REGISTER, lambda: "read_guides" in SEEN, False),
        (SEVERAL, lambda: named("read_guides", "weights"), None),
        (SEVERAL, lambda: named("read_guides", "label_weight"), 0.0),
        (SEVERAL, lambda: named("read_guides", "landmark_weight"), 0.0),
        (SEVERAL, lambda: named("read_guides", "stiff"), None),
        (
            REGISTER,
            lambda: machine_of("register_at_desk"),
            base.Machine(threads=PROCESSORS, seed=0, device="cpu"),
        ),
        (REGISTER, lambda: seen("read_inputs")[4], None),
        (REGISTER, lambda: "orientation" in seen("register_at_desk")[5], False),
        (APPLY, lambda: named("apply_at_desk", "how"), How(None, None, None)),
        (APPLY, lambda: named("apply_at_desk", "reference"), None),
        (POINTS, lambda: named("move_points_file", "allow_outside"), False),
        (["evaluate", "w", "f", "m"], lambda: "write_evaluation" in SEEN, False),
        (CONVERT, lambda: (seen("read_in_format")[1], seen("write_in_format")[1]), (None, "itk")),
        (
            PREPARE,
            lambda: [named("prepare_scan", name) for name in ("brain", "bias", "template")],
            ["mindgrab", "n4", "none"],
        ),
        (
            OF_FOLDER,
            lambda: (
                [asked(name) for name in ("participants", "sessions", "template", "pairs")],
                [asked(name) for name in ("dseg", "dseg_desc", "labels", "spacing_mm", "brain")],
                asked("template_labels"),
                (asked("task").name, asked("moving"), asked("fixed"), asked("runs"), asked("gpu")),
                (seen("run_plan")[1].level, seen("run_plan")[1].cores),
            ),
            (
                [None] * 4,
                ["auto", None, None, None, "auto"],
                None,
                ("same-person", "T1w", "T2w", (DEFAULT_RUN,), 0),
                (None, None),
            ),
        ),
        (TRAIN, lambda: seen("train_at_desk")[4:], ("affine", None)),
        (TRAIN, lambda: seen("persons_of_files")[4], None),
        (BIDS, lambda: seen("persons_of_dataset")[3:5], (None, None)),
        (TRAIN, lambda: machine_of("train_at_desk").threads, PROCESSORS),
        (DESCRIPTOR, lambda: seen("use_threads"), (PROCESSORS,)),
        (["methods"], lambda: "methods_page" in SEEN, False),
        (["datasets"], lambda: "description" in SEEN, False),
    ],
)
def test_without_an_option_its_default_holds(line, look, expected, tmp_path):
    assert main([word.format(out=tmp_path / "out") for word in line]) == 0
    assert look() == expected


@pytest.mark.parametrize(
    ("line", "look"),
    [
        (APPLY, lambda: named("apply_at_desk", "orientation")),
        ([*EVALUATE, "--landmarks", "x.csv"], lambda: named("load_points", "orientation")),
        (
            [*REGISTER, "--landmarks", "x.csv", "y.csv"],
            lambda: named("load_points", "orientation"),
        ),
        (BIDS, lambda: seen("persons_of_dataset")[4]),
    ],
)
def test_an_orientation_arrives_wherever_files_are_read(line, look, tmp_path):
    assert (
        main([word.format(out=tmp_path / "out") for word in [*line, "--orientation", "LAS"]]) == 0
    )
    assert look() == "LAS"


@pytest.mark.parametrize("line", [APPLY, POINTS, INVERT, COMPOSE, JACOBIAN, EVALUATE, CONVERT])
def test_a_result_that_exists_is_replaced_only_where_that_is_asked_for(line, tmp_path, capsys):
    out = tmp_path / "out"
    line = [word.format(out=out) for word in line]
    result = Path(line[line.index("-o") + 1])
    out.mkdir()
    result.write_text("mine")
    assert main(line) == 2
    assert f"{result} exists already; give --overwrite" in capsys.readouterr().err
    assert result.read_text() == "mine"
    assert main([*line, "--overwrite"]) == 0


@pytest.mark.parametrize("line", [APPLY, POINTS, INVERT, COMPOSE, JACOBIAN, EVALUATE, CONVERT])
def test_a_verb_says_as_much_as_it_is_asked_to(line, tmp_path, capsys):
    line = [word.format(out=tmp_path / "out") for word in line]
    assert main([*line, "--quiet", "--overwrite"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([*line, "--verbose", "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert f"diffeode: wrote {line[line.index('-o') + 1]}" in said
    assert ("a note" in said) == (line[0] != "evaluate")


@pytest.mark.parametrize(("run", "learns"), [("symnet", False), ("transmatch", True)])
def test_label_maps_of_a_dataset_are_looked_for_where_the_run_learns_from_them(
    run, learns, tmp_path
):
    assert main(["train", run, "-o", str(tmp_path / "out"), "--bids", "data"]) == 0
    assert seen("persons_of_dataset")[5] is learns


def test_settings_lie_over_those_of_the_run_and_weights_over_both(tmp_path):
    line = [*REGISTER, "--method", "node-mind", "--set", "velocity.kernel.gaussian.width=1.25"]
    assert main([word.format(out=tmp_path / "out") for word in line]) == 0
    assert run_of()[2] == {"velocity": {"kernel": {"gaussian": {"width": 1.25}}}}
