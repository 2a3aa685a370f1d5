"""Laws of slices: their frames, and registration in the plane by every method that takes slices."""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_determinant, jacobian_metrics
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.plane import (
    affine_between,
    lies_as_pictures,
    matrix_between,
    plane_frame,
    stays_in_plane,
    with_axis_last,
)
from diffeode.geometry.space import RAS_TO_LPS, Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField, densify, warp_image
from diffeode.prepare.slice_alignment import align_slices
from diffeode.prepare.slices import prepare_slice
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, register
from diffeode.registration.registry import make_method, method_class, method_names

PICTURE = Grid((72, 84, 1), RAS_TO_LPS)
CORONAL = Grid(
    (72, 84, 1),
    np.array([[-0.8, 0, 0, 30], [0, 0.1, 1.58, 12], [0, 0.79, -0.2, -20], [0, 0, 0, 1.0]]),
)
FEW = {
    "identity": {},
    "neural-ode": {"levels": {"factors": [2, 1], "iterations": [25, 15]}},
    "ants-syn": {"iterations": [40, 20]},
    "greedy": {"iterations": [40, 20]},
}
"""Settings with which each method that takes slices is quick."""


def tissue(grid, seed=3):
    """Return a prepared slice: a textured disc on background 0."""
    x, y = grid.shape[:2]
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(x, y)), 2.5)
    noise = (noise - noise.min()) / np.ptp(noise)
    i, j = np.meshgrid(np.arange(x), np.arange(y), indexing="ij")
    disc = ((i - x / 2) / (0.38 * x)) ** 2 + ((j - y / 2) / (0.38 * y)) ** 2 < 1
    return Image(np.where(disc, 0.1 + 0.9 * noise, 0)[..., None], grid)


def bent(grid, amount_vox):
    """Return a smooth map of the slice into itself."""
    x, y = grid.shape[:2]
    i, j = np.meshgrid(np.arange(x), np.arange(y), indexing="ij")
    wave = np.stack(
        [
            np.sin(np.pi * i / x) * np.sin(2 * np.pi * j / y),
            np.sin(2 * np.pi * i / x) * np.sin(np.pi * j / y),
            np.zeros_like(i, dtype=float),
        ],
        axis=-1,
    )
    return DisplacementField(grid.vectors_to_world(amount_vox * wave[:, :, None]), grid)


def in_plane_distance_vox(one, other, image):
    points = image.grid.to_world(np.argwhere(image.data > 0).astype(float))
    return np.linalg.norm(one(points) - other(points), axis=-1) / image.grid.spacing[:2].min()


@pytest.fixture(params=[name for name in method_names() if method_class(name).takes_slices])
def method(request):
    return make_method(request.param, FEW[request.param])


@pytest.mark.parametrize("grid", [PICTURE, CORONAL], ids=["picture", "oblique coronal"])
def test_a_slice_registered_to_itself_stays_where_it_is(method, grid):
    image = tissue(grid)
    result = register(method, Task(image, image, image, Affine()), Machine())
    assert np.abs(result.warp.displacement_mm).max() < 0.05
    assert np.abs(result.inverse_warp.displacement_mm).max() < 0.05


@pytest.mark.parametrize("grid", [PICTURE, CORONAL], ids=["picture", "oblique coronal"])
def test_a_known_warp_is_recovered_in_the_plane(method, grid):
    fixed, true = tissue(grid), bent(grid, 3.0)
    moving = warp_image(fixed, densify_inverse(true), grid)
    result = register(method, Task(fixed, moving, moving, Affine()), Machine())
    before = in_plane_distance_vox(Affine(), true, fixed)
    after = in_plane_distance_vox(result.warp, true, fixed)
    if method.title == "Initial":
        assert np.median(after) == pytest.approx(np.median(before))
        return
    assert np.median(before) > 1.5
    assert np.median(after) < 0.35 * np.median(before)
    out_of_plane = plane_frame(grid).inverse()(grid.points_mm() + result.warp.displacement_mm)[
        ..., 2
    ]
    assert np.abs(out_of_plane).max() < 1e-3
    assert result.verdict.signs["folds_percent"] == 0


def densify_inverse(field):
    from diffeode.geometry.transform import invert

    return invert(field, field.grid)


@pytest.mark.parametrize("name", [n for n in method_names() if not method_class(n).takes_slices])
def test_a_method_without_slices_says_so(name):
    from diffeode.registration.base import require_slices_taken

    with pytest.raises(InputError, match="registers volumes, and this pair consists of slices"):
        require_slices_taken(method_class(name), PICTURE)


# ------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("grid", [PICTURE, CORONAL])
def test_the_frame_of_a_plane_is_rigid_and_holds_the_slice(grid):
    frame = plane_frame(grid)
    linear = frame.matrix[:3, :3]
    assert np.linalg.det(linear) == pytest.approx(1)
    assert frame.inverse()(grid.points_mm())[..., 2] == pytest.approx(0, abs=1e-9)


