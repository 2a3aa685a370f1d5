"""A registration that moved nothing although its two images differ is suspect; one that had nothing
to move is not.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage
from test_verdict import GOOD

from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import register_images
from diffeode.evaluation import stillness
from diffeode.evaluation.stillness import signs_of_stillness, suspicious_stillness, with_stillness
from diffeode.evaluation.verdict import judge
from diffeode.figures.page_scores import GOOD as MARKED_GOOD
from diffeode.figures.page_scores import LOOK, OPEN, signs_of
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify, warp_image
from diffeode.provenance.receipt import read_receipt, require_intact, write_receipt
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, recorded
from diffeode.registration.runs import load_run
from diffeode.registration.stillness import judged_stillness, note_stillness
from diffeode.units.registration import RegistrationUnit

GRID = Grid((30, 28, 26), np.diag([-2.0, 2.0, 2.0, 1.0]))
SLICE = Grid((40, 36, 1), np.diag([2.0, 2.0, 5.0, 1.0]))
MOVED, GAIN = "largest_displacement_voxels", "gain_by_a_voxel"


def brain(seed: int, grid: Grid = GRID) -> Image:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=grid.shape), 1.5)
    ball = np.linalg.norm(grid.points_mm() - grid.centre_mm, axis=-1) < 21
    return Image(np.where(ball, 0.05 + 0.95 * (noise - noise.min()) / np.ptp(noise), 0), grid)


def waved(image: Image, mm: float) -> Image:
    """The image, moved by up to ``mm`` in waves."""
    wave = mm * np.sin(image.grid.points_mm() / 8)[..., [1, 2, 0]]
    return warp_image(image, DisplacementField(wave.astype(np.float32), image.grid), image.grid)


def with_noise(image: Image) -> Image:
    noise = np.random.default_rng(9).normal(0, 0.05, image.data.shape)
    return Image(np.where(image.data > 0, np.clip(image.data + noise, 0.001, 1), 0), image.grid)


def inverted(image: Image) -> Image:
    return Image(np.where(image.data > 0, 1.05 - image.data, 0), image.grid)


def field(mm: float, grid: Grid = GRID) -> DisplacementField:
    """A map that moves one voxel in the middle by ``mm``."""
    values = np.zeros((*grid.shape, 3), dtype=np.float32)
    values[tuple(n // 2 for n in grid.shape)] = [0, mm, 0]
    return DisplacementField(values, grid)


DIFFERENT = {
    "two persons": lambda: (brain(0), brain(1)),
    "a person and the same one, bent": lambda: (brain(0), waved(brain(0), 2.0)),
    "two slices": lambda: (brain(0, SLICE), brain(1, SLICE)),
    "a bent one in another contrast": lambda: (brain(0), inverted(waved(brain(0), 2.0))),
}
ALIKE = {
    "one image": lambda: (brain(0), brain(0)),
    "one image in another contrast": lambda: (brain(0), inverted(brain(0))),
    "one image with noise": lambda: (brain(0), with_noise(brain(0))),
    "one slice": lambda: (brain(0, SLICE), brain(0, SLICE)),
}


@pytest.mark.parametrize("pair", DIFFERENT)
def test_a_map_that_moves_nothing_between_different_images_is_suspect(pair):
    fixed, moving = DIFFERENT[pair]()
    side = fixed.grid.spacing[0]
    signs = signs_of_stillness(field(0.03 * side, fixed.grid), Affine(), fixed, moving)
    assert signs[MOVED] == pytest.approx(0.03, rel=1e-4)
    assert signs[GAIN] > stillness.LEAST_GAIN
    verdict = with_stillness(judge(GOOD), signs)
    assert verdict.suspect
    assert "moved no point of the foreground by more than 0.03 of a voxel" in verdict.sentence
    assert verdict.signs.items() >= GOOD.items() - {("motion_distance", GOOD["motion_distance"])}


@pytest.mark.parametrize("pair", ALIKE)
def test_the_identity_between_images_that_are_alike_is_right(pair):
    fixed, moving = ALIKE[pair]()
    signs = signs_of_stillness(field(0, fixed.grid), Affine(), fixed, moving)
    assert signs[MOVED] == 0
    assert signs[GAIN] < stillness.LEAST_GAIN / 2
    assert with_stillness(judge(GOOD), signs).reasons == ()


def test_equal_images_gain_nothing_at_all():
    signs = signs_of_stillness(field(0), Affine(), brain(0), brain(0))
    assert signs[GAIN] == pytest.approx(0, abs=1e-5)


def test_a_map_that_moves_one_point_of_the_foreground_is_not_suspect():
    fixed, moving = brain(0), brain(1)
    signs = signs_of_stillness(field(2.0 * 0.06), Affine(), fixed, moving)
    assert signs[MOVED] == pytest.approx(0.06, rel=1e-4)
    assert np.isnan(signs[GAIN])
    assert not suspicious_stillness(signs)


def test_only_the_foreground_that_counts_is_asked():
    fixed, moving = brain(0), brain(1)
    outside = np.zeros((*GRID.shape, 3), dtype=np.float32)
    outside[0, 0, 0] = 50
    signs = signs_of_stillness(DisplacementField(outside, GRID), Affine(), fixed, moving)
    assert signs[MOVED] == 0
    counts = np.ones(GRID.shape, dtype=bool)
    counts[tuple(n // 2 for n in GRID.shape)] = False
    assert signs_of_stillness(field(9), Affine(), fixed, moving, counts)[MOVED] == 0


def test_what_the_alignment_moved_does_not_count():
    """The map is whole; the method bent nothing on top of the alignment."""
    affine = Affine([[1.1, 0.1, 0, 7], [-0.1, 0.9, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]])
    signs = signs_of_stillness(densify(affine, GRID), affine, brain(0), brain(1))
    assert signs[MOVED] < 1e-5
    assert suspicious_stillness(signs)


def test_no_reason_that_was_there_is_lost():
    worse = judge({**GOOD, "sdlogj": 2.0})
    signs = signs_of_stillness(field(0), Affine(), brain(0), brain(1))
    assert with_stillness(worse, signs).reasons[:1] == worse.reasons
    assert len(with_stillness(worse, signs).reasons) == 2


@pytest.mark.parametrize("method", ["identity", "affine"])
def test_a_method_that_bends_nothing_is_not_asked(method):
    images = brain(0), brain(1), brain(1)
    verdict = judge(GOOD)
    assert judged_stillness(verdict, method, field(0), Affine(), Task(*images, Affine())) is verdict


# ------------------------------------------------------------------------------- where it is told


def unit(folder, signs, warp: DisplacementField | None) -> RegistrationUnit:
    found = RegistrationUnit(folder)
    if warp is not None:
        io.write_displacement(found.warp_file, warp)
    found.trace_file.write_text("iteration\n", encoding="utf-8")
    names = [file.name for file in (found.warp_file, found.trace_file) if file.is_file()]
    about = {"status": "done", "method": "neural-ode", "seconds": 3.0}
    write_receipt(folder, names, {**about, **recorded(judge(signs))})
    return found


def test_the_receipt_of_a_study_s_registration_tells_it(tmp_path):
    found = unit(tmp_path, {**GOOD, "displacement_share": 0.0}, field(0))
    note_stillness(tmp_path, Task(brain(0), brain(1), brain(1), Affine()))
    receipt = require_intact(found.receipt)
    assert receipt["suspect"]
    assert receipt["verdict"].startswith("This registration is suspect: the method moved no point")
    assert receipt["signs"][MOVED] == 0
    assert (receipt["seconds"], receipt["status"]) == (3.0, "done")
    assert receipt["signs"]["overlap"] == GOOD["overlap"]


def test_the_receipt_of_a_registration_of_equal_images_stays_as_it_is(tmp_path):
    found = unit(tmp_path, {**GOOD, "displacement_share": 0.0}, field(0))
    before = found.receipt.read_bytes()
    note_stillness(tmp_path, Task(brain(0), brain(0), brain(0), Affine()))
    assert found.receipt.read_bytes() == before


def test_no_map_is_read_of_a_registration_that_moved_something(tmp_path):
    found = unit(tmp_path, {**GOOD, "displacement_share": 0.01}, None)
    note_stillness(tmp_path, Task(brain(0), brain(1), brain(1), Affine()))
    assert not read_receipt(found.receipt)["suspect"]


SETTINGS = {"levels.factors": [2.0], "levels.iterations": [8]}


@pytest.mark.parametrize(
    ("settings", "pair", "suspect"),
    [
        ({"descent.learning_rate": 1e-6}, "a person and the same one, bent", True),
        ({}, "a person and the same one, bent", False),
        ({"descent.learning_rate": 1e-6}, "one image", False),
    ],
    ids=["nothing can move", "voxels move", "nothing has to move"],
)
def test_settings_that_cannot_move_a_voxel_are_told(settings, pair, suspect):
    """Before, the whole verdict on such a registration was good."""
    run = load_run("node").changed({**SETTINGS, **settings})
    fixed, moving = {**DIFFERENT, **ALIKE}[pair]()
    inputs = Inputs(fixed, moving, "fixed", "moving")
    result = register_images(run, inputs, Machine(1, 0), "identity").result
    told = "moved no point of the foreground" in result.verdict.sentence
    assert told == suspect, result.verdict
    assert recorded(result.verdict)["signs"][MOVED] >= 0


def test_the_page_shows_the_numbers_behind_it():
    still = {**GOOD, MOVED: 0.01, GAIN: 0.3}
    numbers = {name: None if np.isnan(value) else value for name, value in still.items()}
    rows = {row.title: row for row in signs_of(json.loads(json.dumps(numbers)))}
    moved = next(row for title, row in rows.items() if title.startswith("largest displacement"))
    assert (moved.mark, moved.good) == (LOOK, "below 0.05 where the two images differ")
    numbers[MOVED] = 3.0
    assert next(row for row in signs_of(numbers) if row.title == moved.title).mark == MARKED_GOOD
    assert all(row.mark == OPEN for row in signs_of(numbers) if row.good == "")
