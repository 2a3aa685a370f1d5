"""Every option of every command reaches the function that does the work, with its own value.

What is given here differs from every default and from every other value. An option without an entry
in ARRIVES fails.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from diffeode.cli import (
    apply,
    arguments,
    datasets,
    exclude,
    main,
    methods,
    needs,
    register,
    train,
    train_descriptor,
)
from diffeode.cli import weights as weights_command
from diffeode.datasets import exclusions
from diffeode.desk import inputs, registration, training
from diffeode.figures import training_curves
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField, warp_image, warp_labels
from diffeode.learning.descriptor import material
from diffeode.process import threads
from diffeode.registration import base, page, registry
from diffeode.study import inventory
from diffeode.study import needs as study_needs
from diffeode.weights import fetch as weights_download

COMMANDS = {
    "register": register,
    "apply": apply,
    "train": train,
    "train-descriptor": train_descriptor,
    "methods": methods,
    "weights": weights_command,
    "datasets": datasets,
    "needs": needs,
    "exclude": exclude,
}
SEEN: dict = {}
"""The arguments that the functions behind the commands were given, by the function's name."""
PROCESSORS = 9
"""More processors than any option asks for here, and a number that no machine is likely to have."""
WEIGHTS = str(Path(__file__))
"""A file that stands for weights: they must be there, but are checked only when they are used."""

GRID_OF_MAP, GRID_OF_SCAN = Grid((4, 4, 4), np.eye(4)), Grid((6, 5, 4), np.diag([0.9, 0.8, 1.1, 1]))
GRID_OF_REFERENCE = Grid((3, 4, 2), np.diag([0.5, 0.7, 0.6, 1]))
MAP = DisplacementField(np.full((*GRID_OF_MAP.shape, 3), (0.6, -0.3, 0.2)), GRID_OF_MAP)
_VALUES = np.random.default_rng(0).integers(1, 90, GRID_OF_SCAN.shape)
SCAN, LABEL_MAP = Image(_VALUES + 0.5, GRID_OF_SCAN), Labels(_VALUES, GRID_OF_SCAN)
"""The files that ``apply`` reads; linear and nearest interpolation give different values."""


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


@pytest.fixture(autouse=True)
def behind_the_commands(monkeypatch):
    """Replace the functions that do the work by ones that record their arguments."""
    SEEN.clear()
    for module, name, answer in (
        (inputs, "read_inputs", "the inputs"),
        (inputs, "read_start", "the start"),
        (registry, "missing_needs", []),
        (base, "require_device", None),
        (training, "persons_of_files", ["a", "b", "c"]),
        (training, "persons_of_dataset", ["a", "b"]),
        (training, "train_at_desk", None),
        (training_curves, "training_curves", None),
        (material, "train_descriptor", Path("best.safetensors")),
        (material, "read_training", SimpleNamespace(settings=SimpleNamespace(criterion="loss"))),
        (page, "methods_page", "the page\n"),
        (page, "rows_here", [("node", "neural-ode")]),
        (weights_download, "obtain", Path("here")),
        (inventory, "take_inventory", "an inventory"),
        (inventory, "description", ["all about it"]),
        (inventory, "overview", ["about all"]),
        (study_needs, "needs_of", []),
        (exclusions, "flagged", ["flagged"]),
        (exclusions, "read_exclusions", "the kept"),
        (exclusions, "add_exclusions", []),
        (io, "read_displacement", MAP),
        (io, "read_grid", GRID_OF_REFERENCE),
        (io, "read_finite", SCAN),
        (io, "read_labels", LABEL_MAP),
        (io, "write_image", None),
        (io, "write_labels", None),
        (threads, "use_threads", None),
        (arguments, "processors", PROCESSORS),
    ):
        monkeypatch.setattr(module, name, noted(name, answer))
    monkeypatch.setattr(registration, "register_at_desk", registered)
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


def written(name):
    """The name of the file, the values and the grid that the function ``name`` was to write."""
    path, image = seen(name)
    return path.name, image.data.tolist(), image.grid


def resampled(warp, image, grid):
    """What ``apply`` should write, as :func:`written` gives it."""
    return "o.nii.gz", warp(image, MAP, grid).data.tolist(), grid


def machine_of(name):
    return next(given for given in seen(name) if isinstance(given, base.Machine))


