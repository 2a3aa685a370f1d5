"""The wheel is complete: installed without the repository, it knows its runs and weights, and
registers.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bids_folders import write_visit

from diffeode.files.io import read_displacement, read_image, write_image
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.registration.runs import run_names

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
GRID = Grid(
    (12, 14, 13), np.array([[-4.0, 0, 0, 22], [0, 4, 0, -26], [0, 0, 4, -24], [0, 0, 0, 1]])
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, REPOSITORY)
    (built,) = folder.glob("diffeode-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel's content; the packages that it needs are those of this
    environment.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def diffeode(installed: Path, folder: Path, *arguments: str) -> str:
    """Return what the installed command prints when it is started in ``folder``."""
    return run(installed, folder, *arguments).stdout


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in ``folder``; it has to succeed."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, installed / "bin" / "diffeode", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_it_holds_the_package_its_types_and_nothing_of_the_repository(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "diffeode/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "diffeode",
        f"{wheel.name.rsplit('-', 3)[0]}.dist-info",
    }
    assert not [name for name in names if name.endswith((".nii.gz", ".mgz", ".pyc"))]


def test_it_knows_the_runs_and_the_weights_of_the_repository(installed, tmp_path):
    said = diffeode(installed, tmp_path, "methods")
    assert {line.split()[0] for line in said.splitlines() if line} >= set(run_names())
    names = {path.stem for path in (REPOSITORY / "config" / "weights").glob("*.yaml")}
    assert {
        line.split()[0] for line in diffeode(installed, tmp_path, "weights").splitlines()
    } >= names


def test_it_tells_what_a_study_elsewhere_needs_and_which_datasets_there_are(installed, tmp_path):
    demo = (REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(demo, encoding="utf-8")
    said = diffeode(installed, tmp_path, "needs", "mine.yaml")
    assert [line.split()[1] for line in said.splitlines() if line.startswith("dataset")]
    assert "missing" not in said
    names = {path.stem for path in (REPOSITORY / "config" / "datasets").glob("*.yaml")}
    lines = diffeode(installed, tmp_path, "datasets").splitlines()
    assert names <= {line.split()[0] for line in lines if line}


def test_it_registers_files_of_another_folder(installed, tmp_path):
    ball = np.linalg.norm(GRID.points_mm(), axis=-1) < 18
    values = np.where(ball, np.random.default_rng(0).uniform(0.2, 1, GRID.shape), 0)
    for name, data in (("fixed", values), ("moving", values**2)):
        write_image(tmp_path / f"{name}.nii.gz", Image(data, GRID))
    arguments = (
        "fixed.nii.gz",
        "moving.nii.gz",
        "-o",
        "out",
        "--method",
        "identity",
        "--init",
        "identity",
    )
    diffeode(installed, tmp_path, "register", *arguments)
    assert np.abs(read_displacement(tmp_path / "out" / "warp.nii.gz").displacement_mm).max() < 1e-6
    warped = read_image(tmp_path / "out" / "warped.nii.gz")
    np.testing.assert_allclose(
        warped.data / warped.data.max(), values**2 / (values**2).max(), atol=1e-3
    )


def test_it_plans_a_study_of_a_folder_by_the_workflow_that_it_holds(installed, tmp_path):
    write_visit(tmp_path / "scans", "01")
    line = ("study", "scans", "out", "--method", "greedy", "--dry-run")
    said = run(installed, tmp_path, *line).stdout
    assert "Ahead: alignments: 1, registrations: 2, evaluations: 2" in said
    assert not (tmp_path / "out").exists()
