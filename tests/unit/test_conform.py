"""Conforming: anatomy keeps its place in millimetres, there and back, whatever the scan's grid."""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffeode import io
from diffeode.errors import InputError
from diffeode.image import Image
from diffeode.prepare.conform import SIDE, conform, conformed_grid, labels_back, mask_back
from diffeode.space import Grid

CENTRE, RADII = np.array([8.0, -14.0, 11.0]), np.array([60.0, 75.0, 52.0])


def grid_about(shape, axes, centre=(5.0, -10.0, 3.0)):
    """A grid with ``axes (3, 3)``, mm a voxel in the columns, about ``centre``."""
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = np.array(centre) - axes @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


GRIDS = {
    "las": grid_about((180, 220, 190), np.diag([-1.0, 1, 1])),
    "psr-2mm": grid_about((110, 95, 95), np.array([[0, 0, 2.0], [-2.0, 0, 0], [0, 2.0, 0]])),
    "fine": grid_about((260, 300, 260), np.diag([0.7, 0.7, 0.7])),
    "anisotropic": grid_about((190, 210, 40), np.diag([1.0, 1, 4.5])),
    "oblique": grid_about((190, 220, 190), Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix()),
}


def inside(points_mm, scale=1.0):
    return np.linalg.norm((points_mm - CENTRE) / (RADII * scale), axis=-1) <= 1


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", GRIDS)
def test_anatomy_keeps_its_place_there_and_back(name):
    grid = GRIDS[name]
    truth = inside(grid.points_mm())
    conformed = conform(Image(100.0 * truth, grid))
    assert conformed.grid.shape == (SIDE,) * 3
    np.testing.assert_allclose(conformed.grid.spacing, 1)
    assert nib.aff2axcodes(conformed.grid.affine) == ("L", "I", "A")

    there = inside(conformed.grid.points_mm())
    assert dice(conformed.data > 50, there) > 0.985
    assert dice(mask_back(there, conformed.grid, grid), truth) > 0.985

    half = there & (conformed.grid.points_mm()[..., 0] > CENTRE[0])
    labels = labels_back(there.astype(np.int32) * 7 + half * 40, conformed.grid, grid)
    right = truth & (grid.points_mm()[..., 0] > CENTRE[0])
    assert set(np.unique(labels)) == {0, 7, 47}
    assert dice(labels == 47, right) > 0.97


def test_a_scan_that_freesurfer_conformed_stays_as_it_is(data_root):
    scan = io.read_image(next(data_root.glob("ds000247/**/T1.mgz")))
    conformed = conform(scan)
    assert conformed.grid.matches(scan.grid)
    np.testing.assert_allclose(conformed.data, scan.data, atol=1e-3)


def test_what_exceeds_256_mm_is_left_out_below():
    grid = grid_about((170, 280, 320), np.eye(3))
    box = conformed_grid(grid)
    top = grid.to_world(np.array([0, 0, 319.5]))[2]
    corners = box.to_world(np.array([[-0.5] * 3, [SIDE - 0.5] * 3]))
    assert corners[:, 2].max() == pytest.approx(top)
    np.testing.assert_allclose(corners.mean(axis=0)[:2], grid.centre_mm[:2])
    assert not mask_back(np.ones((SIDE,) * 3, bool), box, grid)[:, :, :60].any()


def test_outside_the_scan_lies_its_least_value():
    conformed = conform(Image(np.random.default_rng(0).random((20, 20, 20)) - 5, GRIDS["las"].crop([0] * 3, [20] * 3)))
    assert conformed.data[0, 0, 0] == pytest.approx(-5, abs=0.01)
    assert conformed.data.max() < -4


@pytest.mark.parametrize(("value", "message"), [(3.0, "constant"), (np.nan, "NaN")])
def test_a_scan_without_contrast_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        conform(Image(np.full((9, 9, 9), value), GRIDS["las"].crop([0] * 3, [9] * 3)))
