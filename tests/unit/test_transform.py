"""Maps: composition, sampling, resampling and inversion, with exact answers."""

import numpy as np
import pytest
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry import slabs as slabs_module
from diffeode.geometry.image import Image, Labels, bounding_box, foreground, sample, window_around
from diffeode.geometry.slabs import slabs
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import (
    Affine,
    Chain,
    DisplacementField,
    densify,
    invert,
    warp_image,
    warp_labels,
    warp_on_own_grid,
)

LAS = np.array([[-2.0, 0, 0, 60], [0, 1.5, 0, -80], [0, 0, 1.0, -40], [0, 0, 0, 1]])
GRID = Grid((9, 8, 7), LAS)
TURN = Affine(np.array([[0.0, -1.1, 0, 3], [0.9, 0, 0, -2], [0, 0.1, 1, 5], [0, 0, 0, 1]]))
POINTS = np.random.default_rng(0).uniform(-30, 30, (5, 4, 3))


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shift(voxels):
    """Return the constant displacement by ``voxels`` along the array axes."""
    return DisplacementField(
        np.broadcast_to(GRID.vectors_to_world(np.array(voxels, float)), (*GRID.shape, 3)), GRID
    )


def smooth_field(grid, size_mm):
    field = ndimage.gaussian_filter(noise((*grid.shape, 3), 1), (2, 2, 2, 0))
    return DisplacementField(field * size_mm / np.abs(field).max(), grid)


@pytest.fixture(params=[1, 120, 10**9], ids=["planes", "slabs", "at once"])
def slab(request, monkeypatch):
    """The number of voxels that are worked on at a time."""
    monkeypatch.setattr(slabs_module, "_VOXELS", request.param)


@pytest.mark.usefixtures("slab")
@pytest.mark.parametrize("shape", [(9, 8, 7), (5, 6, 1), (1, 4, 3)])
def test_slabs_hold_every_point_of_a_grid_once(shape):
    grid = Grid(shape, np.linalg.inv(TURN.matrix) @ LAS)
    parts = list(slabs(grid))
    assert np.concatenate([np.arange(shape[0])[planes] for planes, _ in parts]).tolist() == list(
        range(shape[0])
    )
    found = np.concatenate([points for _, points in parts])
    np.testing.assert_array_equal(found, grid.points_mm())


@pytest.mark.usefixtures("slab")
@pytest.mark.parametrize("size_mm", [0, 2.5, 40])
def test_an_image_is_warped_on_the_field_s_own_grid_as_anywhere_else(size_mm):
    field = smooth_field(GRID, size_mm) if size_mm else shift((0, 0, 0))
    turned = np.array([[-1.7, 0.2, 0, 58], [0.1, 1.4, 0, -79], [0, 0, 0.9, -39], [0, 0, 0, 1]])
    image = Image(noise((7, 9, 10)), Grid((7, 9, 10), turned))
    found, expected = warp_on_own_grid(image, field), warp_image(image, field, GRID)
    assert found.grid is GRID
    assert expected.data.any()
    np.testing.assert_allclose(found.data, expected.data, rtol=1e-6, atol=1e-6)


# ----------------------------------------------------------------------------------- maps of points


def test_affine_and_its_inverse_cancel():
    np.testing.assert_allclose(TURN.then(TURN.inverse())(POINTS), POINTS, atol=1e-12)


