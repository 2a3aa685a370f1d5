"""The verdict on images of anything: brains of any size, whole heads, crops full of tissue, slices;
and its words, which name no anatomy.
"""

import re

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.datasets.virtual_anatomy import load_tissue_maps
from diffeode.evaluation import verdict
from diffeode.evaluation.anatomy import centre_mm, placed
from diffeode.evaluation.catalogue import METRICS
from diffeode.evaluation.verdict import signs_of, suspicious, turned_note
from diffeode.figures import page_scores
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, densify
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.scan import prepare_image

DISTANCE = "motion_distance"


def brain(voxel_mm: float) -> Image:
    """The template at 6 mm, with a header that says ``voxel_mm``."""
    template = load_tissue_maps()
    image, mask = resample_brain(
        Image(template.t1, template.grid), template.brain > 0, template.grid.resample(6.0)
    )
    prepared = prepare_image(image, "the template", mask)[0]
    return Image(prepared.data, Grid(prepared.grid.shape, np.diag([*[voxel_mm] * 3, 1.0])))


def texture(shape: tuple[int, ...], grain: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=shape), grain)
    return 0.05 + 0.95 * (noise - noise.min()) / np.ptp(noise)


def crop() -> Image:
    """Tissue up to every border."""
    return Image(texture((26, 28, 24), 2.0), Grid((26, 28, 24), np.eye(4)))


def head() -> Image:
    """A skull with a texture in it, on a neck that a face cuts off, in air."""
    grid = Grid((26, 30, 28), np.diag([8.0, 8.0, 8.0, 1.0]))
    x, y, z = np.moveaxis(grid.voxels() - [12.5, 15, 16], -1, 0)
    radius = np.sqrt((x / 10) ** 2 + (y / 12) ** 2 + (z / 10) ** 2)
    neck = (np.hypot(x, y + 2) < 6) & (z < 0)
    data = np.where(radius < 0.8, texture(grid.shape, 1.6), 0.9)
    return Image(np.where((radius < 1) | neck, data, 0), grid)


ANATOMIES = {
    "an adult's brain": lambda: brain(6.0),
    "a mouse's brain": lambda: brain(0.6),
    "a head": head,
    "a crop": crop,
}


@pytest.fixture(scope="module", params=ANATOMIES)
def image(request) -> Image:
    return ANATOMIES[request.param]()


def turned_about(image: Image, degrees: float, scale: float = 1.0) -> Affine:
    turn = Rotation.from_euler("xyz", (degrees, degrees / 4, 0), degrees=True).as_matrix()
    return placed(scale * turn, centre_mm(image), centre_mm(image))


def with_header(image: Image, change: Affine) -> Image:
    return Image(image.data, Grid(image.grid.shape, change.matrix @ image.grid.affine))


def signs_under(image: Image, moving: Image, whole: Affine) -> dict[str, float]:
    """The signs of a registration that started from the headers and found the map ``whole``."""
    back = densify(whole.inverse(), moving.grid)
    return signs_of(densify(whole, image.grid), back, image, moving, Affine())


# ------------------------------------------------------------------- a start that was too far away


def test_a_wrong_start_from_which_the_whole_way_was_found_is_not_suspect(image):
    """The moving image is the smaller one."""
    truth = turned_about(image, 35, 0.94)
    signs = signs_under(image, with_header(image, truth), truth)
    assert signs["anatomical_margin_before"] < verdict.CONVINCING
    assert signs[DISTANCE] < 0.03, "the search did not find the motion"
    assert not suspicious(signs)


def test_a_wrong_start_from_which_a_part_of_the_way_was_found_is_suspect(image):
    moving = with_header(image, turned_about(image, 35))
    signs = signs_under(image, moving, turned_about(image, 10))
    assert "started too far away" in suspicious(signs)[DISTANCE]


def test_no_motion_is_looked_for_where_the_start_was_right(image, monkeypatch):
    def searching(*arguments):
        raise AssertionError("a good start was searched, which takes a third of a second")

    monkeypatch.setattr(verdict, "best_motion", searching)
    signs = signs_under(image, image, Affine())
    assert np.isnan(signs[DISTANCE])
    assert not suspicious(signs)


# ----------------------------------------------------------------------------- two images unlike


