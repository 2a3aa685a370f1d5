"""The command line: what it writes, what it refuses, and that it leaves nothing half done."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffeode.cli import arguments, main
from diffeode.cli.progress import ProgressLine
from diffeode.desk import DEFAULT_RUN, registration
from diffeode.errors import InputError, RegistrationError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_image, warp_labels
from diffeode.methods.identity import Identity
from diffeode.registration import runs
from diffeode.registration.base import Needs, Registration

LAS = Grid(
    (26, 30, 28), np.array([[-3.0, 0, 0, 37.5], [0, 2.5, 0, -36], [0, 0, 2.75, -37], [0, 0, 0, 1]])
)
PSR = Grid(
    (28, 27, 25), np.array([[0, 0, 3.1, -37], [-2.9, 0, 0, 39], [0, 3.0, 0, -39], [0, 0, 0, 1]])
)
OUTPUTS = {
    *("warp.nii.gz", "inverse_warp.nii.gz", "warped.nii.gz", "metrics.json", "overview.png"),
    *("trace.tsv", "affine.txt"),
}


def anatomy(points_mm):
    """Return intensities of three lobes in a ball, 0 outside, and the lobes' labels 4, 17 and
    1000.
    """
    x, y, z = np.moveaxis(points_mm, -1, 0)
    waves = 2 + np.sin(x / 9) + np.sin(y / 8 + 1) * np.cos(z / 10)
    inside = np.linalg.norm(points_mm / (28, 30, 26), axis=-1) < 1
    labels = np.select([waves < 1.6, waves < 2.4], [4, 17], 1000)
    return np.where(inside, 200 * waves + 37, 0), np.where(inside, labels, 0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A fixed scan with axes to the left, and the same anatomy 5 mm to the right on another grid,
    axes permuted.
    """
    folder = tmp_path_factory.mktemp("scans")
    for name, grid, offset in (("fixed", LAS, 0.0), ("moving", PSR, 5.0)):
        intensity, labels = anatomy(grid.points_mm() - [offset, 0, 0])
        io.write_image(folder / f"{name}.nii.gz", Image(intensity, grid))
        io.write_labels(folder / f"{name}_dseg.nii.gz", Labels(labels, grid))
    return folder


@pytest.fixture
def register(scans, tmp_path, capsys):
    """Run ``diffeode register`` on the two scans; return the exit code, standard error and the
    output folder.
    """

    def run(*extra, fixed="fixed.nii.gz", moving="moving.nii.gz", out=tmp_path / "out"):
        arguments = [
            "register",
            str(scans / fixed),
            str(scans / moving),
            "-o",
            str(out),
            "--threads",
            "1",
            *extra,
        ]
        code = main(arguments)
        captured = capsys.readouterr()
        assert captured.out == ""
        return code, captured.err, out

    return run


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


# ------------------------------------------------------------------------------------- what it does


@pytest.fixture(scope="module")
def aligned(scans, tmp_path_factory):
    """The output of a registration with all options given."""
    out = tmp_path_factory.mktemp("aligned") / "deep" / "out"
    labels = [
        "--labels",
        str(scans / "moving_dseg.nii.gz"),
        "--fixed-labels",
        str(scans / "fixed_dseg.nii.gz"),
    ]
    pair = [str(scans / "fixed.nii.gz"), str(scans / "moving.nii.gz")]
    assert (
        main(["register", *pair, "-o", str(out), "--method", "identity", "--threads", "1", *labels])
        == 0
    )
    return out


def test_writes_exactly_what_it_promises(aligned):
    assert {p.name for p in aligned.iterdir()} == OUTPUTS | {"warped_labels.nii.gz"}
    assert not hidden(aligned.parent)