def test_then_is_the_order_of_travel():
    stretch = Affine(np.diag([2.0, 3, 4, 1]))
    move = Affine(np.array([[1.0, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    np.testing.assert_allclose(stretch.then(move)(np.array([1.0, 1, 1])), [12, 3, 4])
    np.testing.assert_allclose(move.then(stretch)(np.array([1.0, 1, 1])), [22, 3, 4])


def test_composition_is_associative():
    a, b, c = TURN, smooth_field(GRID, 3), Affine(np.diag([1.1, 1, 0.9, 1]))
    np.testing.assert_allclose(a.then(b).then(c)(POINTS), a.then(b.then(c))(POINTS), atol=1e-12)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan)])
def test_affine_without_an_inverse_is_refused(matrix):
    with pytest.raises(InputError, match="invertible"):
        Affine(matrix)


def test_field_of_another_shape_or_with_nan_is_refused():
    with pytest.raises(InputError, match="displacement field of shape"):
        DisplacementField(np.zeros((9, 8, 6, 3)), GRID)
    bad = np.zeros((*GRID.shape, 3))
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        DisplacementField(bad, GRID)


def test_field_holds_at_voxels_is_linear_between_and_constant_beyond():
    field = smooth_field(GRID, 3)
    u = field.displacement_mm
    at = GRID.to_world(np.array([[2.0, 3, 4], [2.25, 3, 4], [-5, 3, 4], [2, 3, 20]]))
    expected = [u[2, 3, 4], 0.75 * u[2, 3, 4] + 0.25 * u[3, 3, 4], u[0, 3, 4], u[2, 3, 6]]
    np.testing.assert_allclose(field(at) - at, expected, atol=1e-5)


def test_densify_is_exact_at_the_voxels_and_idempotent():
    chain = Chain((smooth_field(GRID, 3), TURN))
    dense = densify(chain, GRID)
    np.testing.assert_allclose(dense(GRID.points_mm()), chain(GRID.points_mm()), atol=1e-5)
    assert densify(dense, GRID) is dense


def test_a_linear_map_is_densified_without_loss_anywhere_inside():
    inside = GRID.to_world(np.random.default_rng(0).uniform(0, 6, (20, 3)))
    np.testing.assert_allclose(densify(TURN, GRID)(inside), TURN(inside), atol=1e-4)


# --------------------------------------------------------------------------------------- resampling


def test_shift_of_whole_voxels_returns_the_shifted_array():
    """``warped(x) = moving(x + u)``: a displacement by +2 voxels along the first axis brings voxel
    i + 2 to i.
    """
    image = Image(noise(GRID.shape), GRID)
    warped = warp_image(image, shift((2, -1, 3)), GRID).data
    np.testing.assert_allclose(warped[:-2, 1:, :-3], image.data[2:, :-1, 3:], atol=1e-5)
    assert (warped[-2:] == 0).all()
    assert (warped[:, :1] == 0).all()
    assert (warped[:, :, -3:] == 0).all()


def test_labels_shift_exactly():
    labels = Labels(np.random.default_rng(0).integers(0, 2_000_000, GRID.shape), GRID)
    warped = warp_labels(labels, shift((0, 3, 0)), GRID).data
    np.testing.assert_array_equal(warped[:, :-3], labels.data[:, 3:])


def test_identity_onto_another_orientation_moves_no_tissue():
    image = Image(noise(GRID.shape), GRID)
    flipped = Grid(
        GRID.shape, LAS @ np.array([[-1.0, 0, 0, 8], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    np.testing.assert_allclose(
        warp_image(image, Affine(), flipped).data, image.data[::-1], atol=1e-5
    )


@pytest.mark.parametrize(
    ("at", "value"), [(-0.5, 1.0), (-0.51, 0.0), (2.5, 3.0), (2.51, 0.0), (0.5, 1.5)]
)
def test_an_image_ends_half_a_voxel_beyond_its_outermost_centres(at, value):
    """Along each axis ITK's rule holds: the image ends half a voxel beyond the outermost
    centres.
    """
    line = np.array([1.0, 2, 3], np.float32)
    for axis in range(3):
        data = np.broadcast_to(np.expand_dims(line, [a for a in range(3) if a != axis]), (3, 3, 3))
        where = np.ones(3)
        where[axis] = at
        assert sample(data, where[None], order=1)[0] == pytest.approx(value)


# ---------------------------------------------------------------------------------------- inversion


def test_numerical_inverse_undoes_a_smooth_field():
    grid = Grid((24, 26, 22), LAS)
    field = smooth_field(grid, 3.0)
    inner = grid.points_mm()[5:-5, 5:-5, 5:-5]
    inverse = invert(field, grid)
    assert np.abs(field(inner) - inner).max() > 1.0
    np.testing.assert_allclose(field(inverse(inner)), inner, atol=0.005)
    assert np.linalg.norm(inverse(field(inner)) - inner, axis=-1).mean() < 0.1, (
        "linear between the voxels"
    )


def test_numerical_inverse_of_a_shift_is_the_opposite_shift():
    inverse = invert(shift((1, 2, -1)), GRID)
    np.testing.assert_allclose(
        inverse.displacement_mm, -shift((1, 2, -1)).displacement_mm, atol=1e-5
    )


# ------------------------------------------------------------------------------------------- images


def test_array_and_grid_must_fit():
    for kind in (Image, Labels):
        with pytest.raises(InputError, match="of shape"):
            kind(np.zeros((9, 8, 6)), GRID)


def test_empty_brain_is_refused():
    empty = Image(np.zeros(GRID.shape), GRID)
    with pytest.raises(InputError, match="brain mask is empty"):
        foreground(empty)
    with pytest.raises(InputError, match="brain mask is empty"):
        bounding_box(empty.data > 0)


def test_bounding_box_with_a_margin_stays_inside_the_array():
    mask = np.zeros((10, 10, 10), bool)
    mask[0, 4:6, 9] = True
    lower, upper = bounding_box(mask, margin=2)
    assert lower.tolist() == [0, 2, 7]
    assert upper.tolist() == [3, 8, 10]


def test_a_cropped_image_keeps_its_voxels_in_place():
    image = Image(np.arange(np.prod(GRID.shape), dtype=float).reshape(GRID.shape), GRID)
    mask = np.zeros(GRID.shape, bool)
    mask[3:5, 2, 4] = True
    window = window_around(mask, margin=1)
    assert window == (slice(2, 6), slice(1, 4), slice(3, 6))
    cropped = image.cropped(window)
    np.testing.assert_array_equal(cropped.data, image.data[window])
    np.testing.assert_allclose(cropped.grid.to_world(np.zeros(3)), GRID.to_world([2, 1, 3]))