REGISTER = ["register", "f.nii", "m.nii", "-o", "{out}"]
APPLY = ["apply", "w.nii", "m.nii", "-o", "{out}/o.nii.gz"]
TRAIN = ["train", "symnet", "-o", "{out}", "--fixed", "a", "b", "c", "--moving", "d", "e", "f"]
EXCLUDE = ["exclude", "a", "b", "--to", "c"]
STUDY = Path(__file__).resolve().parents[2] / "config" / "paper.yaml"
BIDS = ["train", "symnet", "-o", "{out}", "--bids", "data"]
DESCRIPTOR = ["train-descriptor", "mine.yaml", "-o", "{out}"]

ASKED_FOR_APART = {("register", "strict")}
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
    ("register", "time_limit"): ([*REGISTER, "--time-limit", "2.5"], lambda: SEEN["watched"], 2.5),
    ("apply", "warp"): (APPLY, lambda: seen("read_displacement"), (Path("w.nii"),)),
    ("apply", "moving"): (APPLY, lambda: seen("read_finite")[0], Path("m.nii")),
    ("apply", "output"): (
        APPLY,
        lambda: written("write_image"),
        resampled(warp_image, SCAN, GRID_OF_MAP),
    ),
    ("apply", "reference"): (
        [*APPLY, "--labels", "--reference", "f.nii"],
        lambda: (seen("read_grid")[0], written("write_labels")),
        (Path("f.nii"), resampled(warp_labels, LABEL_MAP, GRID_OF_REFERENCE)),
    ),
    ("apply", "labels"): (
        [*APPLY, "--labels"],
        lambda: (seen("read_labels")[0], written("write_labels"), "write_image" in SEEN),
        (Path("m.nii"), resampled(warp_labels, LABEL_MAP, GRID_OF_MAP), False),
    ),
    ("apply", "orientation"): (
        [*APPLY, "--reference", "f.nii", "--orientation", "LAS"],
        lambda: (seen("read_finite"), seen("read_grid")),
        ((Path("m.nii"), "LAS"), (Path("f.nii"), "LAS")),
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
    ("needs", "study"): (
        ["needs", str(STUDY)],
        lambda: seen("needs_of"),
        (STUDY, STUDY.parents[1]),
    ),
    ("exclude", "tables"): (EXCLUDE, lambda: seen("flagged")[0], [Path("a"), Path("b")]),
    ("exclude", "to"): (EXCLUDE, lambda: seen("add_exclusions"), (Path("c"), ["flagged"])),
    ("exclude", "keep"): (
        [*EXCLUDE, "--keep", "d"],
        lambda: (seen("read_exclusions")[0], seen("flagged")[1]),
        (Path("d"), "the kept"),
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


@pytest.mark.parametrize(("command", "option"), ARRIVES)
def test_an_option_arrives(command, option, tmp_path):
    line, look, expected = ARRIVES[command, option]
    assert main([word.format(out=tmp_path / "out") for word in line]) == 0
    assert look() == expected


@pytest.mark.parametrize(
    ("line", "look", "expected"),
    [
        (REGISTER, lambda: run_of()[0], register.DEFAULT_RUN),
        (REGISTER, lambda: seen("read_start"), ("affine", "the inputs")),
        (REGISTER, lambda: seen("read_inputs")[5:], (None, None, False)),
        (REGISTER, lambda: "watched" in SEEN, False),
        (
            REGISTER,
            lambda: machine_of("register_at_desk"),
            base.Machine(threads=PROCESSORS, seed=0, device="cpu"),
        ),
        (REGISTER, lambda: seen("read_inputs")[4], None),
        (REGISTER, lambda: "orientation" in seen("register_at_desk")[5], False),
        (APPLY, lambda: written("write_image"), resampled(warp_image, SCAN, GRID_OF_MAP)),
        (APPLY, lambda: (seen("read_finite")[1], "read_grid" in SEEN), (None, False)),
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
        ([*APPLY, "--labels"], lambda: seen("read_labels")[1]),
        (BIDS, lambda: seen("persons_of_dataset")[4]),
    ],
)
def test_an_orientation_arrives_wherever_files_are_read(line, look, tmp_path):
    assert (
        main([word.format(out=tmp_path / "out") for word in [*line, "--orientation", "LAS"]]) == 0
    )
    assert look() == "LAS"


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
