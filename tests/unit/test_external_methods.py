"""Methods that run external programs: command lines, conventions, and every way in which a program
can fail.

Each law is tested on a stand-in, which checks the documented options and writes a known map in the
program's own convention, and on the program itself where it is here.
"""

import re
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import standins
from patience import LIMITS_S

from diffeode.errors import InputError, RegistrationError, ToolError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, densify, warp_labels
from diffeode.methods.deedsbcv import DeedsBCV, dense, read_control_points
from diffeode.methods.niftyreg import NiftyReg
from diffeode.methods.synthmorph import SynthMorph
from diffeode.programs.tools import all_tools, locate
from diffeode.provenance.receipt import read_receipt
from diffeode.registration.base import Machine, Pair
from diffeode.registration.harness import Task, register_to_folder
from diffeode.registration.registry import make_method, missing_needs
from diffeode.registration.runs import load_run

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = Grid(
    (31, 37, 29), np.array([[-3.0, 0, 0, 45], [0, 2.5, 0, -46], [0, 0.0, 2.75, -40], [0, 0, 0, 1]])
)
SHIFT_VOX = np.array([2.0, -3.0, 1.0])
SHIFT_MM = GRID.affine[:3, :3] @ SHIFT_VOX

STAND_INS = {
    "niftyreg": lambda folder: standins.niftyreg(folder, SHIFT_MM),
    "deedsbcv": lambda folder: standins.deedsbcv(folder, *map(str, SHIFT_VOX)),
    "synthmorph": lambda folder: standins.synthmorph(folder, SHIFT_MM),
}


def blobs(shift_mm):
    """Return a brain of soft blobs, shifted by ``shift_mm``."""
    points = GRID.points_mm() - shift_mm
    random = np.random.default_rng(3)
    value = np.full(GRID.shape, 0.5)
    for centre, sign in zip(random.uniform(-24, 24, (24, 3)), np.tile([1, -1], 12), strict=True):
        value += sign * 0.4 * np.exp(-((points - centre) ** 2).sum(-1) / (2 * 8**2))
    return Image(np.where((points**2).sum(-1) < 33**2, np.clip(value, 0.05, 1), 0), GRID)


FIXED, MOVING = blobs(np.zeros(3)), blobs(SHIFT_MM)
PAIR = Pair(FIXED, MOVING, foreground(FIXED), foreground(MOVING))


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    standins.only_these(monkeypatch, tmp_path / "bin")
    return tmp_path / "bin"


def real_or_skip(name):
    missing = missing_needs(name)
    if missing:
        pytest.skip(f"{name} itself is not here: {'; '.join(missing)}")


@pytest.fixture(params=["stand-in", "itself"])
def either(request):
    """A function that has method ``name`` run by a stand-in or by the program itself; it returns a
    tolerance.
    """

    def make(name):
        if request.param == "itself":
            real_or_skip(name)
            return 0.5
        STAND_INS[name](request.getfixturevalue("bin_folder"))
        return 1e-4

    return make


# -------------------------------------------------------------------------------------- conventions


@pytest.mark.parametrize("name", STAND_INS)
def test_a_shift_comes_back_with_its_sign_unit_and_axes(name, either):
    tolerance = either(name)
    found = make_method(name, {}).register(PAIR, Machine())
    moved_vox = GRID.vectors_to_voxel(densify(found.forward, GRID).displacement_mm)[
        foreground(FIXED)
    ]
    np.testing.assert_allclose(np.median(moved_vox, axis=0), SHIFT_VOX, atol=tolerance)
    if found.inverse is not None:
        back_vox = GRID.vectors_to_voxel(densify(found.inverse, GRID).displacement_mm)[
            foreground(MOVING)
        ]
        np.testing.assert_allclose(np.median(back_vox, axis=0), -SHIFT_VOX, atol=tolerance)