def test_the_map_brings_the_moving_scan_onto_the_fixed_one(aligned, scans):
    warp = io.read_displacement(aligned / "warp.nii.gz")
    assert warp.grid.matches(LAS)
    brain = io.read_image(scans / "fixed.nii.gz").data > 0
    np.testing.assert_allclose(np.median(warp.displacement_mm[brain], axis=0), [5, 0, 0], atol=0.5)
    inverse = io.read_displacement(aligned / "inverse_warp.nii.gz")
    assert inverse.grid.matches(PSR)
    points = LAS.points_mm()[brain]
    np.testing.assert_allclose(inverse(warp(points)), points, atol=0.05)


def test_warped_scan_has_the_original_intensities_resampled_once(aligned, scans):
    warp = io.read_displacement(aligned / "warp.nii.gz")
    moving = io.read_image(scans / "moving.nii.gz")
    np.testing.assert_allclose(
        io.read_image(aligned / "warped.nii.gz").data, warp_image(moving, warp, LAS).data, atol=1e-3
    )
    labels = warp_labels(io.read_labels(scans / "moving_dseg.nii.gz"), warp, LAS)
    assert (io.read_labels(aligned / "warped_labels.nii.gz").data == labels.data).mean() > 0.9999


def test_metrics_say_how_good_and_how_made(aligned):
    content = json.loads((aligned / "metrics.json").read_text())
    metrics = content["metrics"]
    expected = {
        "folds_central_percent",
        "ndv_percent",
        "sdlogj",
        "min_jacobian",
        "inverse_consistency_mm",
        "nmi",
    }
    expected |= {"nmi_before", "dice", "seconds", "cpu_seconds", "peak_memory_mb"}
    assert expected <= set(metrics)
    assert metrics["dice"] > 0.85
    assert set(content["dice_by_label"]) == {"4", "17", "1000"}
    assert metrics["folds_central_percent"] == 0
    assert (content["run"], content["method"], content["init"], content["seed"]) == (
        "identity",
        "identity",
        "affine",
        0,
    )
    assert content["software"]["diffeode"]


def test_trusting_the_headers_leaves_the_scans_where_they_are(register):
    code, said, out = register("--method", "identity", "--init", "identity")
    assert code == 0
    assert said.startswith(
        "diffeode: This registration is suspect"
    )  # the two brains lie a tenth of their width apart
    assert np.abs(io.read_displacement(out / "warp.nii.gz").displacement_mm).max() == 0
    assert {p.name for p in out.iterdir()} == OUTPUTS
    assert "dice" not in json.loads((out / "metrics.json").read_text())["metrics"]


def test_a_method_with_parameters_is_registered_and_recorded(register):
    code, _, out = register("--method", "convexadam", "--init", "identity", "--seed", "3")
    assert code == 0
    content = json.loads((out / "metrics.json").read_text())
    assert content["parameters"]["grid_sp"] == 6
    assert content["seed"] == 3
    assert content["metrics"]["nmi"] > content["metrics"]["nmi_before"] + 0.05


def test_hyper_parameters_are_set_on_top_of_the_run_and_recorded(register):
    settings = ("grid_sp=5", "lambda_weight = 1.5")
    code, said, out = register(
        "--method",
        "convexadam",
        "--init",
        "identity",
        *(word for text in settings for word in ("--set", text)),
    )
    assert (code, said) == (0, "")
    parameters = json.loads((out / "metrics.json").read_text())["parameters"]
    assert parameters["grid_sp"] == 5
    assert parameters["lambda_weight"] == 1.5


def test_nested_hyper_parameters_are_set_one_by_one_and_recorded_whole(register):
    settings = (
        "levels={factors: [4], iterations: [1]}",
        "similarity.mind.weight=2",
        "penalties.bending.weight=0.1",
    )
    code, _, out = register(
        "--method",
        "node",
        "--init",
        "identity",
        *(word for text in settings for word in ("--set", text)),
    )
    assert code == 0
    parameters = json.loads((out / "metrics.json").read_text())["parameters"]
    assert parameters["levels"] == {"factors": [4], "iterations": [1]}
    assert parameters["similarity"]["mind"]["weight"] == 2
    assert parameters["similarity"]["local_correlation"] == {
        "weight": 0.15,
        "window": 7,
        "squared": True,
    }
    assert parameters["penalties"] == {"gradient": {"weight": 0.35}, "bending": {"weight": 0.1}}
    assert parameters["flow"]["steps"] == 6


