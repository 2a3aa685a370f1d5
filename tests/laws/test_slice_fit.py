"""How well a map lays one slice on another, and slices on coarser grids: every answer here is known
without the code.
"""

import numpy as np
import pytest
from test_slices import CORONAL, PICTURE, tissue

from diffeode.evaluation import slice_fit
from diffeode.evaluation.slice_fit import CoarseSlice, SliceFit, diagonal_mm
from diffeode.geometry.image import Image
from diffeode.geometry.plane import plane_frame, thickened, thickened_field
from diffeode.geometry.resample import coarser_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField

WIDE = Grid((84, 50, 1), np.diag([1.0, 2.0, 3.0, 1.0]))
INSIDE = (slice(6, -6), slice(6, -6))


def ramp(grid):
    """A slice whose intensity is linear in its plane coordinates."""
    a, b, _ = np.moveaxis(plane_frame(grid).inverse()(grid.points_mm()), -1, 0)
    return Image(100 + 0.3 * a - 0.2 * b, grid)


def turned_about(centre, degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return lambda points: (points - centre) @ turn.T + centre


def stay(points):
    return points


@pytest.mark.parametrize("step", [1, 3, 4])
@pytest.mark.parametrize(
    "grid", [PICTURE, CORONAL, WIDE], ids=["picture", "oblique coronal", "wide pixels"]
)
def test_a_coarser_slice_knows_where_its_samples_lie(grid, step):
    """Smoothing leaves a linear slice as it is, so that each sample has the value of its place."""
    coarse = CoarseSlice.of(ramp(grid), step * grid.spacing[0])
    a, b = np.moveaxis(coarse.points, -1, 0)
    inner = tuple(slice(2, -2) for _ in range(2))
    np.testing.assert_allclose(coarse.values[inner], (100 + 0.3 * a - 0.2 * b)[inner], rtol=1e-3)
    np.testing.assert_allclose(coarse.at(coarse.points), coarse.values, atol=1e-4)
    between = (coarse.points[4, 4] + coarse.points[5, 4]) / 2
    here = (coarse.values[4, 4] + coarse.values[5, 4]) / 2
    assert coarse.at(between[None]) == pytest.approx([here], rel=1e-5)


def test_a_slice_covers_its_samples_and_nothing_beyond():
    coarse = CoarseSlice.of(tissue(PICTURE), 1)
    x, y = coarse.values.shape
    corners = np.array([[0.0, 0], [x - 1, 0], [0, y - 1], [x - 1, y - 1]])
    assert coarse.covers(corners).all()
    outwards = np.sign(corners - 1)
    assert not coarse.covers(corners + 0.01 * outwards).any()
    assert (coarse.at(corners + 2 * outwards, outside=-3) == -3).all()


def test_the_centre_of_tissue_is_that_of_its_weights():
    data = np.zeros(PICTURE.shape)
    data[10, 20], data[40, 50] = 1, 3
    assert CoarseSlice.of(Image(data, PICTURE), 1).centre == pytest.approx([32.5, 42.5])


def test_the_diagonal_is_measured_in_millimetres():
    grid = Grid((10, 20, 1), np.diag([3.0, 2.0, 9.0, 1.0]))
    assert diagonal_mm(Image(np.ones(grid.shape), grid)) == pytest.approx(50)


def test_a_slice_matches_itself_as_nothing_else_does():
    image = tissue(PICTURE)
    fit = SliceFit.of(image, image)
    assert fit.match(stay) == pytest.approx(1)
    assert 0 < fit.match(lambda points: points + 3) < 0.5
    inverted = Image(np.where(image.data > 0, 1.1 - image.data, 0), PICTURE)
    assert SliceFit.of(image, inverted).match(stay) > 0.3


def test_what_drifts_slowly_does_not_count():
    image = tissue(PICTURE)
    drift = np.linspace(0.4, 1, PICTURE.shape[0])[:, None, None]
    drifting = Image(image.data * drift, PICTURE)
    assert SliceFit.of(image, drifting).match(stay) > 0.4


@pytest.mark.parametrize(("shared", "matches"), [(0.2, False), (0.4, True)])
def test_slices_that_share_little_do_not_match(shared, matches):
    """Both are full of tissue; the smaller one has a quarter of the larger one's area."""
    small = Grid((36, 42, 1), PICTURE.affine)
    noise = np.random.default_rng(0).random(PICTURE.shape) * 0.9 + 0.1
    fit = SliceFit.of(Image(noise[:36, :42], small), Image(noise, PICTURE))
    shift = np.array([-(1 - shared) * 36, 0])
    assert (fit.match(lambda points: points + shift) > 0) == matches


def test_tissue_that_meets_background_is_compared_as_well():
    """Of nine rows of pixels, five are tissue of one intensity in either slice and one in both."""
    fixed, moving = np.zeros((9, 4)), np.zeros((9, 4))
    fixed[:5], moving[4:] = 0.5, 0.5
    fit = SliceFit(CoarseSlice(fixed, np.eye(3)), CoarseSlice(moving, np.eye(3)))
    monochrome = -(5 / 9 * np.log(5 / 9) + 4 / 9 * np.log(4 / 9))
    together = -(2 * 4 / 9 * np.log(4 / 9) + 1 / 9 * np.log(1 / 9))
    assert fit.match(stay) == pytest.approx(2 * monochrome / together - 1)


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 210])
def test_the_margin_tells_the_right_map_from_any_turned_one(degrees):
    image = tissue(PICTURE)
    fit = SliceFit.of(image, image)
    margin = fit.margin(turned_about(fit.fixed.centre, degrees))
    assert (margin > 2) == (degrees == 0)
    assert (margin < 0.5) == (degrees != 0)