def test_control_points_of_deedsbcv_keep_their_axes_and_places(bin_folder):
    along = ("0.1 * i", "-0.2 * j + 0.05 * i", "0.3 * k - 1")
    standins.deedsbcv(bin_folder, *along)
    found = DeedsBCV(grid_spacing=(8, 7, 6, 5, 4)).register(PAIR, Machine()).forward
    # control point k lies at voxel k N / m; beyond the last one its displacement holds
    i, j, k = (
        np.minimum(np.arange(n) * (n // 4) / n, n // 4 - 1).reshape(np.roll((-1, 1, 1), axis))
        for axis, n in enumerate(GRID.shape)
    )
    expected = np.stack(
        np.broadcast_arrays(*(eval(e, {"i": i, "j": j, "k": k}) for e in along)), axis=-1
    )
    np.testing.assert_allclose(GRID.vectors_to_voxel(found.displacement_mm), expected, atol=1e-5)


def class_labels(image):
    return Labels(np.digitize(image.data, [0.04, 0.35, 0.5, 0.65]), image.grid)


def test_niftyreg_warps_labels_as_we_do(tmp_path):
    real_or_skip("niftyreg")
    resample = locate("reg_f3d").with_name("reg_resample")
    if not resample.is_file():
        pytest.skip("reg_resample is not beside reg_f3d")
    paths = {
        name: tmp_path / f"{name}.nii.gz"
        for name in ("fixed", "moving", "labels", "splines", "r", "warped")
    }
    io.write_image(paths["fixed"], FIXED)
    io.write_image(paths["moving"], MOVING)
    io.write_labels(paths["labels"], class_labels(MOVING))
    forward = NiftyReg().register(PAIR, Machine()).forward
    f3d = (
        "{tool} -ref {fixed} -flo {moving} -cpp {splines} -res {r} -sx 10 --nmi -pad 0 -omp 1 -voff"
    )
    warp = "{tool} -ref {fixed} -flo {labels} -trans {splines} -res {warped} -inter 0 -pad 0"
    for tool, command in ((resample.with_name("reg_f3d"), f3d), (resample, warp)):
        subprocess.run(
            command.format(tool=tool, **paths).split(), check=True, stdout=subprocess.DEVNULL
        )
    agree = (
        io.read_labels(paths["warped"]).data
        == warp_labels(class_labels(MOVING), forward, GRID).data
    )
    assert agree.mean() > 0.999


def test_deedsbcv_warps_labels_as_we_do(tmp_path):
    real_or_skip("deedsbcv")
    for name, image in (("fixed", FIXED), ("moving", MOVING)):
        io.write_image(tmp_path / f"{name}.nii.gz", Image(image.data * 1000, GRID))
    nib.save(
        nib.Nifti1Image(class_labels(MOVING).data.astype(np.int16), GRID.affine),
        tmp_path / "labels.nii.gz",
    )
    lists = "-G 6x5x4x3x2 -L 6x5x4x3x2 -Q 5x4x3x2x1"
    command = (
        f"deedsBCV -F fixed.nii.gz -M moving.nii.gz -O out -a 1.6 {lists} -S labels.nii.gz".split()
    )
    command[0] = str(locate("deedsBCV"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)
    forward = DeedsBCV().register(PAIR, Machine()).forward
    own = np.asarray(nib.load(tmp_path / "out_deformed_seg.nii.gz").dataobj)
    assert (own == warp_labels(class_labels(MOVING), forward, GRID).data).mean() > 0.999


def test_niftyreg_shows_its_objective_falling(either):
    either("niftyreg")
    trace = NiftyReg().register(PAIR, Machine()).trace
    levels = [row["level"] for row in trace]
    assert levels == sorted(levels, reverse=True)
    assert set(levels) == {4.0, 2.0, 1.0}
    assert all(row["energy"] < -1 for row in trace)


@pytest.mark.parametrize(("name", "levels"), [("niftyreg", 3), ("deedsbcv", 5)])
def test_levels_are_told_as_they_begin(name, levels, either):
    either(name)
    told = []
    make_method(name, {}).register(
        PAIR, Machine(progress=lambda fraction, message: told.append((fraction, message)))
    )
    assert told == [(n / levels, f"level {n + 1} of {levels}") for n in range(levels)]


# --------------------------------------------------------------------------- SynthMorph's two forms


def test_the_older_synthmorph_is_asked_for_no_weight_and_no_inverse(bin_folder):
    standins.synthmorph(bin_folder, SHIFT_MM, older=True)
    found = SynthMorph().register(PAIR, Machine())
    assert found.inverse is None
    np.testing.assert_allclose(
        densify(found.forward, GRID).displacement_mm[3, 4, 5], SHIFT_MM, rtol=1e-6
    )
    with pytest.raises(
        InputError, match=r"older than the option -r, so weight can only be 0\.5; get a newer one"
    ):
        SynthMorph(weight=0.2).register(PAIR, Machine())


def test_the_named_runs_sweep_the_weight_of_synthmorph(bin_folder):
    standins.synthmorph(bin_folder, SHIFT_MM, weight=0.25)
    run = load_run("synthmorph-025")
    assert run.build().register(PAIR, Machine()).inverse is not None
    with pytest.raises(ToolError, match="-r must be"):
        SynthMorph(weight=0.75).register(PAIR, Machine())


# ----------------------------------------------------------------------------------------- failures

BREAKDOWNS = {
    "print('not enough stars'); "
    "sys.exit(7)": r"failed with exit status 7; its last lines: not enough stars\.$",
    "print('all is well')": r"ended well but wrote no .*; its last lines: all is well\.$",
    "os.kill(os.getpid(), "
    "signal.SIGKILL)": r"was killed by SIGKILL, as happens when memory runs out",
}
FIRST_PROGRAM = {"niftyreg": "reg_f3d", "deedsbcv": "deedsBCV", "synthmorph": "mri_synthmorph"}
ASKED = "if sys.argv[1:] in (['--version'], ['-h']):\n    sys.exit()\n"


class _Named:
    """A run in the form that the harness takes."""

    def __init__(self, name):
        self.name = self.method = self.title = name
        self.parameters = {}

    def build(self):
        return make_method(self.name, {})


@pytest.mark.parametrize(("body", "sentence"), BREAKDOWNS.items())
@pytest.mark.parametrize("name", STAND_INS)
def test_a_broken_program_is_a_failed_pair_with_the_programs_last_lines(
    name, body, sentence, bin_folder, tmp_path, capfd
):
    STAND_INS[name](bin_folder)
    standins.stand_in(bin_folder, FIRST_PROGRAM[name], ASKED + body)
    task = Task(FIXED, MOVING, MOVING, Affine())
    assert not register_to_folder(_Named(name), task, Machine(), tmp_path / "unit", {})
    receipt = read_receipt(tmp_path / "unit" / "receipt.json")
    assert receipt["status"] == "failed"
    assert receipt["reason"].startswith(FIRST_PROGRAM[name])
    assert re.search(sentence, receipt["reason"])
    assert "the command and the last lines it printed:" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "unit").iterdir()] == ["receipt.json"]


@pytest.mark.parametrize("name", STAND_INS)
def test_a_program_that_hangs_is_a_failed_pair_at_the_time_limit(name, bin_folder, tmp_path):
    STAND_INS[name](bin_folder)
    started = tmp_path / "started"
    hanging = f"open({str(started)!r}, 'w').close(); time.sleep(600)"
    standins.stand_in(bin_folder, FIRST_PROGRAM[name], ASKED + hanging)
    task = Task(FIXED, MOVING, MOVING, Affine())
    for limit_s in LIMITS_S:
        assert not register_to_folder(
            _Named(name), task, Machine(), tmp_path / "unit", {}, limit_s / 60
        )
        if started.exists():
            break
    assert started.exists()
    assert (
        "longer than its time limit" in read_receipt(tmp_path / "unit" / "receipt.json")["reason"]
    )


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("niftyreg", lambda folder: standins.niftyreg(folder, [np.nan] * 3)),
        (
            "deedsbcv",
            lambda folder: standins.deedsbcv(folder, "1.0", "nan if i == 2 else 0.0", "1.0"),
        ),
        ("synthmorph", lambda folder: standins.synthmorph(folder, [np.nan] * 3)),
    ],
)
def test_displacements_that_are_not_finite_are_refused(name, spoil, bin_folder):
    spoil(bin_folder)
    with pytest.raises(
        RegistrationError,
        match=r"wrote an unusable .*NaN|displacements that are not finite",
    ):
        make_method(name, {}).register(PAIR, Machine())


