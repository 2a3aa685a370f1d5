"""A command does the same wherever it is started: with closed streams, a notebook's variables, a
removed folder, any umask.

What a process inherits can only be tested in a process of its own; each of these imports as little
as it can.
"""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffeode.cli import main
from diffeode.cli.arguments import processors, threads
from diffeode.cli.main import _parser
from diffeode.errors import InputError
from diffeode.figures import style
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.process.surroundings import require_usable
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.seals import seal

GRID = Grid((16, 16, 16), np.diag([8.0, 8, 8, 1]))
INSIDE = np.linalg.norm(GRID.points_mm() - GRID.centre_mm, axis=-1) < 45
BRAIN = Image(np.where(INSIDE, np.random.default_rng(0).uniform(100, 900, GRID.shape), 0), GRID)
COMMANDS = {
    "register": ["register", "fixed.nii.gz", "moving.nii.gz", "-o", "out"],
    "apply": ["apply", "warp.nii.gz", "moving.nii.gz", "-o", "out.nii.gz"],
    "points": ["points", "warp.nii.gz", "points.csv", "-o", "out.csv"],
    "invert": ["invert", "affine.txt", "-o", "out.txt"],
    "compose": ["compose", "a.txt", "b.txt", "-o", "out.txt"],
    "jacobian": ["jacobian", "warp.nii.gz", "-o", "out.nii.gz"],
    "evaluate": ["evaluate", "warp.nii.gz", "fixed.nii.gz", "moving.nii.gz"],
    "convert": ["convert", "affine.txt", "-o", "out.h5"],
    "prepare": ["prepare", "scan.nii.gz", "-o", "out", "--brain", "nonzero"],
    "report": ["report", "out"],
    "train": ["train", "voxelmorph", "-o", "out", "--fixed", "a.nii.gz", "--moving", "b.nii.gz"],
    "train-descriptor": ["train-descriptor", "training.yaml", "-o", "out", "--data", "data"],
    "methods": ["methods"],
    "weights": ["weights"],
    "weights get": ["weights", "get", "nothing"],
    "datasets": ["datasets"],
    "completion": ["completion", "bash"],
    "needs": ["needs", "study.yaml"],
    "exclude": ["exclude", "a.tsv", "--to", "b.tsv"],
    "study": ["study", "bids", "out"],
}
"""For every command, arguments that it accepts, with files that are not there."""


