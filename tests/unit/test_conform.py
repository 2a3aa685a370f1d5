"""Conforming: anatomy keeps its place in millimetres, there and back, whatever the scan's grid."""

import importlib

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid

conforming = importlib.import_module("diffeode.prepare.conform")

SMALL = 72
CENTRE, RADII = np.array([2.0, -4.0, 3.0]), np.array([21.0, 26.0, 18.0])


def grid_about(shape, axes, centre=(1.0, -2.0, 0.5)):
    """A grid with ``axes (3, 3)``, mm a voxel in the columns, about ``centre``."""
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = np.array(centre) - axes @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


GRIDS = {
    "las": grid_about((60, 66, 58), np.diag([-1.0, 1, 1])),
    "psr-2mm": grid_about((35, 32, 30), np.array([[0, 0, 2.0], [-2.0, 0, 0], [0, 2.0, 0]])),
    "fine": grid_about((90, 100, 90), np.diag([0.7, 0.7, 0.7])),
    "anisotropic": grid_about((60, 66, 22), np.diag([1.0, 1, 3.0])),
    "oblique": grid_about(
        (62, 70, 60), Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix()
    ),
}
LEAST = {"las": 1.0, "psr-2mm": 0.97, "fine": 0.98, "anisotropic": 0.96, "oblique": 0.98}
"""The Dice that voxels of that size can reach; the LAS voxels coincide with those of the conformed
grid.
"""


@pytest.fixture
def small_side(monkeypatch):
    """A conformed grid of 72 mm instead of 256, to save time."""
    monkeypatch.setattr(conforming, "SIDE", SMALL)


def inside(points_mm):
    return np.linalg.norm((points_mm - CENTRE) / RADII, axis=-1) <= 1


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", GRIDS)
def test_anatomy_keeps_its_place_there_and_back(name, small_side):
    grid = GRIDS[name]
    truth = inside(grid.points_mm())
    conformed = conforming.conform(Image(100.0 * truth, grid))
    points = conformed.grid.points_mm()
    there = inside(points)
    assert dice(conformed.data > 50, there) >= LEAST[name]
    assert dice(conforming.mask_back(there, conformed.grid, grid), truth) >= max(LEAST[name], 0.98)

    labels = conforming.labels_back(
        7 * there + 40 * (there & (points[..., 0] > 2)), conformed.grid, grid
    )
    assert set(np.unique(labels)) == {0, 7, 47}
    assert dice(labels == 47, truth & (grid.points_mm()[..., 0] > 2)) > 0.95


def test_the_grid_is_freesurfers():
    grid = conforming.conformed_grid(GRIDS["oblique"])
    assert grid.shape == (256, 256, 256)
    np.testing.assert_allclose(grid.spacing, 1)
    assert nib.aff2axcodes(grid.affine) == ("L", "I", "A")
    np.testing.assert_allclose(grid.centre_mm, GRIDS["oblique"].centre_mm)


def test_a_scan_that_freesurfer_conformed_stays_as_it_is(data_root):
    scan = io.read_image(next(data_root.glob("ds000247/**/T1.mgz")))
    conformed = conforming.conform(scan)
    assert conformed.grid.matches(scan.grid)
    assert np.abs(conformed.data - scan.data).max() < 0.01


def test_what_exceeds_256_mm_is_left_out_below():
    grid = grid_about((17, 28, 32), np.diag([10.0, 10, 10]))
    box = conforming.conformed_grid(grid)
    corners = box.to_world(np.array([[-0.5] * 3, [255.5] * 3]))
    assert corners[:, 2].max() == pytest.approx(grid.to_world(np.array([0, 0, 31.5]))[2])
    np.testing.assert_allclose(corners.mean(axis=0)[:2], grid.centre_mm[:2])
    back = conforming.mask_back(np.ones(box.shape, bool), box, grid)
    assert not back[:, :, :6].any()
    assert back[8, 14, 7:].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_finer_than_a_millimetre_is_smoothed_and_no_other(small_side, axis):
    """A bright voxel of 0.5 mm becomes a Gaussian whose FWHM is sqrt(1 - 0.5^2) mm along the fine
    axis; axes of 1 mm stay sharp.
    """
    fine = np.arange(3) == axis
    grid = grid_about(
        tuple(np.where(fine, 41, 42)), np.diag(np.where(fine, 0.5, 1.0)), centre=(0.0, 0.0, 0.0)
    )
    data = np.zeros(grid.shape)
    data[tuple(np.where(fine, 21, 20))] = 1
    conformed = conforming.conform(Image(data, grid))
    bright = np.unravel_index(conformed.data.argmax(), conformed.data.shape)
    along = {0: 0, 1: 2, 2: 1}[axis]  # the conformed axes run to the left, the feet and the front
    for step in range(3):
        beside = [tuple(np.array(bright) + sign * (np.arange(3) == step)) for sign in (-1, 1)]
        found = [conformed.data[place] / conformed.data[bright] for place in beside]
        sigma = np.sqrt(1 - 0.5**2) / 2.35482
        expected = np.exp(-0.5 / sigma**2) if step == along else 0
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-6)


def test_outside_the_scan_lies_its_least_value(small_side):
    grid = GRIDS["las"].crop([0] * 3, [20] * 3)
    conformed = conforming.conform(Image(np.random.default_rng(0).random((20, 20, 20)) - 5, grid))
    assert conformed.data[0, 0, 0] == pytest.approx(-5, abs=0.01)
    assert -5 <= conformed.data.min() < conformed.data.max() < -4


@pytest.mark.parametrize(("value", "message"), [(3.0, "constant"), (np.nan, "NaN")])
def test_a_scan_without_contrast_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        conforming.conform(Image(np.full((9, 9, 9), value), GRIDS["las"].crop([0] * 3, [9] * 3)))
