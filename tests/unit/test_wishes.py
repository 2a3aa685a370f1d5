"""What users of other tools ask for: each such question of docs/faq.md is answered by tests, which
``wishes.tsv`` names.
"""

import ast
import csv
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

import diffeode as de
from diffeode.cli import main
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid

REPOSITORY = Path(__file__).parents[2]
NOT_WISHES = {"Do I need a GPU?", "Something looks wrong. What do I look at first?"}


def wishes() -> dict[str, list[str]]:
    """Return the tests of each question."""
    text = (REPOSITORY / "tests" / "wishes.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["question"]: row["tests"].split() for row in rows}


def test_every_wish_is_a_question_of_the_page_and_has_tests_of_its_own():
    page = (REPOSITORY / "docs" / "faq.md").read_text(encoding="utf-8").splitlines()
    asked = {line.removeprefix("### ") for line in page if line.startswith("### ")}
    assert wishes().keys() == asked - NOT_WISHES
    assert len(wishes()) == 15
    named = [test for tests in wishes().values() for test in tests]
    assert all(wishes().values())
    assert len(set(named)) == len(named)
    for test in named:
        file, _, name = test.partition("::")
        tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


# --------------------------------------------------- which way, on which grid, the same every time

SPOT_MM, SHIFT_MM = np.array([6.0, -9, 4]), np.array([14.0, -11, 8])


def oblique(shape, spacing, angles) -> Grid:
    """Return a grid about the origin whose axes are turned by ``angles``, degrees."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


FIXED = oblique((29, 26, 20), (2.4, 2.7, 3.5), (17, -23, 31))
MOVING = oblique((24, 30, 33), (3.1, 2.6, 2.3), (-8, 12, 5))
MOVING = Grid(MOVING.shape, MOVING.affine + np.outer([*SHIFT_MM, 0], [0, 0, 0, 1]))


def anatomy(points_mm):
    """Return a ball about the origin, with waves and one bright spot in it."""
    inside = np.linalg.norm(points_mm / (25, 27, 24), axis=-1) < 1
    waves = 300 + 40 * np.sin(points_mm / 7).sum(axis=-1)
    spot = 900 * np.exp(-(((points_mm - SPOT_MM) / 4) ** 2).sum(axis=-1))
    return np.where(inside, waves + spot, 0).astype(np.float32)


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> list[Path]:
    """Two folders of results that the same command wrote in two processes.

    The moving scan shows the anatomy of the fixed one, moved by SHIFT_MM, on another grid; its
    labels change from voxel to voxel, so that a second resampling would spoil them.
    """
    here = tmp_path_factory.mktemp("twice")
    io.write_image(here / "fixed.nii.gz", Image(anatomy(FIXED.points_mm()), FIXED))
    io.write_image(here / "moving.nii.gz", Image(anatomy(MOVING.points_mm() - SHIFT_MM), MOVING))
    ids = np.random.default_rng(3).integers(1, 4, MOVING.shape)
    io.write_labels(here / "labels.nii.gz", Labels(ids, MOVING))
    line = [sys.executable, "-m", "diffeode", "register", "fixed.nii.gz", "moving.nii.gz"]
    line += ["--labels", "labels.nii.gz", "--init", "centre", "--threads", "1"]
    line += ["--set", "levels.factors=[2]", "--set", "levels.iterations=[4]"]
    outs = [here / name for name in ("first", "second")]
    for out, before in zip(outs, ("1", "2"), strict=True):
        environment = {**os.environ, "OMP_NUM_THREADS": before, "PYTHONHASHSEED": before}
        subprocess.run([*line, "-o", out], cwd=here, env=environment, check=True)
    return outs


def test_a_place_goes_from_fixed_to_moving_and_an_image_comes_back(twice, tmp_path):
    """The two scans alone say where a spot lies; exchanged maps would send it the other way."""
    (out, _), moving_mm = twice, SPOT_MM + SHIFT_MM
    for transform, start, end in (
        ("warp.nii.gz", SPOT_MM, moving_mm),
        ("inverse_warp.nii.gz", moving_mm, SPOT_MM),
    ):
        pd.DataFrame([start], columns=["x", "y", "z"]).to_csv(tmp_path / "p.csv", index=False)
        line = ["points", str(out / transform), str(tmp_path / "p.csv"), "--overwrite"]
        assert main([*line, "-o", str(tmp_path / "q.csv")]) == 0
        found = pd.read_csv(tmp_path / "q.csv")[["x", "y", "z"]].to_numpy()[0]
        np.testing.assert_allclose(found, end, atol=1)
    warped = io.read_image(out / "warped.nii.gz")
    brightest = np.unravel_index(warped.data.argmax(), warped.data.shape)
    assert np.linalg.norm(FIXED.to_world(np.array(brightest)) - SPOT_MM) < 3.5


def test_maps_lie_on_the_scans_own_grids_and_labels_are_resampled_once(twice):
    """The method works on voxels twice as large; SimpleITK resamples the labels from the files."""
    out, _ = twice
    for name, grid in (("warp", FIXED), ("inverse_warp", MOVING)):
        field = nib.load(out / f"{name}.nii.gz")
        assert field.shape == (*grid.shape, 1, 3)
        np.testing.assert_allclose(field.affine, grid.affine, atol=1e-4)
    field = sitk.ReadImage(str(out / "warp.nii.gz"), sitk.sitkVectorFloat64)
    labels, fixed = (
        sitk.ReadImage(str(out.parent / f"{name}.nii.gz")) for name in ("labels", "fixed")
    )
    once = sitk.Resample(
        labels, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkNearestNeighbor, 0
    )
    ours = io.read_labels(out / "warped_labels.nii.gz")
    assert ours.grid.matches(FIXED)
    assert set(np.unique(ours.data)) == {0, 1, 2, 3}
    assert (ours.data == sitk.GetArrayFromImage(once).transpose(2, 1, 0)).mean() > 0.999


def test_the_command_writes_the_same_bytes_in_every_process(twice):
    first, second = twice
    names = {path.name for path in first.iterdir()} - {"metrics.json"}
    assert {"warp.nii.gz", "inverse_warp.nii.gz", "warped.nii.gz", "affine.txt"} < names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


# ------------------------------------------------------------------------------------------ the map


def test_trusting_the_headers_finds_the_deformation_and_nothing_else():
    """The moving scan is moved, turned, grown and bent, and no part of that is taken as affine."""
    grid = Grid((30, 30, 28), np.diag([2.0, 2, 2, 1]) - np.outer([1, 1, 1, 0], [0, 0, 0, 28]))
    turn = Rotation.from_euler("z", 4, degrees=True).as_matrix() * 1.04

    def to_fixed(points_mm):
        return points_mm @ turn.T + 1.2 * np.sin(points_mm / 8)[..., [1, 2, 0]] + [1.5, -1, 1]

    points = grid.points_mm()
    fixed, moving = (de.Image(anatomy(places), grid) for places in (points, to_fixed(points)))
    found = de.register(
        fixed,
        moving,
        init="identity",
        settings={"levels.factors": [2.0, 1.0], "levels.iterations": [30, 15]},
        threads=1,
    )
    np.testing.assert_array_equal(found.affine.matrix, np.eye(4))
    inner = points[np.linalg.norm(points, axis=-1) < 20]
    before, after = (
        np.linalg.norm(to_fixed(places) - inner, axis=-1).mean()
        for places in (inner, found.transform.map(inner))
    )
    assert after < 0.5 * before, (before, after)


def test_a_larger_weight_of_the_gradient_calms_the_map():
    """Two unlike textures pull hard; how far they bend the map falls with the weight."""
    grid = Grid((20, 20, 20), np.diag([2.0, 2, 2, 1]))
    points = grid.points_mm()
    fixed, moving = (
        de.Image(100 + 20 * np.sin(points / wave).sum(axis=-1) + points[..., 0], grid)
        for wave in (4.0, 5.0)
    )
    spreads = []
    for weight in (0.1, 0.35, 1.0, 5.0):
        settings = {"levels.factors": [1.0], "levels.iterations": [20]}
        settings["penalties.gradient.weight"] = weight
        found = de.register(
            fixed,
            moving,
            method="node-mind",
            init="identity",
            fixed_mask="none",
            moving_mask="none",
            settings=settings,
            threads=1,
        )
        spreads.append(found.metrics["sdlogj"])
    assert (np.diff(spreads) < 0).all(), spreads
    assert spreads[-1] < spreads[0] / 3


# ----------------------------------------------------------------------------------- what it takes


def costs(size: int, factor: float) -> tuple[float, float]:
    """Return the peak memory, MB, and the CPU seconds of a registration of ``size``^3 voxels whose
    last level has voxels ``factor`` times as large.
    """
    grid = Grid((size,) * 3, np.diag([2.0, 2, 2, 1]))
    points = grid.points_mm()
    fixed, moving = (
        de.Image(100 + 20 * np.sin(points / wave).sum(axis=-1) + points[..., 0], grid)
        for wave in (14.0, 15.0)
    )
    found = de.register(
        fixed,
        moving,
        init="identity",
        fixed_mask="none",
        moving_mask="none",
        settings={"levels.factors": [factor], "levels.iterations": [2]},
        threads=1,
    ).metrics
    return found["peak_memory_mb"], found["cpu_seconds"]


@pytest.mark.slow
def test_memory_grows_with_the_voxels_and_a_coarser_last_level_takes_less():
    """Each registration has a process of its own, since memory that was freed is not given back."""
    sizes = (16, 56, 72)
    context = get_context("forkserver")
    context.set_forkserver_preload(["diffeode.desk.library", "diffeode.methods.neural_ode"])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as processes:
        fine = [processes.submit(costs, size, 1.0).result() for size in sizes]
        coarse = processes.submit(costs, sizes[-1], 2.0).result()
    memory, voxels = np.array([mb for mb, _ in fine]), np.array(sizes) ** 3 / 1e6
    assert (np.diff(memory) > 0).all()
    first, second = np.diff(memory) / np.diff(voxels)
    assert 0.5 < second / first < 2, memory
    assert coarse[0] - memory[0] < 0.6 * (memory[-1] - memory[0]), (coarse, memory)
    assert all(seconds > 0 for _, seconds in (*fine, coarse))
