"""Displacements of methods, in voxels or in ITK's frame, become one map."""

import numpy as np
import pytest
import torch

from diffeode.errors import RegistrationError
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.registration.displacements import field_of_itk, field_of_tensor, field_of_voxels

AFFINE = np.array([[0.0, -1.5, 0, 3], [2.0, 0, 0, -4], [0, 0, -3.0, 5], [0, 0, 0, 1]])
GRID = Grid((3, 4, 5), AFFINE)
STEP_VOX = np.array([1.0, -2, 0.5], dtype=np.float32)
VOXELS = np.broadcast_to(STEP_VOX, (*GRID.shape, 3)) * (1 + GRID.voxels(np.float32))
WAYS = {
    "voxels": lambda values: field_of_voxels(values, GRID, "It", "; train it"),
    "tensor": lambda values: field_of_tensor(
        torch.from_numpy(np.moveaxis(values, -1, 0)[None].copy()), GRID, "It", "; train it"
    ),
    "ITK": lambda values: field_of_itk(
        flip_ras_lps(GRID.vectors_to_world(values)).transpose(2, 1, 0, 3), GRID, "It"
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_displacement_in_any_frame_leads_to_the_same_points(way):
    """A point and its voxel displacement added up in voxels, then taken to RAS mm."""
    expected = GRID.to_world(GRID.voxels() + VOXELS)
    np.testing.assert_allclose(way(VOXELS)(GRID.points_mm()), expected, rtol=1e-6)


@pytest.mark.parametrize("way", WAYS, ids=WAYS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_displacements_that_are_not_finite_are_a_failure_of_the_method(way, value):
    spoiled = VOXELS.copy()
    spoiled[1, 2, 3, 0] = value
    with pytest.raises(RegistrationError) as error:
        WAYS[way](spoiled)
    remedy = "" if way == "ITK" else "; train it"
    assert str(error.value) == f"It returned displacements that are not finite{remedy}."
