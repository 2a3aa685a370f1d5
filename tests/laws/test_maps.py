"""Maps from maps, and interpolation: inverses, domains and resampled values with exact answers."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_determinant, jacobian_everywhere
from diffeode.geometry.interpolate import INTERPOLATIONS, interpolated, require_interpolation
from diffeode.geometry.maps import (
    TOLERANCE_MM,
    Inverse,
    collapsed,
    grid_where_known,
    inverse_of,
    mapped_within,
    steps_of,
)
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, Chain, DisplacementField, densify

GRID = Grid(
    (12, 10, 9), np.array([[-2.0, 0, 0, 60], [0, 1.5, 0, -80], [0, 0, 1.0, -40], [0, 0, 0, 1]])
)
RANDOM = np.random.default_rng(0)
INNER = GRID.to_world(RANDOM.uniform(1, 7, (50, 3)))


def affine(degrees, scale):
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", [degrees, degrees / 3, -degrees / 2], degrees=True)
    matrix[:3, :3] = turn.as_matrix() * scale
    matrix[:3, 3] = 5, -6, 7
    return Affine(matrix)


def bent(size_mm, after=None):
    """A smooth field, after which an affine may follow."""
    noise = ndimage.gaussian_filter(RANDOM.normal(size=(*GRID.shape, 3)), (2, 2, 2, 0))
    field = DisplacementField(noise * size_mm / np.abs(noise).max(), GRID)
    return field if after is None else densify(field.then(after), GRID)


# -------------------------------------------------------------------------------------- the inverse


@pytest.mark.parametrize(
    "field",
    [
        bent(0.5),
        bent(0.5, affine(20, 1.8)),
        bent(0.4, affine(80, 0.55)),
        bent(0.4, affine(170, 1)),
        bent(0.4, Affine(np.diag([-1.0, 1, 1, 1]))),
    ],
    ids=["bent", "larger", "turned and smaller", "turned round", "mirrored"],
)
def test_an_inverse_is_found_at_every_voxel_of_a_map_that_does_not_fold(field):
    """An iteration without the affine diverges from a rotation of 60 degrees on."""
    points = GRID.points_mm()
    assert (jacobian_everywhere(field) != 0).all()
    found, missed = Inverse(field).solve(field(points))
    assert missed.max() <= TOLERANCE_MM
    np.testing.assert_allclose(found, points, atol=0.01)
    np.testing.assert_allclose(field(inverse_of(field)(field(INNER))), field(INNER), atol=1e-3)


def test_an_inverse_says_which_points_it_misses():
    """Where all x become 60, no other x is reached."""
    flat = np.zeros((*GRID.shape, 3))
    flat[..., 0] = 60 - GRID.points_mm()[..., 0]
    field = DisplacementField(flat, GRID)
    at = GRID.to_world(np.array([[0.0, 4, 4], [5.0, 4, 4]]))
    _, missed = Inverse(field).solve(at)
    np.testing.assert_allclose(missed, [0, 10], atol=1e-3)
    assert mapped_within(Inverse(field), at)[1].tolist() == [False, True]


def test_inverses_of_affines_and_of_inverses_are_exact_and_chains_are_undone_backwards():
    turn, field = affine(40, 1.3), bent(0.5)
    np.testing.assert_allclose(inverse_of(turn).matrix, np.linalg.inv(turn.matrix), atol=1e-12)
    assert inverse_of(inverse_of(field)) is field
    chain = Chain((inverse_of(field), turn))
    np.testing.assert_allclose(inverse_of(chain)(chain(field(INNER))), field(INNER), atol=1e-2)


# --------------------------------------------------------------------------------- one for several


def test_affines_in_a_row_become_one_in_the_order_of_travel():
    first, second, field = affine(10, 2), affine(-30, 0.7), bent(0.5)
    whole = collapsed(Chain((first, Chain((second, Affine())))))
    assert isinstance(whole, Affine)
    np.testing.assert_allclose(whole(INNER), second(first(INNER)), atol=1e-9)
    mixed = Chain((first, second, field, first, second))
    assert [type(step).__name__ for step in steps_of(mixed)] == [
        "Affine",
        "DisplacementField",
        "Affine",
    ]
    np.testing.assert_allclose(collapsed(mixed)(INNER), mixed(INNER), atol=1e-9)


def test_a_map_is_known_on_the_grid_of_its_first_step():
    field = bent(0.5)
    assert grid_where_known(field.then(affine(5, 1))) is GRID
    for unbound in (affine(5, 1), affine(5, 1).then(field), inverse_of(field)):
        assert grid_where_known(unbound) is None


@pytest.mark.parametrize("at", [-0.5, 11.5])
def test_points_are_known_up_to_half_a_voxel_beyond_the_outermost_centres(at):
    near, far = GRID.to_world(np.array([[at, 4, 4], [at + np.sign(at) * 0.01, 4, 4]]))
    assert mapped_within(bent(0.1), np.array([near, far]))[1].tolist() == [False, True]


def test_a_point_is_known_where_all_of_its_way_is():
    away = np.eye(4)
    away[0, 3] = 500
    _, unknown = mapped_within(Affine(away).then(bent(0.1)), INNER)
    assert unknown.all()
    _, unknown = mapped_within(bent(0.1).then(Affine(away)), INNER)
    assert not unknown.any()
    assert mapped_within(bent(0.1), INNER[0])[0].shape == (3,)


# ------------------------------------------------------------------------------------ determinants


@pytest.mark.parametrize("scales", [(2, 3, 0.5), (1, 1, 1), (-1, 1, 1)])
def test_the_jacobian_of_a_scaling_is_its_volume_everywhere(scales):
    field = densify(Affine(np.diag([*scales, 1.0])), GRID)
    np.testing.assert_allclose(jacobian_everywhere(field), np.prod(scales), rtol=1e-4)


def test_the_jacobian_is_that_of_central_differences_inside_and_leaves_the_alignment_out():
    turn = affine(20, 1.5)
    field = bent(0.5, turn)
    inner = (slice(1, -1),) * 3
    for alignment in (None, turn):
        np.testing.assert_allclose(
            jacobian_everywhere(field, alignment)[inner],
            jacobian_determinant(field, alignment)[inner],
            rtol=1e-4,
        )
    whole, own = jacobian_everywhere(field), jacobian_everywhere(field, turn)
    np.testing.assert_allclose(whole, own * 1.5**3, rtol=1e-3)


def test_the_jacobian_of_one_slice_counts_its_plane():
    slice_ = Grid((6, 5, 1), np.eye(4))
    field = densify(Affine(np.diag([2.0, 3, 1, 1])), slice_)
    np.testing.assert_allclose(jacobian_everywhere(field), 6, rtol=1e-5)


# ---------------------------------------------------------------------------------- interpolation

IMAGE = RANDOM.normal(size=(8, 7, 6)).astype(np.float32)
AT = RANDOM.uniform(-0.4, 5.4, (300, 3))
ITK = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "spline": sitk.sitkBSpline}


@pytest.mark.parametrize("how", ITK)
def test_interpolation_is_itks(how):
    """SimpleITK's arrays have the first axis last."""
    image = sitk.GetImageFromArray(IMAGE.transpose(2, 1, 0))
    inside = AT[((AT >= 0) & (np.array(IMAGE.shape) - 1 >= AT)).all(axis=1)]
    theirs = [image.EvaluateAtContinuousIndex(point.tolist(), ITK[how]) for point in inside]
    assert len(theirs) > 100
    np.testing.assert_allclose(interpolated(IMAGE, inside, how), theirs, atol=1e-4)


