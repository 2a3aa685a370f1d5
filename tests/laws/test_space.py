"""Grids: voxels and millimetres both ways, in any orientation, with the exact answers where there
are some.
"""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from diffeode.errors import InputError
from diffeode.geometry.space import Grid, apply_matrix, flip_matrix_ras_lps, flip_ras_lps

LAS = np.array([[-2.0, 0, 0, 60], [0, 1.5, 0, -80], [0, 0, 1.0, -40], [0, 0, 0, 1]])

shapes = st.tuples(*[st.integers(2, 9)] * 3)
spacings = st.tuples(*[st.floats(0.3, 4.0)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)
origins = st.tuples(*[st.floats(-200, 200)] * 3)
flips = st.tuples(*[st.sampled_from([-1, 1])] * 3)


@st.composite
def grids(draw):
    """Any shape, anisotropic spacing, rotation, axis flips and origin."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix()
    affine[:3, :3] = rotation * np.array(draw(spacings)) * np.array(draw(flips))
    affine[:3, 3] = draw(origins)
    return Grid(draw(shapes), affine)


@given(grids())
@settings(max_examples=50, deadline=None)
def test_voxels_to_world_and_back(grid):
    np.testing.assert_allclose(grid.to_voxel(grid.points_mm()), grid.voxels(), atol=1e-8)


@given(grids())
@settings(max_examples=50, deadline=None)
def test_world_positions_are_nibabels(grid):
    expected = nib.affines.apply_affine(grid.affine, grid.voxels())
    np.testing.assert_allclose(grid.points_mm(), expected, atol=1e-9)
    np.testing.assert_allclose(grid.spacing, nib.affines.voxel_sizes(grid.affine))


@given(grids())
@settings(max_examples=50, deadline=None)
def test_a_vector_is_the_difference_of_two_points(grid):
    step = np.array([1.0, -2.0, 0.5])
    expected = grid.to_world(step) - grid.to_world(np.zeros(3))
    np.testing.assert_allclose(grid.vectors_to_world(step), expected, atol=1e-9)
    np.testing.assert_allclose(grid.vectors_to_voxel(expected), step, atol=1e-9)


@given(grids(), st.tuples(*[st.floats(0.4, 3.0)] * 3))
@settings(max_examples=50, deadline=None)
def test_resampling_keeps_the_first_corner_axes_and_about_the_box(grid, spacing):
    other = grid.resample(np.array(spacing))
    outer = np.full(3, -0.5)
    np.testing.assert_allclose(other.to_world(outer), grid.to_world(outer), atol=1e-9)
    np.testing.assert_allclose(other.spacing, spacing)
    np.testing.assert_allclose(other.direction, grid.direction, atol=1e-9)
    extent = np.array(other.shape) * other.spacing - np.array(grid.shape) * grid.spacing
    assert (
        np.abs(extent)
        <= np.maximum(other.spacing / 2 + 1e-9, other.spacing * (np.array(other.shape) == 1))
    ).all()


@given(grids())
@settings(max_examples=50, deadline=None)
def test_a_crop_keeps_every_voxel_where_it_was(grid):
    lower, upper = np.array([1, 0, 1]), np.array(grid.shape)
    cropped = grid.crop(lower, upper)
    np.testing.assert_allclose(cropped.points_mm(), grid.points_mm()[1:, :, 1:], atol=1e-9)


def test_doubling_the_spacing_halves_the_count_and_centres_on_pairs():
    """Edges are aligned, not centres: voxel 0 of the coarse grid lies between voxels 0 and 1 of the
    fine one.
    """
    fine = Grid((8, 6, 4), LAS)
    coarse = fine.resample(2 * fine.spacing)
    assert coarse.shape == (4, 3, 2)
    np.testing.assert_allclose(coarse.to_world(np.zeros(3)), fine.to_world(np.full(3, 0.5)))
    np.testing.assert_allclose(
        coarse.to_world(np.array([3, 2, 1])), fine.to_world(np.array([6.5, 4.5, 2.5]))
    )


def test_las_grid_by_hand():
    grid = Grid((3, 4, 5), LAS)
    np.testing.assert_allclose(grid.to_world(np.array([1, 2, 3])), [58, -77, -37])
    np.testing.assert_allclose(grid.vectors_to_world(np.array([1.0, 1, 1])), [-2, 1.5, 1])
    np.testing.assert_allclose(grid.spacing, [2, 1.5, 1])
    np.testing.assert_allclose(grid.direction, np.diag([-1, 1, 1]))
    np.testing.assert_allclose(grid.centre_mm, [58, -77.75, -38])
    assert grid.voxel_volume == pytest.approx(3.0)


def test_ras_lps_flips_the_first_two_and_undoes_itself():
    vectors = np.array([[1.0, 2, 3], [-4, 5, -6]])
    np.testing.assert_array_equal(flip_ras_lps(vectors), [[-1, -2, 3], [4, -5, -6]])
    np.testing.assert_array_equal(flip_ras_lps(flip_ras_lps(vectors)), vectors)


@given(grids())
@settings(max_examples=50, deadline=None)
def test_itk_finds_every_voxel_at_its_place(grid):
    """By ITK's own rule: origin + direction (spacing * index), in LPS mm."""
    frame = grid.itk_frame("a test")
    index = np.array(grid.shape) - 1
    in_lps = frame.origin + frame.direction @ (frame.spacing * index)
    np.testing.assert_allclose(flip_ras_lps(in_lps), grid.to_world(index), atol=1e-9)


@given(grids())
@settings(max_examples=20, deadline=None)
def test_a_matrix_flipped_maps_flipped_points(grid):
    point = np.array([1.0, -2, 3])
    ras = apply_matrix(grid.affine, point)
    lps = apply_matrix(flip_matrix_ras_lps(grid.affine), flip_ras_lps(point))
    np.testing.assert_allclose(flip_ras_lps(lps), ras, atol=1e-9)


def test_itk_has_no_sheared_axes():
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    with pytest.raises(InputError, match="which the reader cannot read"):
        Grid((3, 4, 5), sheared).itk_frame("the reader")


def test_grids_match_by_position_not_by_matrix_entry():
    grid = Grid((200, 200, 200), np.eye(4))
    stretched = np.diag([1 + 1e-5, 1, 1, 1])
    assert not grid.matches(Grid((200, 200, 200), stretched)), "2 micrometres at the far corner"
    assert grid.matches(Grid((200, 200, 200), stretched), tolerance_mm=0.01)
    assert not grid.matches(Grid((200, 200, 199), np.eye(4)))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((3, 4), np.eye(4)),
        ((3, 4, 0), np.eye(4)),
        ((3, 4, 5), np.zeros((4, 4))),
        ((3, 4, 5), np.full((4, 4), np.nan)),
        ((3, 4, 5), np.eye(3)),
    ],
)
def test_a_grid_without_a_place_is_refused(shape, affine):
    with pytest.raises(InputError, match="grid needs"):
        Grid(shape, affine)


def test_a_grid_cannot_be_changed():
    grid = Grid((3, 4, 5), LAS)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 1