def test_plane_coordinates_of_a_picture_are_its_columns_and_rows():
    points = plane_frame(PICTURE).inverse()(PICTURE.points_mm())
    assert points[5, 9, 0] == pytest.approx([5, 9, 0])


def test_slices_whose_arrays_run_otherwise_have_one_frame():
    """The frame belongs to the body, not to the order in which a file stores the pixels."""
    turned = Grid((84, 72, 1), CORONAL.affine[:, [1, 0, 2, 3]])
    mirrored = CORONAL.affine @ np.array([[-1, 0, 0, 71], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for other in (turned, Grid((72, 84, 1), mirrored)):
        assert plane_frame(other).matrix == pytest.approx(plane_frame(CORONAL).matrix)


def test_an_affine_of_the_plane_survives_the_way_through_space():
    matrix = np.array([[0.9, -0.3, 4.0], [0.2, 1.1, -7.0], [0, 0, 1]])
    whole = affine_between(matrix, PICTURE, CORONAL)
    assert matrix_between(whole, PICTURE, CORONAL) == pytest.approx(matrix)
    there = plane_frame(CORONAL).inverse()(whole(PICTURE.points_mm()))
    assert there[..., 2] == pytest.approx(0, abs=1e-9)


def test_the_thin_axis_can_be_any():
    grid = Grid((5, 1, 7), np.diag([2.0, 3.0, 4.0, 1.0]))
    flat = with_axis_last(grid, 1)
    assert flat.shape == (5, 7, 1)
    assert flat.to_world(np.array([2, 3, 0])) == pytest.approx(grid.to_world(np.array([2, 0, 3])))


# ---------------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("degrees", [0, 40, 145, 270])
@pytest.mark.parametrize("grid", [PICTURE, CORONAL], ids=["picture", "oblique coronal"])
def test_any_rotation_is_found(degrees, grid):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = (
        matrix_between(Affine(), grid, grid)[:2, :2]
        @ plane_frame(grid).inverse()(grid.centre_mm)[:2]
    )
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = centre + np.array([2, -3]) - turn @ centre
    true = affine_between(matrix, grid, grid)
    fixed = tissue(grid)
    moving = warp_image(fixed, true.inverse(), grid)
    found = align_slices(fixed, moving, "affine", 1, 1)
    assert np.median(in_plane_distance_vox(found, true, fixed)) < 0.5


# ---------------------------------------------------------------------------------- files of slices


def test_simpleitk_reads_the_map_of_a_picture(tmp_path):
    """As a 2-D field of two components, in columns and rows."""
    field = bent(PICTURE, 4.0)
    assert stays_in_plane(field)
    io.write_displacement(tmp_path / "warp.nii.gz", field)
    read = SimpleITK.ReadImage(str(tmp_path / "warp.nii.gz"), SimpleITK.sitkVectorFloat64)
    assert (read.GetDimension(), read.GetNumberOfComponentsPerPixel()) == (2, 2)
    transform = SimpleITK.DisplacementFieldTransform(read)
    image = tissue(PICTURE)
    picture = SimpleITK.GetImageFromArray(image.data[..., 0].T)
    warped = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(picture, picture, transform, SimpleITK.sitkLinear)
    ).T
    ours = warp_image(image, field, PICTURE).data[..., 0]
    assert np.abs(warped - ours).max() < 1e-4
    place = (20.25, 31.5)
    expected = plane_frame(PICTURE).inverse()(
        field(plane_frame(PICTURE)(np.array([[*place, 0.0]])))
    )[0]
    assert transform.TransformPoint(place) == pytest.approx(expected[:2], abs=1e-4)


def test_the_map_of_a_slice_is_read_back_to_the_bit(tmp_path):
    for grid in (PICTURE, CORONAL):
        field = bent(grid, 4.0)
        io.write_displacement(tmp_path / "warp.nii.gz", field)
        read = io.read_displacement(tmp_path / "warp.nii.gz")
        assert read.grid.matches(grid)
        assert np.array_equal(read.displacement_mm, field.displacement_mm)
    assert not lies_as_pictures(CORONAL)


def test_determinants_leave_out_an_affine_into_another_plane():
    matrix = np.array([[0.9, -0.3, 4.0], [0.2, 1.1, -7.0], [0, 0, 1]])
    alignment = affine_between(matrix, PICTURE, CORONAL)
    whole = densify(alignment, PICTURE)
    assert jacobian_determinant(whole, alignment)[1:-1, 1:-1] == pytest.approx(1, abs=1e-3)
    metrics = jacobian_metrics(whole, np.ones(PICTURE.shape, dtype=bool), alignment)
    assert metrics["min_jacobian"] == pytest.approx(1, abs=1e-3)
    assert metrics["folds_onesided_grid_percent"] == 0


def test_determinants_of_a_slice_are_those_in_its_plane():
    doubled = np.eye(3)
    doubled[0, 0] = 1.5
    for grid in (PICTURE, CORONAL):
        field = densify(affine_between(doubled, grid, grid), grid)
        inside = jacobian_determinant(field)[1:-1, 1:-1, 0]
        assert inside == pytest.approx(1.5, abs=1e-3)
        mask = np.ones(grid.shape, dtype=bool)
        metrics = jacobian_metrics(field, mask)
        assert metrics["min_jacobian"] == pytest.approx(1.5, abs=1e-3)
        flipped = DisplacementField(-2.5 * field.displacement_mm, grid)
        assert jacobian_metrics(flipped, mask)["folds_central_percent"] == 100


# --------------------------------------------------------------------------------------- background


def shown(values):
    return Image(values[..., None], PICTURE)


def test_white_grey_and_black_backgrounds_become_0_and_tissue_the_brighter():
    image = tissue(PICTURE).data[..., 0]
    disc = image > 0
    noise = np.random.default_rng(0).normal(size=image.shape)
    for background, sign in ((240, -1), (180, -1), (12, 1)):
        values = (background + sign * 100 * np.where(disc, 0.4 + image, 0) + 2 * noise).astype("f4")
        found = prepare_slice(shown(values), "slice")
        assert found.level == pytest.approx(background, abs=6)
        assert (found.tissue[..., 0] == disc).mean() > 0.93
        assert (found.image.data[..., 0][~found.tissue[..., 0]] == 0).all()
        inside = ndimage.binary_erosion(disc, iterations=4)
        assert np.corrcoef(found.image.data[..., 0][inside], image[inside])[0, 1] > 0.97


def test_padding_is_background_and_a_slice_without_background_keeps_all():
    image = tissue(PICTURE).data[..., 0]
    texture = tissue(PICTURE, 9).data[20:50, 20:60]
    padded = prepare_slice(shown(np.where(image > 0, 50 * image, 0).astype("f4")), "slice")
    assert np.array_equal(padded.tissue[..., 0], image > 0)
    full = Image(texture, Grid((30, 40, 1), RAS_TO_LPS))
    found = prepare_slice(full, "slice")
    assert found.level is None
    assert found.tissue.all()


# ------------------------------------------------------------------------------------ large slices


def test_a_slice_of_many_pixels_is_registered_on_fewer_and_mapped_on_all(monkeypatch):
    from diffeode.registration import large_slices

    monkeypatch.setattr(large_slices, "MOST_PIXELS", 2000)
    seen = []

    class Probe(type(make_method("identity", {}))):
        def register(self, pair, machine):
            seen.append(pair)
            return super().register(pair, machine)

    image = tissue(PICTURE)
    result = register(Probe(), Task(image, image, image, Affine()), Machine())
    (pair,) = seen
    assert pair.fixed.grid.shape == (36, 42, 1)
    assert result.warp.grid.shape == PICTURE.shape
    first, last = (pair.fixed.grid.to_world(np.array(v)) for v in ([0, 0, 0], [35, 41, 0]))
    assert flip_ras_lps(first) == pytest.approx([0.5, 0.5, 0])
    assert flip_ras_lps(last) == pytest.approx([70.5, 82.5, 0])
    assert pair.fixed.data.mean() == pytest.approx(image.data.mean(), rel=0.02)


def test_the_rim_of_tissue_within_padding_is_no_background():
    """Fluid around a brain is the brightest of its slice, and dyed tissue has a pale rim."""
    disc = tissue(PICTURE).data[..., 0] > 0
    rim = disc & ~ndimage.binary_erosion(disc, iterations=3)
    inner = np.random.default_rng(2).uniform(40, 160, disc.shape)
    for outside, edge in ((0, 190), (245, 200)):
        values = np.where(disc, np.where(rim, edge, inner), outside).astype("f4")
        found = prepare_slice(shown(values), "slice")
        assert np.array_equal(found.tissue[..., 0], disc)


def test_a_lit_slice_within_black_padding_has_the_light_as_background():
    image = tissue(PICTURE).data[..., 0]
    noise = np.random.default_rng(1).normal(size=image.shape)
    values = np.where(image > 0, 150 - 100 * image, 235) + noise
    values[:9] = values[-9:] = 0
    found = prepare_slice(shown(values.astype("f4")), "slice")
    assert found.level == pytest.approx(235, abs=6)
    inside = ndimage.binary_erosion(image > 0, iterations=3)
    inside[:12] = inside[-12:] = False
    assert found.tissue[..., 0][inside].all()
    assert (found.tissue[..., 0] == (image > 0)).mean() > 0.9