def test_a_version_out_of_range_is_refused_before_any_work(bin_folder):
    standins.stand_in(bin_folder, "reg_f3d", "print('1.3.9')")
    standins.stand_in(bin_folder, "reg_transform", "print('1.3.9')")
    with pytest.raises(
        InputError,
        match=r"^NiftyReg cannot run: .* has version 1\.3\.9, but it must be at least 1\.5",
    ):
        NiftyReg().register(PAIR, Machine())


def test_a_file_of_displacements_of_another_size_is_refused(tmp_path):
    path = tmp_path / "out_displacements.dat"
    np.zeros(3 * 7 * 9 * 7 - 1, "<f4").tofile(path)
    with pytest.raises(
        ToolError, match=r"wrote 1322 values .* three for each of 7 x 9 x 7 control points were due"
    ):
        read_control_points(path, (31, 37, 29), 4)


def test_an_image_too_small_for_deedsbcv_says_the_minimum():
    grid = Grid((11, 30, 30), np.eye(4))
    image = Image(np.random.default_rng(0).random(grid.shape) + 0.1, grid)
    pair = Pair(image, image, foreground(image), foreground(image))
    with pytest.raises(
        RegistrationError, match=r"grid_spacing of 6 needs at least 12 voxels .*\(11, 30, 30\)"
    ):
        DeedsBCV().register(pair, Machine())


