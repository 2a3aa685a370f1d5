"""The quick alignment of large images: known maps, masks, what is left to ANTs, and its record."""

import json

import numpy as np
import pytest
from phantoms import template_brain

from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import register_images, write_registered
from diffeode.evaluation.anatomy import centre_mm, placed, stretch
from diffeode.geometry.image import Image
from diffeode.geometry.transform import Affine, warp_image
from diffeode.prepare import quick_affine
from diffeode.prepare.quick_affine import quick_alignment
from diffeode.prepare.search import searched_affine
from diffeode.prepare.side import prepared_side
from diffeode.prepare.together import Side
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run

TURN = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
TRUTHS = {
    "rigid": TURN,
    "similarity": 1.08 * TURN,
    "affine": np.array([[1.05, 0.06, 0], [-0.05, 0.97, 0.04], [0.01, -0.05, 1.02]]),
}
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def brain() -> Image:
    return template_brain()


@pytest.fixture
def as_large(monkeypatch):
    """Let every volume count as large, and take fewer voxels, so that tests are quick."""
    monkeypatch.setattr(quick_affine, "LARGE_VOXELS", 0)
    monkeypatch.setattr(quick_affine, "_VOXELS", 30_000)


def moved(brain: Image, linear: np.ndarray) -> tuple[Image, Affine]:
    """Return the brain in another contrast, moved, and the map from it to ``brain``."""
    centre = centre_mm(brain)
    truth = placed(linear, centre, centre + np.array([5, -4, 6]))
    inverted = Image(np.where(brain.data > 0.1, 1.2 - brain.data, 0), brain.grid)
    return warp_image(inverted, truth, brain.grid), truth


def distances_mm(one: Affine, other: Affine, image: Image) -> np.ndarray:
    points = image.grid.to_world(np.argwhere(image.data > 0))
    return np.linalg.norm(one(points) - other(points), axis=-1)


@pytest.mark.parametrize("kind", TRUTHS)
def test_a_known_map_between_two_contrasts_is_found(brain, as_large, kind):
    fixed, truth = moved(brain, TRUTHS[kind])
    found = quick_alignment(kind, Side(fixed), Side(brain))
    assert distances_mm(found, truth, fixed).max() < 1.5  # voxels of 4 mm
    linear = found.matrix[:3, :3]
    if kind == "rigid":
        np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-6)
    if kind == "similarity":
        assert stretch(found) == pytest.approx(1, abs=1e-6)


def test_small_volumes_are_left_to_ants(brain, monkeypatch):
    assert quick_alignment("affine", Side(brain), Side(brain)) is None
    part = brain.cropped((slice(2, 30), slice(2, 38), slice(2, 32)))
    monkeypatch.setattr(quick_affine, "LARGE_VOXELS", part.data.size)
    assert quick_alignment("affine", Side(brain), Side(part)) is None
    assert quick_alignment("affine", Side(part), Side(brain)) is None


def test_a_map_that_does_not_lay_anatomy_on_anatomy_is_none(brain, as_large):
    fixed, _ = moved(brain, QUARTER)
    assert quick_alignment("affine", Side(fixed), Side(brain)) is None


def test_what_a_mask_leaves_out_has_no_say(brain, as_large):
    fixed, truth = moved(brain, TRUTHS["affine"])
    lesion = np.zeros(fixed.grid.shape, dtype=bool)
    lesion[:20, 20:45] = True
    spoiled = Image(np.where(lesion & (fixed.data > 0), 1, fixed.data), fixed.grid)
    masked = quick_alignment("affine", Side(spoiled, ~lesion), Side(brain))
    assert distances_mm(masked, truth, fixed).mean() < 1.0
    there = warp_image(Image(lesion.astype(float), fixed.grid), truth.inverse(), brain.grid)
    of_moving = Image(np.where(there.data > 0.5, 1, 0) * brain.data, brain.grid)
    spoiled = Image(np.where(of_moving.data > 0, 1, brain.data), brain.grid)
    masked = quick_alignment("affine", Side(fixed), Side(spoiled, there.data < 0.01))
    assert distances_mm(masked, truth, fixed).mean() < 1.0


def test_masks_that_leave_nothing_find_no_map(brain, as_large):
    nothing = np.zeros(brain.grid.shape, dtype=bool)
    assert quick_alignment("affine", Side(brain, nothing), Side(brain)) is None


def test_it_repeats_itself_to_the_bit(brain, as_large):
    fixed, _ = moved(brain, TRUTHS["affine"])
    found = [quick_alignment("affine", Side(fixed), Side(brain)).matrix for _ in range(2)]
    np.testing.assert_array_equal(*found)


# --------------------------------------------------------------------------------------- at a desk


def registered(fixed: Image, moving: Image, folder) -> tuple[Affine, dict]:
    """Return the affine of a registration at a desk, and its record."""
    done = register_images(load_run("identity"), Inputs(fixed, moving), Machine(seed=3), "affine")
    write_registered(done, folder, {"init": "affine"})
    return done.task.moving_to_scan, json.loads((folder / "metrics.json").read_text())


def test_small_volumes_keep_the_affine_of_ants_to_the_bit(brain, tmp_path):
    fixed, _ = moved(brain, TRUTHS["affine"])
    found, record = registered(fixed, brain, tmp_path)
    images = [prepared_side(image, "a brain").image for image in (fixed, brain)]
    np.testing.assert_array_equal(found.matrix, searched_affine(*images, 1, 3).matrix)
    assert record["aligned_by"] == "ANTs"


def test_large_volumes_are_aligned_on_coarse_voxels_and_the_record_says_so(
    brain, as_large, tmp_path
):
    fixed, _ = moved(brain, TRUTHS["affine"])
    found, record = registered(fixed, brain, tmp_path)
    sides = [prepared_side(image, "a brain") for image in (fixed, brain)]
    np.testing.assert_array_equal(found.matrix, quick_alignment("affine", *sides).matrix)
    assert record["aligned_by"] == "ITK, on coarse voxels"
    assert "SimpleITK" in record["software"]