def shuffled(image: Image) -> Image:
    """The image with pieces of it in another order."""
    data, (x, y) = image.data.copy(), (n // 2 for n in image.grid.shape[:2])
    pieces = [(slice(a, a + x), slice(b, b + y)) for a in (0, x) for b in (0, y)]
    for here, there in zip(pieces, pieces[2:] + pieces[:2], strict=True):
        data[here] = image.data[there][..., ::-1]
    return Image(data, image.grid)


def noise(image: Image) -> Image:
    other = ndimage.gaussian_filter(np.random.default_rng(8).normal(size=image.data.shape), 1.5)
    scaled = 0.1 + 0.9 * (other - other.min()) / np.ptp(other)
    return Image(np.where(image.data > 0, scaled, 0), image.grid)


@pytest.mark.parametrize("other", [shuffled, noise])
def test_images_that_have_nothing_in_common_are_suspect(image, other):
    signs = signs_under(image, other(image), Affine())
    assert "anatomical_margin" in suspicious(signs)


def test_a_crop_full_of_tissue_must_match_by_a_wider_margin():
    signs = signs_under(crop(), crop(), Affine())
    assert signs["faces_percent"] == 100
    between = (verdict.LEAST_MARGIN + verdict.LEAST_MARGIN_OF_CROPS) / 2
    assert "anatomical_margin" in suspicious({**signs, "anatomical_margin": between})
    for shown in (0.0, 30.0, float("nan")):
        with_background = {**signs, "anatomical_margin": between, "faces_percent": shown}
        assert not suspicious(with_background)


def test_a_crop_full_of_tissue_must_match_whatever_the_margin():
    signs = signs_under(crop(), crop(), Affine())
    little = 0.8 * verdict.LEAST_MATCH_OF_CROPS
    chance = {**signs, "anatomical_match": little, "anatomical_match_before": 0.1 * little}
    assert suspicious(chance) == {"anatomical_match": "the two images hardly match"}
    assert not suspicious({**chance, "faces_percent": 10.0})


def test_the_page_praises_no_overlap_of_two_crops():
    signs = signs_under(crop(), crop(), Affine())
    overlap, *others = page_scores.signs_of(signs)
    assert (overlap.value, overlap.mark) == ("1", page_scores.OPEN)
    assert page_scores.GOOD in [score.mark for score in others]
    assert page_scores.signs_of({**signs, "faces_percent": 10.0})[0].mark == page_scores.GOOD


@pytest.mark.parametrize("emptier", ["fixed", "moving"])
def test_both_images_must_be_full_to_count_as_crops(emptier):
    whole = crop()
    ball = np.linalg.norm(whole.grid.voxels() - [12.5, 13.5, 11.5], axis=-1) < 11
    inside = Image(np.where(ball, whole.data, 0), whole.grid)
    pair = (inside, whole) if emptier == "fixed" else (whole, inside)
    assert signs_under(*pair, Affine())["faces_percent"] == 0


def test_half_of_the_faces_of_an_image_that_is_half_filled_show_something():
    whole = crop()
    half = Image(np.where(np.indices(whole.grid.shape)[0] < 13, whole.data, 0), whole.grid)
    assert verdict._faces_percent(half) == pytest.approx(50)


# -------------------------------------------------------------------------------------------- words

ANATOMICAL = re.compile(r"brain|\bheads?\b|skull|scan", re.IGNORECASE)


def test_no_reason_names_an_anatomy():
    bad = dict.fromkeys(signs_under(crop(), crop(), Affine()), 9.0)
    bad |= {"overlap": 0.1, "anatomical_margin": 0.1, "anatomical_match": 0.1, "faces_percent": 0}
    reasons = suspicious(bad)
    assert len(reasons) == 8
    sentence = verdict.judge(bad).sentence
    assert all(reason in sentence for reason in reasons.values())
    assert not ANATOMICAL.search(sentence)
    assert not ANATOMICAL.search(turned_note(turned_about(crop(), 90)))


def test_no_row_of_the_page_takes_an_image_for_a_brain():
    signs = signs_under(crop(), crop(), Affine())
    shown = page_scores.signs_of(signs)
    assert len(shown) == len(signs) - 1  # the margin before is not shown
    metrics = dict.fromkeys(page_scores.names_of_scores(), 0.5)
    for score in (*shown, *page_scores.scores_of(metrics, 1.0)):
        said = f"{score.title} {score.value} {score.good}"
        assert "brain" not in said.replace("Good registrations of brains lie below 0.65", ""), said


def test_no_unit_of_a_metric_takes_an_image_for_a_brain():
    assert not [m.name for m in METRICS.values() if "brain" in m.heading]


def test_a_record_from_before_the_overlap_was_renamed_is_shown():
    """The page of a folder that an earlier version wrote is made again without that number."""
    former = {"brain_overlap": 0.95, "anatomical_match": 0.2, "anatomical_margin": 2.0}
    assert [score.mark for score in page_scores.signs_of(former)] == [
        page_scores.GOOD,
        page_scores.LOOK,
    ]