def test_default_is_a_run_that_exists():
    assert DEFAULT_RUN in runs.run_names()


def test_apply_repeats_the_warped_files(aligned, scans, tmp_path):
    for name, flags in (("moving", []), ("moving_dseg", ["--labels"])):
        out = tmp_path / f"{name}.nii.gz"
        warp = [str(aligned / "warp.nii.gz"), str(scans / f"{name}.nii.gz")]
        assert (
            main(
                ["apply", *warp, "-o", str(out), "--reference", str(scans / "fixed.nii.gz"), *flags]
            )
            == 0
        )
    expected = io.read_image(aligned / "warped.nii.gz").data
    np.testing.assert_allclose(io.read_image(tmp_path / "moving.nii.gz").data, expected, atol=1e-2)
    labels = io.read_labels(aligned / "warped_labels.nii.gz").data
    assert (io.read_labels(tmp_path / "moving_dseg.nii.gz").data == labels).mean() > 0.9999


def test_apply_onto_another_grid(aligned, scans, tmp_path):
    """The reference may be coarser than the map."""
    coarse = LAS.resample(5.0)
    io.write_image(tmp_path / "coarse.nii.gz", Image(coarse.voxels()[..., 0], coarse))
    warp = [str(aligned / "warp.nii.gz"), str(scans / "moving.nii.gz")]
    out = tmp_path / "out.nii.gz"
    assert (
        main(["apply", *warp, "-o", str(out), "--reference", str(tmp_path / "coarse.nii.gz")]) == 0
    )
    found = io.read_image(out)
    assert found.grid.matches(coarse)
    on_coarse = warp_image(io.read_image(aligned / "warped.nii.gz"), Affine(), coarse).data
    inner = on_coarse > 0
    assert np.abs(found.data - on_coarse)[inner].mean() < 0.05 * np.ptp(on_coarse)


def test_methods_lists_every_run_with_its_standing_here_and_the_reason(capsys, monkeypatch):
    from diffeode.registration import registry

    absent = Needs(packages=("no_such_package_here",))
    monkeypatch.setattr(registry.method_class("convexadam"), "needs", absent)
    assert main(["methods"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "METHOD", "TITLE", "NEEDS", "HERE", "WHY"]
    by_run = {line.split()[0]: line for line in lines}
    assert set(by_run) == set(runs.run_names())
    assert re.search(
        r"  needs-package +the Python package no_such_package_here is not installed$",
        by_run["convexadam"],
    )
    assert by_run["identity"].endswith("  run")
    for name in ("identity", "affine", "ants-syn", "node"):
        assert by_run[name].split("  ")[-1] == "run"
    assert "ANTs SyN" in by_run["ants-syn"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys, contextlib, io\nfrom diffeode.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): "
        "main(['--help'])\n"
        "print(*{'torch', 'numpy', 'ants', 'nibabel', 'pandas', 'matplotlib', 'scipy', "
        "'shtab'} & "
        "set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_module_runs_as_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "diffeode", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("diffeode ")


# ---------------------------------------------------------------------------------- what it refuses


def spoil(scans, tmp_path, change):
    image = nib.load(scans / "moving.nii.gz")
    data = np.asarray(image.dataobj).copy()
    path = tmp_path / "spoilt.nii.gz"
    nib.save(nib.Nifti1Image(change(data), image.affine), path)
    return path


def with_hole(data):
    data[3, 3, 3] = np.nan
    return data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_hole, "NaN or infinite"),
        (lambda data: np.full_like(data, 2), "constant"),
        (lambda data: np.stack([data, data], -1), "4-D"),
    ],
)
def test_unusable_scan_is_one_sentence_and_exit_code_2(register, scans, tmp_path, change, words):
    path = spoil(scans, tmp_path, change)
    code, said, out = register("--method", "identity", moving=path)
    assert code == 2
    assert said.startswith("diffeode: ")
    assert said.count("\n") == 1
    assert words in said
    assert str(path) in said
    assert not out.exists()
    assert not hidden(tmp_path)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--method", "convexadamm"], "did you mean 'convexadam'"),
        (["--method", "identity", "--labels", "{scans}/none.nii.gz"], "There is no file"),
        (
            ["--method", "identity", "--labels", "{scans}/fixed_dseg.nii.gz"],
            "does not lie on the grid of its scan",
        ),
        (["--method", "identity", "--labels", "{scans}/moving.nii.gz"], "not a label map"),
        (["--method", "identity", "--device", "cuda:99"], "no device cuda:99"),
        (["--set", "penalties.gradint.weight=1"], "did you mean 'penalties.gradient'"),
        (["--set", "penalties.gradient.weight=much"], "which is no number"),
        (
            ["--set", "penalties.gradient.weight=-1"],
            "Parameter penalties.gradient.weight is -1; it must lie between 0",
        ),
        (["--set", "weight_ncc=1"], "it is now 'similarity.local_correlation.weight'"),
        (
            ["--set", "similarity=mind"],
            "Parameter similarity of method neural-ode is 'mind', which is no block",
        ),
        (["--set", "weight_map={scans}/none.nii.gz"], "none.nii.gz"),
        (
            [
                "--method",
                "node-cl",
                "--set",
                "similarity.descriptor.weights={scans}/none.safetensors",
            ],
            "none.safetensors",
        ),
    ],
)
def test_unusable_option_is_one_sentence_and_exit_code_2(register, scans, extra, words):
    code, said, out = register(*[e.format(scans=scans) for e in extra])
    assert code == 2
    assert said.count("\n") == 1
    assert words in said
    assert not out.exists()