def test_deedsbcv_runs_at_its_smallest_size():
    real_or_skip("deedsbcv")
    grid = Grid((12, 12, 12), np.eye(4))
    image = Image(np.random.default_rng(0).random(grid.shape) + 0.1, grid)
    found = DeedsBCV().register(Pair(image, image, foreground(image), foreground(image)), Machine())
    assert np.abs(found.forward.displacement_mm).max() < 0.5


def test_one_control_point_per_axis_moves_everything_alike():
    assert np.unique(dense(np.full((3, 1, 1, 1), 2.0), (4, 5, 6))) == [2.0]


@pytest.mark.parametrize(
    ("name", "parameters", "word"),
    [
        ("niftyreg", {"spacing_mm": 0}, "spacing_mm"),
        ("niftyreg", {"levels": 0}, "levels"),
        ("deedsbcv", {"grid_spacing": [8, 7, 6, 5]}, "give 5 to 10 whole numbers"),
        ("deedsbcv", {"quantisation": [5, 4, 3, 2, 0]}, "quantisation"),
        ("deedsbcv", {"search_radius": [6, 5, 4, 3, 2, 1]}, "has 6 levels and grid_spacing has 5"),
        ("deedsbcv", {"grid_spacing": [8.5, 7, 6, 5, 4]}, "grid_spacing"),
        ("synthmorph", {"weight": 1}, "weight"),
        ("synthmorph", {"extent": 200}, "192 or 256"),
    ],
)
def test_hyper_parameters_are_checked(name, parameters, word):
    with pytest.raises(InputError, match=word):
        make_method(name, parameters)


@pytest.mark.parametrize("name", STAND_INS)
def test_the_environment_that_brings_the_program_is_there_and_names_it(name):
    needs = type(make_method(name, {})).needs
    readme = (REPOSITORY / "envs" / "README.md").read_text(encoding="utf-8")
    assert (REPOSITORY / "envs" / f"{needs.environment}.yaml").is_file()
    assert f"`{needs.environment}.yaml`" in readme
    for executable in needs.executables:
        assert executable in all_tools()
        assert f"`{executable}`" in readme