def test_a_turn_that_no_multiple_reaches_is_no_better():
    """The greatest of the turned matches counts, and not the least."""
    image = tissue(PICTURE)
    fit = SliceFit.of(image, image)
    here = turned_about(fit.fixed.centre, 33)
    turned = turned_about(fit.fixed.centre, 3)
    best = fit.match(lambda points: here(turned_about(fit.fixed.centre, -30)(points)))
    assert best == pytest.approx(fit.match(turned), rel=0.05)
    assert fit.margin(here) == pytest.approx(fit.match(here) / best, rel=0.05)


def test_turns_are_every_thirty_degrees_but_none():
    np.testing.assert_allclose(np.degrees(slice_fit._TURNS), np.arange(1, 12) * 30)


# ------------------------------------------------------------------------------------ coarser grids


def test_a_coarser_slice_keeps_its_intensities_up_to_the_rim():
    flat = Image(np.full(CORONAL.shape, 7.0), CORONAL)
    coarse = coarser_slice(flat, (2.0, 3.0))
    np.testing.assert_allclose(coarse.data, 7, rtol=1e-6)
    np.testing.assert_allclose(coarse.grid.spacing, CORONAL.spacing * (2, 3, 1))
    linear = coarser_slice(ramp(CORONAL), (2.0, 3.0))
    np.testing.assert_allclose(linear.data[INSIDE], ramp(linear.grid).data[INSIDE], rtol=1e-4)


def test_a_coarser_slice_is_as_blurred_as_its_pixels_are_wide():
    """A Gaussian that is ``sqrt(f^2 - 1)`` pixels wide (FWHM) has the variance ``(f^2 - 1) / (8 ln
    2)`` and weakens a wave by the factor ``exp(-variance k^2 / 2)``. Every third pixel is a sample.
    """
    frequency = 2 * np.pi / 12
    wave = np.cos(frequency * np.arange(60))[:, None, None] * np.ones((60, 40, 1))
    coarse = coarser_slice(Image(wave, Grid(wave.shape, np.eye(4))), (3.0, 1.0))
    at = coarse.grid.points_mm()[..., 0]
    np.testing.assert_allclose(at[:, 0, 0], np.arange(1, 60, 3), atol=1e-9)
    weakened = np.exp(-(3**2 - 1) / (8 * np.log(2)) * frequency**2 / 2)
    np.testing.assert_allclose(
        coarse.data[3:-3], weakened * np.cos(frequency * at)[3:-3], atol=2e-3
    )


def test_a_thick_slice_has_the_slice_in_its_middle():
    image = tissue(CORONAL)
    thick = thickened(image)
    assert thick.grid.shape == (72, 84, 3)
    np.testing.assert_allclose(thick.grid.points_mm()[:, :, 1:2], CORONAL.points_mm(), atol=1e-9)
    assert all(np.array_equal(thick.data[..., layer], image.data[..., 0]) for layer in range(3))
    moved = np.random.default_rng(0).normal(size=(*CORONAL.shape, 3))
    field = thickened_field(DisplacementField(moved, CORONAL))
    assert field.grid.matches(thick.grid)
    np.testing.assert_allclose(field.displacement_mm[:, :, 1:2], moved, rtol=1e-6)