@pytest.mark.parametrize("extra", [["--threads", "0"], ["--seed", "-1"], ["--device", "gpu"], []])
def test_misspelt_arguments_stop_at_once(scans, extra):
    arguments = ["register", "a.nii.gz", "b.nii.gz"] + (["-o", "out", *extra] if extra else [])
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (
            ["--seed", "2147483648"],
            "'2147483648' is too large for a seed; use one up to 2147483647",
        ),
        (["--time-limit", "1e300"], "'1e300' is no number of minutes above 0 and up to 35,000"),
        (["--time-limit", "35001"], "'35001' is no number of minutes above 0 and up to 35,000"),
        (["--time-limit", "nan"], "'nan' is no number of minutes"),
        (["--device", "cpu:0"], "'cpu:0' is no device; use cpu, cuda or cuda:N"),
        (["--device", "cuda:"], "'cuda:' is no device"),
        (["--set", "masked"], "'masked' sets nothing; write NAME=VALUE"),
        (
            ["--set", "levels=[2, 1"],
            "The value in 'levels=[2, 1' is not valid YAML (line 1, column 6: ",
        ),
    ],
)
def test_arguments_that_would_fail_only_later_stop_at_once_and_say_why(capsys, extra, reason):
    with pytest.raises(SystemExit) as stopped:
        main(["register", "a.nii.gz", "b.nii.gz", "-o", "out", *extra])
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_largest_seed_and_every_kind_of_device_are_arguments():
    assert arguments.seed("2147483647") == 2**31 - 1
    assert [arguments.device(text) for text in ("cpu", "cuda", "cuda:1")] == [
        "cpu",
        "cuda",
        "cuda:1",
    ]


