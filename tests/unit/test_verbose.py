"""``--verbose`` tells what a user needs when something looks odd, and ``--quiet`` excludes it."""

import logging
import re
from importlib import metadata

import numpy as np
import pytest
from test_cli_options import APPLY, COMPOSE, CONVERT, EVALUATE, INVERT, JACOBIAN, POINTS, PREPARE
from test_cli_options import REGISTER as REGISTER_LINE

import diffeode
from diffeode.cli import main
from diffeode.cli.logs import ProgressLog
from diffeode.desk import log, overview, registration
from diffeode.desk.log import log_side, log_start
from diffeode.errors import RegistrationError
from diffeode.evaluation.anatomy import Fit
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.methods.identity import Identity
from diffeode.prepare.side import prepared_side
from diffeode.prepare.together import brought_together

GRID = Grid(
    (20, 22, 18), np.array([[-3.0, 0, 0, 30], [0, 2.5, 0, -27], [0, 0, 4, -34], [0, 0, 0, 1]])
)
VERBS = [REGISTER_LINE, APPLY, POINTS, INVERT, COMPOSE, JACOBIAN, EVALUATE, CONVERT, PREPARE]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A skull-stripped ball, a crop full of tissue on the same grid, and a mask of half of it."""
    folder = tmp_path_factory.mktemp("scans")
    points = GRID.points_mm()
    waves = 300 + 60 * np.sin(points / 7).sum(axis=-1)
    inside = np.linalg.norm(points / (24, 22, 26), axis=-1) < 1
    io.write_image(folder / "ball.nii.gz", Image(np.where(inside, waves, 0), GRID))
    io.write_image(folder / "tissue.nii.gz", Image(waves, GRID))
    half = np.zeros(GRID.shape, np.uint8)
    half[:10] = 1
    io.write_labels(folder / "half.nii.gz", Labels(half, GRID))
    return folder


@pytest.fixture
def register(scans, tmp_path, capsys, monkeypatch):
    """Return exit code and standard error of a registration of the two scans by the identity."""
    monkeypatch.setattr(registration, "_draw", lambda *given: None)

    def run(*extra, moving="tissue.nii.gz", start="identity"):
        line = ["register", str(scans / "ball.nii.gz"), str(scans / moving)]
        line += ["-o", str(tmp_path / "out"), "--method", "identity", "--threads", "1"]
        code = main([*line, "--seed", "7", "--init", start, *extra])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("line", VERBS, ids=lambda line: line[0])
def test_quiet_and_verbose_exclude_each_other(line, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*(word.format(out=tmp_path / "out") for word in line), "--quiet", "--verbose"])
    assert "-v/--verbose: not allowed with argument -q/--quiet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_log_tells_what_a_user_needs(register, scans, tmp_path):
    code, said = register("-v")
    assert code == 0
    for package in ("torch", "antspyx", "numpy", "SimpleITK"):
        assert re.search(rf"versions:.* {package} {re.escape(metadata.version(package))}", said)
    assert f"diffeode {diffeode.__version__}, " in said
    assert "settings: threads 1, device cpu, seed 7" in said
    assert re.search(r"command: diffeode register \S+ball\.nii\.gz ", said)
    assert "run identity, method identity" in said

    assert "ball.nii.gz: 20 x 22 x 18 voxels of 3 x 2.5 x 4 mm, axes LAS, values 0 to " in said
    share = 100 * (io.read_image(scans / "ball.nii.gz").data == 0).mean()
    assert f"ball.nii.gz: a skull-stripped brain; {share:.1f} % of the voxels" in said
    assert "tissue.nii.gz: no background was found; the field of view cuts off" in said

    for stage in ("starting", "reading", "preparing", "aligning", "registering", "writing"):
        assert re.search(rf"^diffeode: {stage} took \d+\.\d\d s$", said, re.M)
    took = float(re.search(r"the command took (\S+) s", said)[1])
    parts = re.findall(r"^diffeode: (?!the)[\w ]+ took (\S+) s$", said, re.M)
    assert 0 < sum(map(float, parts)) <= took + 0.1
    assert re.search(r"the method took \S+ s \(\S+ s of CPU\); peak memory \d+ MB", said)
    assert f"diffeode: wrote {tmp_path / 'out' / 'warp.nii.gz'}" in said


def test_the_log_tells_what_masks_let_count(scans, caplog):
    caplog.set_level(logging.INFO, "diffeode")
    image = io.read_image(scans / "tissue.nii.gz")
    half = io.read_labels(scans / "half.nii.gz").data > 0
    for mask in (half, "none"):
        log_side(image, "tissue", mask, prepared_side(image, "tissue", mask))
    assert caplog.messages[0].startswith("tissue: the mask lets 50.0 % of the voxels count")
    assert caplog.messages[1].startswith("tissue: nothing is background, as the mask 'none' says")


def test_the_log_tells_the_start_and_its_margin(register, scans, tmp_path):
    matrix = np.eye(4)
    matrix[:3] = [[1.2, 0, 0, 4], [0, 0, -1, 0], [0, 1, 0, 0]]
    io.write_itk_affine(tmp_path / "start.txt", Affine(matrix))
    code, said = register("-v", start=str(tmp_path / "start.txt"), moving="ball.nii.gz")
    assert code == 0
    found = re.search(
        r"start: given \(Affine\); it moves the centre of the fixed image by (\S+) mm, turns by "
        r"(\S+) degrees and multiplies volumes by 1\.200",
        said,
    )
    assert float(found[1]) == pytest.approx(4, abs=1.5)
    assert float(found[2]) == pytest.approx(90, abs=1)
    assert "margin" not in said, "no alignment was looked for"


def test_the_margin_of_an_alignment_is_told(scans, caplog):
    """A scan on itself matches far better than when it is turned."""
    caplog.set_level(logging.INFO, "diffeode")
    side = prepared_side(io.read_image(scans / "ball.nii.gz"), "ball")
    log_start("rigid", side, side, Affine(), brought_together(side, side, Affine()))
    margin = Fit.of(side.image, side.image).margin(Affine())
    assert margin > 1.6
    assert caplog.messages == [
        "start: rigid; it moves the centre of the fixed image by 0.0 mm, turns by 0.0 degrees and "
        "multiplies volumes by 1.000",
        f"start: the images match {margin:.2f} times as well as when one is turned (its margin)",
    ]


def test_energies_are_logged_at_the_ends_of_levels_and_every_tenth_iteration(caplog):
    caplog.set_level(logging.INFO, "diffeode")
    with ProgressLog() as log:
        log.begin("registering")
        for level, iterations in ((4, 23), (2, 1), (1, 10)):
            for number in range(1, iterations + 1):
                log(0.1, f"level {level}, energy {level}.{number:02d}")
    said = [line for line in caplog.messages if "iteration" in line]
    assert said == [
        f"registering: iteration {number}, level {level}, energy {level}.{number:02d}"
        for level, number in ((4, 1), (4, 10), (4, 20), (4, 23), (2, 1), (1, 1), (1, 10))
    ]


def failing(error):
    def register(self, pair, machine):
        raise error

    return register


@pytest.mark.parametrize("extra", [[], ["--time-limit", "5"]])
def test_an_unforeseen_error_is_whole_with_verbose_alone(register, monkeypatch, extra):
    monkeypatch.setattr(Identity, "register", failing(ValueError("odd\nlines")))
    code, said = register("-v", *extra)
    assert code == 1
    assert "Traceback (most recent call last)" in said
    assert "in register\n" in said
    assert "ValueError: odd\nlines" in said
    assert said.splitlines()[-2].endswith("could not register the pair: ValueError: odd")
    code, said = register(*extra)
    assert code == 1
    assert said.count("\n") == 1
    assert "ValueError: odd" in said
    assert extra or said.endswith("(--verbose shows the whole error)\n")


def test_a_foreseen_error_needs_no_hint(register, monkeypatch):
    monkeypatch.setattr(Identity, "register", failing(RegistrationError("the tissue vanished.")))
    assert register()[1].endswith("the tissue vanished.\n")


@pytest.mark.parametrize("extra", [[], ["-v"]])
def test_why_a_picture_is_missing_is_whole_with_verbose_alone(extra, capsys, caplog):
    caplog.set_level(logging.INFO if extra else logging.WARNING, "diffeode")
    with overview.worth_less_than_the_maps("overview.png"):
        raise ZeroDivisionError("no size")
    assert "no overview.png (ZeroDivisionError: no size)" in capsys.readouterr().err
    assert ("Traceback" in caplog.text) == bool(extra)


def test_without_verbose_nothing_is_computed_and_the_result_is_the_same(
    register, monkeypatch, tmp_path
):
    logger = logging.getLogger("diffeode")
    before = logger.level, list(logger.handlers)
    assert register("-v")[0] == 0
    assert (logger.level, list(logger.handlers)) == before, "the log ends with the command"
    with_log = (tmp_path / "out" / "warp.nii.gz").read_bytes()
    for name in ("_described", "_found", "centre_mm"):
        monkeypatch.setattr(log, name, lambda *given: pytest.fail("computed for no log"))
    code, said = register("--overwrite")
    assert code == 0
    assert not re.search("took|versions|wrote", said)
    assert (tmp_path / "out" / "warp.nii.gz").read_bytes() == with_log