@pytest.fixture
def pair(tmp_path) -> list[str]:
    for name in ("fixed", "moving"):
        io.write_image(tmp_path / f"{name}.nii.gz", BRAIN)
    return [str(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving")]


def test_every_command_is_tried_here():
    (chosen,) = (
        action for action in _parser()._actions if action.dest == "command" or action.choices
    )
    assert {name.split()[0] for name in COMMANDS} == set(chosen.choices)


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_registration_does_without_streams_and_with_a_notebooks_backend(tmp_path, pair, closed):
    command = (
        '"$0" -m diffeode register "$1" "$2" -o "$3" --method identity --init identity '
        f"--threads 1 {closed}"
    )
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, *pair, str(tmp_path / "out")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    made = {file.name for file in (tmp_path / "out").iterdir()}
    assert made == {
        "warp.nii.gz",
        "inverse_warp.nii.gz",
        "warped.nii.gz",
        "affine.txt",
        "overview.png",
        "trace.tsv",
        "metrics.json",
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_leads_nowhere_and_no_file_takes_its_place(tmp_path, number):
    program = (
        f"import os; os.close({number})\n"
        "from diffeode.process.surroundings import settle; settle()\n"
        f"import sys; assert None not in (sys.stdin, sys.stdout, sys.stderr)\n"
        f"assert os.path.samestat(os.fstat({number}), os.stat(os.devnull)) and "
        f"os.get_inheritable({number})\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); assert file.fileno() > 2"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_name_that_standard_output_cannot_show_is_spelled_out(tmp_path):
    program = (
        "from diffeode.process.surroundings import settle; settle(); print('scan\\udcff-\\u00fc')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "scan\\udcff-\\xfc\n"


def test_a_working_folder_that_is_gone_is_said_in_one_sentence(tmp_path):
    command = 'cd "$1" && mkdir gone && cd gone && rmdir ../gone && "$0" -m diffeode methods'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert (
        "The folder that this command was started in cannot be used (No such file or directory)"
        in done.stderr
    )


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_asks_for_its_working_folder_first(command, capsys, monkeypatch):
    """The folder is not really removed, because torch would end a process that cannot use its
    folder, this one included.
    """

    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os, "getcwd", gone)
    code = main(command)
    monkeypatch.undo()
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "The folder that this command was started in cannot be used" in said.err


@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
def test_a_number_of_threads_that_numba_stops_at_is_said(monkeypatch, count):
    monkeypatch.setenv("NUMBA_NUM_THREADS", count)
    with pytest.raises(InputError, match=f"NUMBA_NUM_THREADS is '{count}'"):
        require_usable()


@pytest.mark.parametrize("count", ["1", " 2 ", ""])
def test_other_numbers_of_threads_are_left_to_numba(monkeypatch, count):
    monkeypatch.setenv("NUMBA_NUM_THREADS", count)
    require_usable()


def test_more_threads_than_processors_are_as_many_as_there_are():
    assert threads("9999") == threads(str(10**30)) == processors()
    assert threads("1") == 1


def paths_of(command: list[str]) -> list[tuple[int, str]]:
    """Return the positions of a command's arguments that are paths, and what each of them is."""
    named = [i for i, word in enumerate(command) if "." in word or word in ("out", "data")]
    return [(i, command[i]) for i in named]


@pytest.mark.parametrize(
    ("command", "place"),
    [(command, place) for command in COMMANDS.values() for place, _ in paths_of(command)],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_an_empty_path_is_refused_wherever_one_is_given(
    command, place, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([*command[:place], "", *command[place + 1 :]])
    assert left.value.code == 2
    assert "the name is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--weights", "--labels", "--fixed-labels"])
def test_an_empty_optional_path_is_refused(option, capsys):
    with pytest.raises(SystemExit):
        main([*COMMANDS["register"], option, ""])
    assert f"argument {option}: the name is empty" in capsys.readouterr().err


# -------------------------------------------------------------------------------------- permissions


def _figure(path: Path) -> None:
    style.say(path, "nothing")


def _sealed(path: Path) -> None:
    path.write_text("table")
    seal(path, path.parent, {"inputs": [], "parameters": {}})


def _checkpoint(path: Path) -> None:
    from safetensors.torch import save_file
    from torch import ones

    with io.written_whole(path) as temporary:
        save_file({"weight": ones(3)}, temporary)


WRITERS = {
    "image.nii.gz": lambda path: io.write_image(path, BRAIN),
    "labels.nii": lambda path: io.write_labels(path, Labels(INSIDE, GRID)),
    "warp.nii.gz": lambda path: io.write_displacement(
        path, DisplacementField(np.zeros((*GRID.shape, 3), np.float32), GRID)
    ),
    "affine.txt": lambda path: io.write_affine(path, Affine()),
    "metrics.json": lambda path: io.write_json(path, {}),
    "receipt.json": lambda path: write_receipt(path.parent, [], {}),
    "table.tsv": _sealed,
    "figure.png": _figure,
    "figure.svg": _figure,
    "best.safetensors": _checkpoint,
}


@pytest.mark.parametrize(
    ("mask", "wanted"), [(0o077, 0o600), (0o002, 0o664), (0o027, 0o640), (0o022, 0o644)]
)
def test_files_and_folders_have_the_permissions_that_the_umask_leaves(tmp_path, mask, wanted):
    before = os.umask(mask)
    try:
        for name, write in WRITERS.items():
            folder = tmp_path / name / "new"
            folder.mkdir(parents=True)
            write(folder / name)
    finally:
        os.umask(before)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= set(WRITERS)
    assert {(file.name, oct(stat.S_IMODE(file.stat().st_mode))) for file in files} == {
        (file.name, oct(wanted)) for file in files
    }


@pytest.mark.parametrize(("mask", "wanted"), [(0o077, 0o600), (0o002, 0o664)])
def test_a_delivered_folder_has_them_too(tmp_path, pair, mask, wanted):
    before = os.umask(mask)
    try:
        assert (
            main(
                [
                    "register",
                    *pair,
                    "-o",
                    str(tmp_path / "out"),
                    "--method",
                    "identity",
                    "--init",
                    "identity",
                ]
            )
            == 0
        )
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "out").iterdir()} == {wanted}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~mask


# ------------------------------------------------------------------------------------------ kernels


def test_without_compiled_code_torch_does_the_work(tmp_path):
    """``NUMBA_DISABLE_JIT`` leaves kernels to the interpreter, where they take hours or break."""
    program = (
        "import numpy as np, torch\n"
        "from diffeode.fused.compiler import compiled_mark, serves\n"
        "from diffeode.geometry.image import Image, foreground\n"
        "from diffeode.registration.base import Machine, Pair\n"
        "from diffeode.methods.neural_ode import Levels, LocalCorrelation, Mind, "
        "MutualInformation, NeuralODE\n"
        "from diffeode.geometry.space import Grid\n"
        "assert not serves(torch.zeros(1, 1, 8, 8, 8)) and compiled_mark() is None\n"
        "v = np.random.default_rng(7).random((16, 16, 16), dtype=np.float32)\n"
        "fixed, moving = (Image(a, Grid(a.shape, np.eye(4))) for a in (v, v[::-1].copy()))\n"
        "similarity = (Mind(), MutualInformation(normalised=True), LocalCorrelation())\n"
        "method = NeuralODE(similarity, levels=Levels((1.0,), (2,)))\n"
        "pair = Pair(fixed, moving, foreground(fixed), foreground(moving))\n"
        "assert np.isfinite(method.register(pair, Machine(threads=1, "
        "seed=0)).forward.displacement_mm).all()\n"
        "import runpy\n"
        "try: runpy.run_module('diffeode.fused', run_name='__main__')\n"
        "except SystemExit as left: assert 'NUMBA_DISABLE_JIT is set' in str(left)\n"
        "else: raise AssertionError('kernels were compiled')"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True
    )