def test_output_that_is_a_file_is_refused(register, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, said, out = register("--method", "identity")
    assert code == 2
    assert "is a file" in said
    assert out.read_text() == "mine"


def test_output_below_a_file_is_refused_before_the_work(register, tmp_path, monkeypatch):
    monkeypatch.setattr(
        registration, "register_at_desk", lambda *a: pytest.fail("it should not have started")
    )
    (tmp_path / "mine").write_text("mine")
    code, said, _ = register("--method", "identity", out=tmp_path / "mine" / "deep" / "out")
    assert code == 2
    told = f"{tmp_path / 'mine'} is a file, not a folder; choose another output."
    assert said == f"diffeode: {told}\n"


def test_a_folder_in_the_place_of_a_result_is_refused_before_the_work(
    register, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        registration, "register_at_desk", lambda *a: pytest.fail("it should not have started")
    )
    (tmp_path / "out" / "metrics.json").mkdir(parents=True)
    code, said, out = register("--method", "identity")
    assert code == 2
    assert said.startswith(
        f"diffeode: {out / 'metrics.json'} is a folder, but a result is to be written under that "
        "name; "
    )
    assert [path.name for path in out.iterdir()] == ["metrics.json"]


def test_a_folder_that_comes_in_the_way_during_the_work_leaves_every_old_result(
    register, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "warp.nii.gz").write_text("from yesterday")

    def register_while_someone_makes_a_folder(self, pair, machine):
        (out / "metrics.json").mkdir()
        return Registration(Affine(), Affine())

    monkeypatch.setattr(Identity, "register", register_while_someone_makes_a_folder)
    code, said, _ = register("--method", "identity", "--init", "identity", "--overwrite")
    assert (code, said.count("\n")) == (2, 1)
    assert {path.name for path in out.iterdir()} == {"warp.nii.gz", "metrics.json"}
    assert (out / "warp.nii.gz").read_text() == "from yesterday"


@pytest.mark.parametrize("earlier", ["warp.nii.gz", "warped_labels.nii.gz", "report.html"])
def test_a_result_that_exists_is_refused_before_the_work(register, tmp_path, monkeypatch, earlier):
    monkeypatch.setattr(
        registration, "register_at_desk", lambda *a: pytest.fail("it should not have started")
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / earlier).write_text("from yesterday")
    code, said, out = register("--method", "identity")
    assert code == 2
    assert said == (
        f"diffeode: {out / earlier} exists already; give --overwrite to replace it, or choose "
        "another output.\n"
    )
    assert [path.name for path in out.iterdir()] == [earlier]
    assert (out / earlier).read_text() == "from yesterday"


def test_output_folder_that_cannot_be_written_is_refused_before_the_work(
    register, tmp_path, monkeypatch
):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(
        registration, "register_at_desk", lambda *a: pytest.fail("it should not have started")
    )
    code, said, _ = register("--method", "identity")
    assert code == 2
    assert "Cannot write" in said
    assert "Permission denied" in said


# ------------------------------------------------------------------------------ whole or not at all


def failing(error):
    def register(self, pair, machine):
        raise error

    return register


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RegistrationError("the tissue vanished."), "pair: the tissue vanished."),
        (InputError("the image is too small."), "pair: the image is too small."),
        (ValueError("odd\nlines"), "pair: ValueError: odd"),
    ],
)
def test_failed_registration_is_exit_code_1_and_keeps_the_old_results(
    register, monkeypatch, tmp_path, error, reason
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "warp.nii.gz").write_text("from yesterday")
    monkeypatch.setattr(Identity, "register", failing(error))
    code, said, _ = register("--method", "identity", "--overwrite")
    assert code == 1
    assert said.count("\n") == 1
    assert reason in said
    assert [p.name for p in out.iterdir()] == ["warp.nii.gz"]
    assert (out / "warp.nii.gz").read_text() == "from yesterday"


def test_a_method_that_leaves_the_process_has_failed(register, monkeypatch):
    monkeypatch.setattr(Identity, "register", failing(SystemExit("enough")))
    code, said, out = register("--method", "identity", "--init", "identity")
    assert code == 1
    reason = "Initial called sys.exit('enough') before it was done."
    assert said == f"diffeode: {reason} (--verbose shows the whole error)\n"
    assert not out.exists()