@pytest.mark.parametrize("how", INTERPOLATIONS)
def test_outside_is_background_and_voxels_keep_their_values(how):
    data = np.rint(IMAGE * 3)
    centres = np.argwhere(np.ones(data.shape)).astype(float)
    np.testing.assert_allclose(interpolated(data, centres, how), data.ravel(), atol=1e-4)
    beyond = np.array([[-0.51, 3, 3], [3, 6.51, 3], [3, 3, 99.0], [7.5, 6.5, 5.5]])
    values = interpolated(data, beyond, how, background=-7)
    assert values[:3].tolist() == [-7, -7, -7]
    assert values[3] == pytest.approx(data[7, 6, 5], abs=1e-4), "half a voxel beyond belongs to it"
    assert interpolated(data, AT.reshape(3, 100, 3), how).shape == (3, 100)


def test_label_aware_takes_the_label_of_the_largest_linear_weight():
    labels = RANDOM.integers(0, 4, (8, 7, 6)).astype(np.int32)
    shares = np.stack(
        [interpolated((labels == n).astype(np.float32), AT, "linear") for n in range(4)]
    )
    inside = ((AT >= -0.5) & (np.array(labels.shape) - 0.5 >= AT)).all(axis=1)
    clear = inside & (np.ptp(np.sort(shares, axis=0)[-2:], axis=0) > 1e-3)
    found = interpolated(labels, AT, "label-aware")
    assert clear.mean() > 0.7
    np.testing.assert_array_equal(found[clear], shares.argmax(axis=0)[clear])
    assert (found != interpolated(labels, AT, "nearest"))[inside].any()
    assert found.dtype == labels.dtype


def test_interpolations_that_mix_ids_are_refused_for_label_maps():
    for how in ("nearest", "label-aware"):
        require_interpolation(how, is_labels=True)
    for how in ("linear", "spline"):
        with pytest.raises(InputError, match="would mix the ids"):
            require_interpolation(how, is_labels=True)
    with pytest.raises(InputError, match="no interpolation 'cubic'"):
        interpolated(IMAGE, AT, "cubic")
