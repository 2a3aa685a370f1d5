"""Laws of the Jacobian determinants: identity, linear maps, known folds, and independence of how
the grid is stored.
"""

import numpy as np
import pytest
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.evaluation import jacobian
from diffeode.evaluation.jacobian import (
    jacobian_determinant,
    jacobian_metrics,
    onesided_determinants,
    tetrahedral_determinants,
)
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify

SHAPE = (11, 13, 12)


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )


def grid_with(linear: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = [51.0, -84.0, -38.0]
    return Grid(shape, affine)


GRIDS = {
    "unit": grid_with(np.eye(3)),
    "LAS anisotropic": grid_with(np.diag([-0.8, 0.8, 3.0])),
    "oblique anisotropic": grid_with(rotation(20) @ np.diag([1.0, 1.2, 2.5])),
    "axes swapped": grid_with(np.array([[0, 0, 1.5], [-1.0, 0, 0], [0, 2.0, 0]])),
}
LINEAR = np.array([[1.1, 0.2, 0.0], [-0.1, 0.9, 0.15], [0.05, 0.0, 1.3]])


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def grid(request) -> Grid:
    return request.param


def affine(linear: np.ndarray, shift=(0.0, 0.0, 0.0)) -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return Affine(matrix)


def voxel_field(displacement_vox: np.ndarray) -> DisplacementField:
    return DisplacementField(
        displacement_vox.astype(np.float32), Grid(displacement_vox.shape[:3], np.eye(4))
    )


def smooth_field(grid: Grid, amplitude_mm: float, seed: int = 0) -> DisplacementField:
    noise = np.random.default_rng(seed).normal(size=(*grid.shape, 3))
    smooth = ndimage.gaussian_filter(noise, (1.5, 1.5, 1.5, 0))
    return DisplacementField(
        (amplitude_mm * smooth / np.abs(smooth).max()).astype(np.float32), grid
    )


def whole(field: DisplacementField) -> np.ndarray:
    return np.ones(field.grid.shape, dtype=bool)


@pytest.mark.parametrize("voxels", [1, 350, 10**9], ids=["planes", "slabs", "at once"])
def test_metrics_do_not_depend_on_how_many_voxels_are_worked_on_at_a_time(
    grid, voxels, monkeypatch
):
    """To the bit, and each is that of the determinants of the whole lattice."""
    field = smooth_field(grid, 6)
    monkeypatch.setattr(jacobian, "_SLAB_VOXELS", voxels)
    found = jacobian_metrics(field, whole(field), affine(LINEAR))
    central = jacobian_determinant(field, affine(LINEAR))[1:-1, 1:-1, 1:-1]
    onesided = onesided_determinants(field, affine(LINEAR))
    middle = np.maximum(-tetrahedral_determinants(field, affine(LINEAR)), 0).sum(axis=0)
    cubes = (
        sum(
            middle[i : i - 1 or None, j : j - 1 or None, k : k - 1 or None]
            for i in (0, 1)
            for j in (0, 1)
            for k in (0, 1)
        )
        / 8
    )
    lost = (np.maximum(-onesided, 0).sum(axis=0) + cubes) / 12
    assert found["folds_onesided_grid_percent"] > 0
    assert found["min_jacobian"] == central.min()
    assert found["folds_central_grid_percent"] == 100 * (central <= 0).mean()
    assert found["folds_onesided_grid_percent"] == 100 * (onesided.min(axis=0) <= 0).mean()
    assert found["sdlogj"] == np.log(central[central > 0]).std(dtype=np.float64)
    assert found["ndv_percent"] == pytest.approx(100 * lost.mean(), rel=1e-5)


def test_identity_has_every_determinant_one(grid):
    identity = DisplacementField(np.zeros((*grid.shape, 3)), grid)
    central = jacobian_determinant(identity)
    np.testing.assert_allclose(central[1:-1, 1:-1, 1:-1], 1, rtol=1e-6)
    assert np.isnan(central).sum() == central.size - np.prod(np.array(SHAPE) - 2)
    np.testing.assert_allclose(onesided_determinants(identity), 1, rtol=1e-6)
    np.testing.assert_allclose(tetrahedral_determinants(identity), 2, rtol=1e-6)
    assert jacobian_metrics(identity, whole(identity)) == {
        "folds_central_percent": 0.0,
        "folds_onesided_percent": 0.0,
        "folds_central_grid_percent": 0.0,
        "folds_onesided_grid_percent": 0.0,
        "folds_central_grid_sum": 0.0,
        "ndv_percent": 0.0,
        "sdlogj": pytest.approx(0.0, abs=1e-6),
        "min_jacobian": pytest.approx(1.0, rel=1e-6),
    }


def test_a_linear_map_has_its_own_determinant_everywhere(grid):
    field = densify(affine(LINEAR, (3.0, -2.0, 1.0)), grid)
    expected = np.linalg.det(LINEAR)
    np.testing.assert_allclose(jacobian_determinant(field)[1:-1, 1:-1, 1:-1], expected, rtol=1e-4)
    np.testing.assert_allclose(onesided_determinants(field), expected, rtol=1e-4)
    np.testing.assert_allclose(tetrahedral_determinants(field), 2 * expected, rtol=1e-4)


def test_the_affine_alignment_does_not_count(grid):
    alignment, deformation = affine(LINEAR, (3.0, -2.0, 1.0)), smooth_field(grid, 0.5)
    whole_map = densify(deformation.then(alignment), grid)
    found, expected = (
        jacobian_metrics(whole_map, whole(whole_map), alignment),
        jacobian_metrics(deformation, whole(deformation)),
    )
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(
        jacobian_determinant(whole_map) / np.linalg.det(LINEAR),
        jacobian_determinant(whole_map, alignment),
        rtol=1e-4,
    )


def checkerboard(amplitude_vox: float) -> DisplacementField:
    displacement = np.zeros((*SHAPE, 3))
    displacement[..., 0] = amplitude_vox * (-1.0) ** np.indices(SHAPE).sum(axis=0)
    return voxel_field(displacement)


def test_a_checkerboard_folds_where_central_differences_see_nothing():
    field = checkerboard(0.6)
    np.testing.assert_allclose(jacobian_determinant(field)[1:-1, 1:-1, 1:-1], 1, rtol=1e-6)
    metrics = jacobian_metrics(field, whole(field))
    assert metrics["folds_central_percent"] == metrics["folds_central_grid_percent"] == 0
    assert metrics["folds_onesided_percent"] == metrics["folds_onesided_grid_percent"] == 100
    assert metrics["ndv_percent"] > 0
    assert jacobian_metrics(checkerboard(0.4), whole(field))["folds_onesided_percent"] == 0


@pytest.mark.parametrize(
    ("shift_vox", "lost_voxels"),
    [
        (0.9, 0.0),
        # its four forward differences and the four backward ones of the voxel it passes are -0.5
        # each
        (1.5, 8 * 0.5 / 12),
        # beyond two voxels the middle tetrahedra of the four cubes ahead turn over too, by 2.5 - 2
        # each
        (2.5, (8 * 1.5 + 4 * 0.5) / 12),
    ],
)
def test_volume_lost_by_one_voxel_pushed_past_its_neighbour(shift_vox, lost_voxels):
    displacement = np.zeros((*SHAPE, 3))
    displacement[5, 6, 6, 0] = shift_vox
    field = voxel_field(displacement)
    metrics = jacobian_metrics(field, whole(field))
    inside = np.prod(np.array(SHAPE) - 2)
    assert metrics["ndv_percent"] == pytest.approx(100 * lost_voxels / inside, abs=1e-6)
    assert metrics["folds_onesided_percent"] == pytest.approx(
        100 * (2 if lost_voxels else 0) / inside
    )


def test_a_mirrored_and_shrunken_map_loses_its_whole_volume():
    displacement = np.zeros((*SHAPE, 3))
    displacement[..., 0] = -1.3 * np.arange(SHAPE[0])[:, None, None]
    field = voxel_field(displacement)
    metrics = jacobian_metrics(field, whole(field))
    assert metrics["ndv_percent"] == pytest.approx(30, rel=1e-5)
    assert metrics["folds_central_percent"] == metrics["folds_onesided_percent"] == 100
    assert metrics["min_jacobian"] == pytest.approx(-0.3, rel=1e-5)
    assert metrics["folds_central_grid_sum"] == pytest.approx(
        0.3 * np.prod(np.array(SHAPE) - 2), rel=1e-5
    )
    assert np.isnan(metrics["sdlogj"])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_determinant_of_exactly_zero_folds_and_loses_no_volume(axis):
    """The whole grid is pressed onto a sheet, so determinants are 0, and no volume is turned inside
    out.
    """
    displacement = np.zeros((*SHAPE, 3))
    displacement[..., axis] = -np.indices(SHAPE)[axis]
    field = voxel_field(displacement)
    metrics = jacobian_metrics(field, whole(field))
    assert (jacobian_determinant(field)[1:-1, 1:-1, 1:-1] == 0).all()
    assert {name for name, value in metrics.items() if value == 100} == {
        f"folds_{kind}{where}_percent"
        for kind in ("central", "onesided")
        for where in ("", "_grid")
    }
    assert metrics["ndv_percent"] == metrics["min_jacobian"] == 0
    assert metrics["folds_central_grid_sum"] == 0
    assert np.isnan(metrics["sdlogj"])


def test_sdlogj_of_two_regions_of_equal_size():
    rates = np.repeat([np.exp(0.2), np.exp(-0.2)], 10)
    displacement = np.zeros((20, 9, 9, 3))
    displacement[..., 0] = (np.cumsum(rates) - np.arange(20))[:, None, None]
    field, mask = voxel_field(displacement), np.zeros((20, 9, 9), dtype=bool)
    mask[1:8, 1:8, 1:8] = mask[12:19, 1:8, 1:8] = True
    assert jacobian_metrics(field, mask)["sdlogj"] == pytest.approx(0.2, abs=1e-5)


def test_what_is_pressed_flat_is_left_out_of_sdlogj_and_is_the_least_determinant():
    """Of three regions of equal size one is stretched, one is compressed and one is pressed to
    nothing.
    """
    rates = np.repeat([1.5, 0.75, 0.0], 10)
    displacement = np.zeros((30, 9, 9, 3))
    displacement[..., 0] = (np.cumsum(rates) - np.arange(30))[:, None, None]
    field, mask = voxel_field(displacement), np.zeros((30, 9, 9), dtype=bool)
    mask[1:8, 1:8, 1:8] = mask[12:19, 1:8, 1:8] = True
    assert jacobian_metrics(field, mask)["min_jacobian"] == 0.75
    mask[21:28, 1:8, 1:8] = True
    metrics = jacobian_metrics(field, mask)
    assert metrics["min_jacobian"] == 0
    assert metrics["folds_central_percent"] == pytest.approx(100 / 3)
    assert metrics["sdlogj"] == pytest.approx(np.log(1.5 / 0.75) / 2)


def test_folds_outside_the_brain_count_only_in_the_grid():
    displacement, mask = np.zeros((*SHAPE, 3)), np.zeros(SHAPE, dtype=bool)
    displacement[2, 3, 3, 0] = 2.5
    mask[5:, :, :] = True
    metrics, inside = (
        jacobian_metrics(voxel_field(displacement), mask),
        np.prod(np.array(SHAPE) - 2),
    )
    assert (
        metrics["folds_onesided_percent"]
        == metrics["folds_central_percent"]
        == metrics["ndv_percent"]
        == 0
    )
    assert metrics["min_jacobian"] == 1
    assert metrics["folds_central_grid_percent"] == pytest.approx(100 / inside)
    # behind the voxel that moved by 2.5 the difference over two voxels is 1 - 2.5 / 2
    assert metrics["folds_central_grid_sum"] == pytest.approx(0.25)
    assert metrics["folds_onesided_grid_percent"] == pytest.approx(200 / inside)


def test_a_point_outside_the_brain_touches_no_measure():
    """A fold outside does not count, not even through the middle tetrahedra, which reach a voxel's
    diagonal neighbours.
    """
    displacement, mask = np.zeros((*SHAPE, 3)), np.ones(SHAPE, dtype=bool)
    displacement[5, 6, 6] = 4.0
    mask[5, 6, 6] = False
    metrics = jacobian_metrics(voxel_field(displacement), mask)
    assert metrics["ndv_percent"] == metrics["folds_onesided_percent"] == metrics["sdlogj"] == 0


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_how_the_array_is_stored_changes_nothing(axes, flip):
    """The same points and vectors with permuted and reversed array axes, folds included."""
    field = smooth_field(GRIDS["oblique anisotropic"], 6.0)
    mask = np.random.default_rng(1).random(SHAPE) < 0.999
    expected = jacobian_metrics(field, mask)
    assert expected["ndv_percent"] > 0
    stored = np.flip(np.transpose(field.displacement_mm, (*axes, 3)), flip)
    turn = field.grid.affine[:, [*axes, 3]].copy()
    for axis in flip:
        turn[:3, 3] += turn[:3, axis] * (stored.shape[axis] - 1)
        turn[:3, axis] *= -1
    turned = DisplacementField(stored, Grid(stored.shape[:3], turn))
    found = jacobian_metrics(turned, np.flip(np.transpose(mask, axes), flip))
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_mirroring_alignment_is_refused():
    field = smooth_field(GRIDS["unit"], 0.5)
    with pytest.raises(InputError, match="mirrors the scan"):
        jacobian_metrics(field, whole(field), affine(np.diag([-1.0, 1.0, 1.0])))


def test_too_thin_a_grid_and_too_thin_a_brain_are_refused():
    thin = DisplacementField(np.zeros((5, 5, 2, 3)), Grid((5, 5, 2), np.eye(4)))
    with pytest.raises(InputError, match="three voxels along every axis"):
        jacobian_determinant(thin)
    sheet = np.zeros(SHAPE, dtype=bool)
    sheet[:, :, 5:7] = True
    with pytest.raises(InputError, match="eroded"):
        jacobian_metrics(smooth_field(GRIDS["unit"], 0.1), sheet)