def test_what_the_method_noted_is_said_and_kept(register, monkeypatch, tmp_path):
    def register_noting(self, pair, machine):
        return Registration(Affine(), Affine(), notes=("it was a dark night",))

    monkeypatch.setattr(Identity, "register", register_noting)
    code, said, _ = register("--method", "identity", "--init", "identity")
    assert code == 0
    assert said.splitlines()[0] == "diffeode: it was a dark night"
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"] == [
        "it was a dark night"
    ]


def test_success_replaces_our_files_removes_stale_ones_and_leaves_yours(register, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("warp.nii.gz", "warped_labels.nii.gz", "notes.txt"):
        (out / name).write_text("from yesterday")
    code, _, _ = register("--method", "identity", "--init", "identity", "--overwrite")
    assert code == 0
    assert {p.name for p in out.iterdir()} == OUTPUTS | {"notes.txt"}
    io.read_displacement(out / "warp.nii.gz")
    assert (out / "notes.txt").read_text() == "from yesterday"


@pytest.mark.parametrize("moves", range(6))
def test_a_result_that_cannot_be_replaced_leaves_all_as_it_was(
    register, tmp_path, monkeypatch, moves
):
    out = tmp_path / "out"
    out.mkdir()
    old = ("warp.nii.gz", "warped.nii.gz", "warped_labels.nii.gz")
    for name in old:
        (out / name).write_text(f"{name} from yesterday")
    replace, done = Path.replace, []

    def fail_once(self, target):
        if out in (self.parent, Path(target).parent):
            done.append(self)
            if len(done) == moves + 1:
                raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    code, said, _ = register("--method", "identity", "--init", "identity", "--overwrite")
    assert code == 2
    assert "Input/output error" in said
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        n: f"{n} from yesterday" for n in old
    }
    assert not hidden(tmp_path)


def test_full_disk_is_one_sentence_and_leaves_nothing(register, tmp_path, monkeypatch):
    def full(nifti, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    code, said, out = register("--method", "identity", "--init", "identity")
    assert code == 2
    assert "No space left on device" in said
    assert not out.exists()
    assert not hidden(tmp_path)


def test_keyboard_interrupt_leaves_nothing(register, tmp_path, monkeypatch):
    monkeypatch.setattr(Identity, "register", failing(KeyboardInterrupt()))
    code, said, out = register("--method", "identity", "--init", "identity")
    assert code == 130
    assert said == "diffeode: interrupted; nothing was written\n"
    assert not out.exists()
    assert not hidden(tmp_path)


@pytest.mark.usefixtures("hang_ups_arrive")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_leaves_nothing(scans, tmp_path, number):
    """A scheduler sends SIGTERM, or a terminal that is closed sends SIGHUP, in the middle of the
    work.
    """
    code = (
        "import sys, time\nfrom diffeode.cli import main\nfrom diffeode.desk import registration\n"
        "registration.register_at_desk = lambda *a: (print('working', flush=True), "
        "time.sleep(600))\n"
        f"sys.exit(main(['register', {str(scans / 'fixed.nii.gz')!r}, "
        f"{str(scans / 'moving.nii.gz')!r},"
        f" '-o', {str(tmp_path / 'out')!r}, '--method', 'identity']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    assert hidden(tmp_path)
    process.send_signal(number)
    assert process.wait(timeout=300) == 128 + number
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------- progress


def test_a_registration_tells_its_stages_in_order(register, monkeypatch):
    told = []
    monkeypatch.setattr(ProgressLine, "_tell", lambda line, message: told.append(message))
    code, _, _ = register("--method", "identity", "--init", "identity", "--report")
    assert code == 0
    begun = [message["begin"] for message in told if "begin" in message]
    plans = [list(message["plan"]) for message in told if "plan" in message]
    assert begun == plans[0] == plans[-1]
    assert begun[:2] == ["starting", "reading"]


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_reader_that_leaves_early_is_no_error():
    found = subprocess.run(
        f"{sys.executable} -m diffeode methods | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("RUN")
    assert found.stderr == ""
