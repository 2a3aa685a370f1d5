"""Every verb on slices: pictures in their own colours, pixels of landmarks, inverses, areas.

The maps are written down and not registered, and SimpleITK says in 2-D what each must give.
"""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import SimpleITK as sitk  # noqa: N813

import diffeode as de
from diffeode.cli import main
from diffeode.desk import transforming
from diffeode.desk.pictures import warped_picture
from diffeode.files import io
from diffeode.files.pictures import read_picture
from diffeode.files.series import read_grid_of_series
from diffeode.geometry.maps import Inverse, nearest_affine
from diffeode.geometry.plane import laid_flat, with_thin_axis
from diffeode.geometry.space import RAS_TO_LPS, Grid
from diffeode.geometry.transform import Affine, DisplacementField

FIXED, MOVING = Grid((40, 36, 1), RAS_TO_LPS), Grid((38, 44, 1), RAS_TO_LPS)
ANGLE = np.deg2rad(100)
"""A turn by more than a right angle, as slides lie on their glass."""


def turned(points):
    """Where the map sends pixels ``(..., 2)`` of the fixed picture, pixels of the moving one."""
    x, y = np.moveaxis(points - (19.5, 17.5), -1, 0)
    bent = np.stack([x + 0.8 * np.sin(y / 5), y + 0.8 * np.cos(x / 6)], axis=-1)
    turn = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
    return bent @ turn.T + (18.5, 21.5)


def field(grid, mapped):
    """The map of pixels ``mapped`` as a field of a slice that lies as pictures do."""
    pixels = grid.voxels()[..., :2]
    moved = np.zeros((*grid.shape, 3))
    moved[..., :2] = pixels - mapped(pixels)  # RAS: against the columns and the rows
    return DisplacementField(moved, grid)


WARP = field(FIXED, turned)
BACK = DisplacementField(Inverse(WARP)(MOVING.points_mm()) - MOVING.points_mm(), MOVING)


def painted(grid, colours=3):
    """A disc of tissue in colours on white, ``(Y, X, colours)`` uint8."""
    x, y = np.moveaxis(grid.voxels()[:, :, 0, :2] - np.array(grid.shape[:2]) / 2, -1, 0)
    waves = [100 + 50 * np.sin(x / 3 + n) * np.cos(y / 4 - n) for n in range(colours)]
    disc = np.hypot(x, y)[..., None] < 15
    return np.where(disc, np.stack(waves, axis=-1), 250).astype(np.uint8).swapaxes(0, 1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A registration of two pictures with label maps, and the working folder in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OUT").mkdir()
    io.write_displacement("OUT/warp.nii.gz", WARP)
    io.write_displacement("OUT/inverse_warp.nii.gz", BACK)
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        PIL.Image.fromarray(painted(grid)).save(f"{name}.png")
        PIL.Image.fromarray(painted(grid)[..., 0]).save(f"{name}_grey.png")
        PIL.Image.fromarray(7 * (painted(grid)[..., 0] < 200).astype(np.uint8)).save(
            f"{name}_dseg.png"
        )
    return tmp_path


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("diffeode: ")
    assert said.count("\n") == 1, said
    return said


def pixels(name):
    return np.asarray(PIL.Image.open(name))


def of_itk(file, fixed, channel, way=sitk.sitkLinear, outside=250.0):
    """One colour of the moving picture where SimpleITK resamples it through a 2-D field."""
    warp = sitk.DisplacementFieldTransform(sitk.ReadImage(file, sitk.sitkVectorFloat64))
    moving = sitk.GetImageFromArray(channel.astype(np.float64))
    fixed = sitk.GetImageFromArray(np.zeros(fixed.shape[1::-1]))
    return sitk.GetArrayFromImage(sitk.Resample(moving, fixed, warp, way, outside))


# ------------------------------------------------------------------------------ pictures, resampled


@pytest.mark.parametrize("name", ["out.png", "out.tif"])
def test_every_colour_is_warped_as_itk_warps_it(folder, name):
    assert run("apply", "OUT/warp.nii.gz", "moving.png", "-o", name) == 0
    result = pixels(name)
    assert (result.shape, result.dtype) == ((36, 40, 3), np.uint8)
    for n in range(3):
        theirs = of_itk("OUT/warp.nii.gz", FIXED, painted(MOVING)[..., n])
        assert np.abs(result[..., n] - theirs).max() <= 0.51
    corner = of_itk("OUT/warp.nii.gz", FIXED, painted(MOVING)[..., 0], outside=-1) == -1
    assert corner.any()
    assert (result[corner] == 250).all(), "the colour of the background lies around the picture"
    assert run("apply", "OUT/warp.nii.gz", "moving.png", "-o", "b.png", "--background", 3) == 0
    assert (pixels("b.png")[corner] == 3).all()


def test_kinds_of_pictures_stay(folder, capsys):
    deep = painted(MOVING)[..., 0].astype(np.uint16) * 200
    PIL.Image.fromarray(deep).save("deep.tif")
    clear = np.dstack([painted(MOVING), np.full((44, 38), 255, np.uint8)])
    clear[:5, :, 3] = 0
    PIL.Image.fromarray(clear).save("clear.png")
    images = ["moving.png", "deep.tif", "clear.png", "moving_dseg.png", "moving_grey.png"]
    assert run("apply", "OUT/warp.nii.gz", *images, "-o", "W") == 0
    assert sorted(path.name for path in (folder / "W").iterdir()) == sorted(images)
    assert "moving_dseg.png looks like a label map" in (said := capsys.readouterr().err)
    assert "moving_grey.png looks" not in said
    assert pixels("W/deep.tif").dtype == np.uint16
    assert np.abs(pixels("W/deep.tif") - 200.0 * pixels("W/moving_grey.png")).max() <= 101
    assert pixels("W/clear.png").shape == (36, 40, 4)
    nearest = of_itk(
        "OUT/warp.nii.gz", FIXED, pixels("moving_dseg.png"), sitk.sitkNearestNeighbor, 0
    )
    assert (pixels("W/moving_dseg.png") != nearest).mean() < 0.005
    assert set(np.unique(pixels("W/moving_dseg.png"))) == {0, 7}
    assert run("apply", "OUT/warp.nii.gz", "moving.png", "-o", "colours.nii.gz") == 0
    nifti = nib.load("colours.nii.gz")
    assert nifti.shape == (40, 36, 1, 3)
    assert np.abs(nifti.get_fdata()[:, :, 0].swapaxes(0, 1) - pixels("W/moving.png")).max() <= 0.5


def half_a_pixel():
    """A map by half a pixel along the rows."""
    return field(FIXED, lambda points: points + np.array([0.5, 0.0]))


@pytest.mark.parametrize("colours", [1, 3])
def test_hidden_colours_do_not_bleed_into_visible_ones(folder, colours):
    chance = np.random.default_rng(colours)
    given = chance.integers(0, 256, (36, 40, colours + 1)).astype(np.uint8)
    given[:, 10:20, -1] = 0
    given[:, 20:, -1] = 255
    PIL.Image.fromarray(given).save("seen.png")
    io.write_displacement("half.nii.gz", half_a_pixel())
    line = ["apply", "half.nii.gz", "seen.png", "-o"]
    assert run(*line, "o.png") == 0
    found = pixels("o.png")[:, :-1].astype(float)
    here, there = given[:, :-1].astype(float), given[:, 1:].astype(float)
    opacity = here[..., -1:] + there[..., -1:]
    weighted = here[..., :-1] * here[..., -1:] + there[..., :-1] * there[..., -1:]
    seen = opacity[..., 0] > 0
    assert np.abs(found[..., -1:] - opacity / 2).max() <= 0.5 + 1e-3
    assert np.abs(found[..., :-1] - weighted / np.maximum(opacity, 1))[seen].max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(found[:, 19, :-1], given[:, 20, :-1])
    assert run(*line, "n.png", "--interpolation", "nearest") == 0
    assert {tuple(pixel) for pixel in pixels("n.png")[:, :-1].reshape(-1, colours + 1)} <= {
        tuple(pixel) for pixel in given.reshape(-1, colours + 1)
    }


@pytest.mark.parametrize("interpolation", ["linear", "spline", "nearest"])
@pytest.mark.parametrize("opacity", [255, 40])
def test_even_opacity_changes_no_colour(folder, interpolation, opacity):
    even = np.dstack([painted(MOVING), np.full((44, 38), opacity, np.uint8)])
    PIL.Image.fromarray(even).save("even.png")
    line = ["apply", "OUT/warp.nii.gz", "moving.png", "even.png", "-o", "W"]
    assert run(*line, "--interpolation", interpolation) == 0
    np.testing.assert_array_equal(pixels("W/even.png")[..., :3], pixels("W/moving.png"))
    assert (pixels("W/even.png")[..., 3] == opacity).all()


def test_a_registration_writes_no_hidden_colours_either(folder):
    picture = np.zeros((36, 40, 4), np.uint8)
    picture[:, :20] = 0, 255, 0, 0
    picture[:, 20:] = 200, 10, 30, 255
    PIL.Image.fromarray(picture).save("seen.png")
    tissue = np.zeros(FIXED.shape, bool)
    warped = warped_picture(read_picture("seen.png"), tissue, half_a_pixel(), FIXED)
    between = warped.values.swapaxes(0, 1)[:, 19]
    np.testing.assert_array_equal(between, np.tile([200, 10, 30, 128], (36, 1)))


def test_the_colour_around_a_picture_is_that_of_its_visible_background(folder):
    picture = np.zeros((36, 40, 4), np.uint8)
    picture[:, :15] = 0, 255, 0, 0
    picture[:, 15:28] = 200, 10, 30, 255
    picture[:, 28:] = 200, 100, 30, 255
    PIL.Image.fromarray(picture).save("seen.png")
    away = field(FIXED, lambda points: points + np.array([90.0, 0.0]))
    tissue = np.zeros(FIXED.shape, bool)
    warped = warped_picture(read_picture("seen.png"), tissue, away, FIXED).values
    assert (warped == (200, 10, 30, 255)).all()


def test_an_inverse_leads_back_and_a_chain_is_resampled_once(folder):
    line = ["apply", "fixed.png", "-t", "[OUT/warp.nii.gz,inverse]", "--reference", "moving.png"]
    assert run(*line, "-o", "back.png") == 0
    assert run("apply", "OUT/inverse_warp.nii.gz", "fixed.png", "-o", "known.png") == 0
    assert np.abs(pixels("back.png").astype(int) - pixels("known.png")).max() <= 1
    chain = ["-t", "OUT/warp.nii.gz", "-t", "[OUT/warp.nii.gz,inverse]"]
    assert run("apply", "fixed.png", *chain, "-o", "again.png", "--other-scan") == 0
    inner = np.hypot(*np.meshgrid(np.arange(40) - 20, np.arange(36) - 18)) < 13
    assert np.abs(pixels("again.png").astype(int) - painted(FIXED))[inner].max() <= 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_nifti_keep_their_layout(axis, tmp_path):
    affine = np.diag([0.5, 0.6, 0.7, 1.0])
    affine[:3, 3] = 3, -8, 12
    flat = Grid((20, 18, 1), affine[:, [*np.delete([0, 1, 2], axis), axis, 3]])
    ahead = DisplacementField(
        flat.vectors_to_world(np.broadcast_to([2.0, -1, 0], (20, 18, 1, 3))), flat
    )
    warp = with_thin_axis(ahead, axis)
    np.testing.assert_array_equal(laid_flat(warp, axis).displacement_mm, ahead.displacement_mm)
    io.write_displacement(tmp_path / "warp.nii.gz", warp)
    values = np.random.default_rng(0).uniform(1, 9, (20, 18))
    data = np.expand_dims(values, axis).astype(np.float32)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "moving.nii.gz")
    line = ["apply", tmp_path / "warp.nii.gz", tmp_path / "moving.nii.gz"]
    assert run(*line, "-o", tmp_path / "out.nii.gz") == 0
    found = nib.load(tmp_path / "out.nii.gz")
    assert found.shape == data.shape
    np.testing.assert_allclose(
        np.squeeze(found.get_fdata(), axis)[:-2, 1:], values[2:, :-1], atol=1e-4
    )
    pd.DataFrame({"X": [3.0], "Y": [6.5]}).to_csv(tmp_path / "p.csv", index=False)
    line = ["points", tmp_path / "warp.nii.gz", tmp_path / "p.csv", "-o", tmp_path / "q.csv"]
    assert run(*line, "--moving", tmp_path / "moving.nii.gz") == 0
    np.testing.assert_allclose(pd.read_csv(tmp_path / "q.csv")[["X", "Y"]], [[5, 5.5]], atol=1e-4)
    io.write_displacement(tmp_path / "inverse_warp.nii.gz", warp)
    back = ["points", tmp_path / "q.csv", "-t", f"[{tmp_path / 'warp.nii.gz'},inverse]"]
    assert run(*back, "-o", tmp_path / "r.csv") == 0
    np.testing.assert_allclose(pd.read_csv(tmp_path / "r.csv")[["X", "Y"]], [[3, 6.5]], atol=1e-3)
    assert (
        run(
            "invert",
            tmp_path / "warp.nii.gz",
            "-o",
            tmp_path / "back.nii.gz",
            "--reference",
            tmp_path / "moving.nii.gz",
        )
        == 0
    )
    back = laid_flat(io.read_displacement(tmp_path / "back.nii.gz"), axis).displacement_mm
    np.testing.assert_allclose(back, -ahead.displacement_mm, atol=1e-3)


def test_an_image_of_two_axes_is_a_slice(folder):
    image = sitk.GetImageFromArray(painted(MOVING)[..., 0].astype(np.float32))
    sitk.WriteImage(image, "flat.nii.gz")
    assert run("apply", "OUT/warp.nii.gz", "flat.nii.gz", "-o", "o.nii.gz", "--no-labels") == 0
    theirs = of_itk("OUT/warp.nii.gz", FIXED, painted(MOVING)[..., 0], outside=0)
    found = nib.load("o.nii.gz").get_fdata()[:, :, 0].T
    np.testing.assert_allclose(found, theirs, atol=1e-3)


# ------------------------------------------------------------------------------------------- points

LANDMARKS = np.array([[12.0, 9.5], [20.25, 18], [28, 24]])


def written(name, points, heading="# ,X,Y", numbers=(3, 1, 2)):
    rows = [f"{n},{x},{y}" for n, (x, y) in zip(numbers, points, strict=True)]
    with open(name, "w", encoding="utf-8") as file:
        file.write("\n".join([heading, *rows]) + "\n")


@pytest.mark.parametrize("frame", [(), ("--frame", "voxel"), ("--frame", "lps")])
def test_pixels_of_landmarks_go_where_itk_sends_them(folder, frame):
    written("p.csv", LANDMARKS)
    assert run("points", "OUT/warp.nii.gz", "p.csv", "-o", "q.csv", *frame) == 0
    warp = sitk.DisplacementFieldTransform(
        sitk.ReadImage("OUT/warp.nii.gz", sitk.sitkVectorFloat64)
    )
    moved = pd.read_csv("q.csv")
    assert list(moved.columns) == ["# ", "X", "Y"]
    assert moved["# "].tolist() == [3, 1, 2]
    theirs = [warp.TransformPoint(point) for point in LANDMARKS.tolist()]
    np.testing.assert_allclose(moved[["X", "Y"]], theirs, atol=1e-4)
    np.testing.assert_allclose(moved[["X", "Y"]], turned(LANDMARKS), atol=0.02)
    for back in (
        ["OUT/inverse_warp.nii.gz", "q.csv"],
        ["q.csv", "-t", "[OUT/warp.nii.gz,inverse]"],
    ):
        assert run("points", *back, "-o", "r.csv", "--overwrite", *frame) == 0
        np.testing.assert_allclose(pd.read_csv("r.csv")[["X", "Y"]], LANDMARKS, atol=0.05)


def test_points_of_the_library_know_their_slice(folder):
    written("p.csv", LANDMARKS, "name,x,y")
    points = de.load_points("p.csv", scan="fixed.png")
    np.testing.assert_allclose(points[["x", "y"]], -LANDMARKS)
    assert points["name"].tolist() == ["3", "1", "2"]
    de.save_points("again.csv", points, "voxel", scan="fixed.png")
    again = pd.read_csv("again.csv")
    assert list(again.columns) == ["name", "x", "y"]
    np.testing.assert_allclose(again[["x", "y"]], LANDMARKS)
    with pytest.raises(de.InputError, match="give that slice"):
        de.load_points("p.csv")


# ---------------------------------------------------------------- inverses, chains, areas, files


def test_the_affine_of_a_slice_leads_from_plane_to_plane():
    upright = Grid((12, 9, 1), np.array([[0, 0, 1.0, 5], [2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 0, 1]]))
    matrix = np.array([[0, -1.2, 0, 4], [1.1, 0.1, 0, -3], [0.1, 0, 1, 2], [0, 0, 0, 1.0]])
    points = upright.points_mm()
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    found = nearest_affine(DisplacementField(moved - points, upright))
    np.testing.assert_allclose(found(points), moved, atol=1e-4)
    back = Inverse(DisplacementField(moved - points, upright))
    np.testing.assert_allclose(back(moved), points, atol=2e-3)


def test_transforms_in_the_plane_stay_there(folder):
    plane = sitk.AffineTransform(2)
    plane.SetMatrix((1.1, 0.2, -0.1, 0.9))
    plane.SetTranslation((3.0, -2.0))
    sitk.WriteTransform(plane, "affine.txt")
    point = (11.0, 7.0)
    for suffix in (".txt", ".tfm", ".mat", ".h5"):
        assert run("invert", "affine.txt", "-o", f"back{suffix}") == 0
        back = sitk.ReadTransform(f"back{suffix}")
        assert back.GetDimension() == 2
        np.testing.assert_allclose(
            back.TransformPoint(plane.TransformPoint(point)), point, atol=1e-6
        )
    assert run("compose", "OUT/warp.nii.gz", "affine.txt", "-o", "both.h5") == 0
    both = sitk.ReadTransform("both.h5")
    warp = sitk.DisplacementFieldTransform(
        sitk.ReadImage("OUT/warp.nii.gz", sitk.sitkVectorFloat64)
    )
    expected = plane.TransformPoint(warp.TransformPoint(point))
    np.testing.assert_allclose(both.TransformPoint(point), expected, atol=1e-4)
    ras = de.load_transform("both.h5").map([-point[0], -point[1], 0])
    np.testing.assert_allclose(ras, [-expected[0], -expected[1], 0], atol=1e-4)
    line = ["invert", "OUT/warp.nii.gz", "--reference", "moving.png", "-o", "own.nii.gz"]
    assert run(*line) == 0
    own = io.read_displacement("own.nii.gz")
    np.testing.assert_allclose(own.displacement_mm, BACK.displacement_mm, atol=2e-3)
    assert de.load_transform("OUT").to_nibabel().shape == (40, 36, 1, 1, 2)


def test_areas_are_those_in_the_plane(folder, capsys):
    io.write_displacement("wide.nii.gz", field(FIXED, lambda p: p * (2, 1.5)))
    assert run("jacobian", "wide.nii.gz", "-o", "log.nii.gz") == 0
    assert "|J| from 3 to 3" in capsys.readouterr().out
    np.testing.assert_allclose(nib.load("log.nii.gz").get_fdata(), np.log(3), atol=1e-4)
    folding = WARP.displacement_mm.copy()
    folding[20, 18, 0, 0] += 6
    io.write_displacement("fold.nii.gz", DisplacementField(folding, FIXED))
    line = ["jacobian", "fold.nii.gz", "-o", "l.nii.gz", "--folds", "f.nii.gz"]
    assert run(*line) == 0
    said = capsys.readouterr().out
    assert "of the inner pixels" in said
    assert " 0 % (one-sided" not in said
    folds = io.read_labels("f.nii.gz").data
    assert folds[20, 18, 0] == 1
    assert 0 < folds.sum() < 12
    upright = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    points = FIXED.points_mm()
    moved = Affine(upright)(points) - points
    io.write_displacement("over.nii.gz", DisplacementField(moved, FIXED))
    assert "into another plane" in refused(capsys, "jacobian", "over.nii.gz", "-o", "x.nii.gz")
    io.write_itk_affine("upright.txt", Affine(upright))
    assert run("jacobian", "over.nii.gz", "-o", "x.nii.gz", "--affine", "upright.txt") == 0
    assert "|J| from 1 to 1" in capsys.readouterr().out


def test_maps_of_slices_are_measured(folder):
    written("here.csv", LANDMARKS)
    written("there.csv", turned(LANDMARKS) + np.array([[3, 4], [0, 0], [0, 1]]))
    line = ["evaluate", "OUT/warp.nii.gz", "fixed.png", "moving.png"]
    line += ["--inverse", "OUT/inverse_warp.nii.gz", "--fixed-labels", "fixed_dseg.png"]
    line += ["--labels", "moving_dseg.png", "--fixed-landmarks", "here.csv"]
    assert run(*line, "--landmarks", "there.csv", "-o", "m.json") == 0
    found = json.loads((folder / "m.json").read_text())
    assert found["metrics"]["tre_mm"] == pytest.approx(2, abs=0.02)
    assert found["metrics"]["tre_max_mm"] == pytest.approx(5, abs=0.02)
    warped = of_itk(
        "OUT/warp.nii.gz", FIXED, pixels("moving_dseg.png"), sitk.sitkNearestNeighbor, 0
    )
    both = [pixels("fixed_dseg.png") == 7, warped == 7]
    dice = 2 * (both[0] & both[1]).sum() / sum(part.sum() for part in both)
    assert found["dice_by_label"]["7"] == pytest.approx(dice, abs=2e-3)
    assert found["metrics"]["folds_onesided_percent"] == 0
    assert found["metrics"]["inverse_consistency_mm"] < 0.05


def test_landmarks_of_slices_are_pixels_where_a_registration_is_asked_for(folder):
    written("here.csv", LANDMARKS, "name,x,y")
    written("there.csv", LANDMARKS + np.array([3, 4]), "name,x,y")
    line = ["register", "fixed.png", "moving.png", "-o", "R", "--method", "identity"]
    line += ["--init", "identity", "--threads", "1", "--quiet", "--no-report"]
    assert run(*line, "--landmarks", "here.csv", "there.csv") == 0
    metrics = json.loads((folder / "R/metrics.json").read_text())["metrics"]
    assert metrics["tre_mm"] == pytest.approx(5, abs=1e-4)
    given = ("here.csv", "there.csv")
    how = {"method": "identity", "init": "identity", "landmarks": given, "threads": 1}
    done = de.register("fixed.png", "moving.png", **how)
    assert done.metrics["tre_mm"] == pytest.approx(5, abs=1e-4)


def test_an_orientation_tells_where_landmarks_of_a_slice_lie(folder):
    """The headers of both slices leave it open. The map shifts the fixed pixels by one of 2 mm
    along the first axis, so that landmarks at the same pixels are 2 mm apart.
    """
    image = nib.Nifti1Image(painted(FIXED)[..., 0].T[..., None].astype(np.float32), None)
    image.header.set_zooms((2, 2, 2))
    for side in ("fixed", "moving"):
        nib.save(image, f"{side}.nii.gz")
    grid = read_grid_of_series("fixed.nii.gz", "LPS")
    shift = np.zeros((*grid.shape, 3))
    shift[..., 0] = 2
    io.write_displacement("shift.nii.gz", DisplacementField(shift, grid))
    written("p.csv", LANDMARKS, "name,x,y")
    line = ["evaluate", "shift.nii.gz", "fixed.nii.gz", "moving.nii.gz", "-o", "m.json"]
    line += ["--fixed-landmarks", "p.csv", "--landmarks", "p.csv"]
    assert run(*line) == 2
    assert run(*line, "--orientation", "LPS") == 0
    found = json.loads((folder / "m.json").read_text())["metrics"]
    assert found["tre_mm"] == pytest.approx(2, abs=1e-4)


# ----------------------------------------------------------------------------------------- refusals


def test_what_no_slice_allows_is_refused_and_nothing_is_written(folder, capsys):
    solid = Grid((9, 9, 9), np.diag([4.0, 4, 4, 1]))
    io.write_image("volume.nii.gz", de.Image(solid.voxels()[..., 0], solid))
    io.write_displacement("OUT/volumes.nii.gz", DisplacementField(np.zeros((9, 9, 9, 3)), solid))
    PIL.Image.fromarray(np.tile(painted(MOVING), (6, 6, 1))).save("larger.png")
    (folder / "torn.png").write_bytes((folder / "moving.png").read_bytes()[:400])
    written("p.csv", LANDMARKS)
    written("far.csv", [[12.0, 9.5], [99, 4], [20, 20]])
    (folder / "one.csv").write_text("x\n1\n")
    (folder / "there.png").write_bytes(b"mine")
    (folder / "many.tif").write_bytes(b"")
    warp = "OUT/warp.nii.gz"
    apply, points = ("apply", warp), ("points", warp)
    for words, said in (
        ((*apply, "moving.png", "-o", "o.gif"), "is no name for a NIfTI file"),
        ((*apply, "volume.nii.gz", "-o", "o.png"), "is a name for a picture"),
        ((*apply, "volume.nii.gz", "-o", "o.nii.gz"), "was made for a scan in another place"),
        (
            (*apply, "larger.png", "-o", "o.png"),
            "the box of OUT/inverse_warp.nii.gz (38 x 44 pixels)",
        ),
        ((*apply, "torn.png", "-o", "o.png"), "torn.png is truncated or damaged"),
        ((*apply, "many.tif", "-o", "o.png"), "many.tif is empty"),
        ((*apply, "nowhere.png", "-o", "o.png"), "There is no file nowhere.png"),
        ((*apply, "moving.png", "-o", "there.png"), "exists already"),
        ((*apply, "moving.png", "--labels", "-o", "o.png"), "is no label map: it is in colour"),
        ((*apply, "moving.png", "--background", "300", "-o", "o.png"), "from 0 to 255"),
        ((*apply, "moving.png", "moving_grey.png", "-o", "o.png"), "is one file, but there are 2"),
        (
            (*apply, "moving.png", "--reference", "volume.nii.gz", "-o", "o.png"),
            "is a map of slices, and the reference volume.nii.gz is a volume",
        ),
        ((*points, "far.csv", "-o", "o.csv"), "1 at (99.0, 4.0), pixels"),
        ((*points, "one.csv", "-o", "o.csv"), "has no column 'y'"),
        ((*points, "p.csv", "--frame", "ras", "-o", "o.csv"), "has no column 'z'"),
        ((*points, "p.csv", "--output-frame", "ras", "-o", "o.csv"), "choose one of these frames"),
        ((*points, "p.csv", "-o", "o.fcsv"), "end the name in .csv or .tsv"),
        ((*points, "p.csv", "--moving", "volume.nii.gz", "-o", "o.csv"), "into the plane"),
        (("points", "OUT/volumes.nii.gz", "p.csv", "-o", "o.csv"), "is a map of volumes"),
        (
            ("evaluate", warp, "fixed.png", "volume.nii.gz", "-o", "o.json"),
            "give two slices or two",
        ),
        (
            ("evaluate", warp, "moving.png", "moving.png", "-o", "o.json"),
            "that the map was made for",
        ),
        (("invert", warp, "-o", "o.nii.gz"), "give that scan by --reference"),
    ):
        assert said in (found := refused(capsys, *words)), found
    assert not [path.name for path in folder.iterdir() if path.name.startswith(("o.", ".di"))]
    assert (folder / "there.png").read_bytes() == b"mine"
    assert read_picture("moving.png").values.shape == (38, 44, 3)


SOLID, OTHER = (Grid((14, 15, n), np.diag([-4.0, -4, 4, 1])) for n in (9, 8))
"""Volumes about the pixels of both pictures, so that the places of the two tell no error."""


@pytest.mark.parametrize(
    "line",
    [
        "apply {} solid.nii.gz --other-scan --reference {reference} -o o.nii.gz",
        "apply -t [{},inverse] solid.nii.gz --other-scan --reference {reference} -o o.nii.gz",
        "invert {} --reference {reference} -o o.nii.gz",
        "compose {} {} --reference {reference} -o o.nii.gz",
        "jacobian {} --reference {reference} -o o.nii.gz",
        "convert {} --fixed {reference} -o o.h5",
        "convert {} --fixed {reference} --moving other.nii.gz --to fsl -o o.nii.gz",
    ],
)
def test_a_reference_is_of_the_kind_of_its_map(folder, capsys, line):
    io.write_image("solid.nii.gz", de.Image(SOLID.voxels()[..., 0], SOLID))
    io.write_image("other.nii.gz", de.Image(OTHER.voxels()[..., 0], OTHER))
    io.write_displacement(
        "solid_warp.nii.gz", DisplacementField(np.zeros((*SOLID.shape, 3)), SOLID)
    )
    said = refused(capsys, *line.format(*["solid_warp.nii.gz"] * 2, reference="fixed.png").split())
    assert "is a map of volumes, and the reference" in said
    of_pictures = line.replace("solid.nii.gz", "moving.png")
    words = of_pictures.format(*["OUT/warp.nii.gz"] * 2, reference="solid.nii.gz").split()
    assert "is a map of slices, and the reference" in refused(capsys, *words)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(("o.", ".di"))]


def test_the_library_refuses_a_reference_of_another_kind(folder):
    of_volumes = de.Transform.from_displacement(np.zeros((*SOLID.shape, 3)), SOLID)
    for refuse in (of_volumes.to_itk, of_volumes.jacobian, of_volumes.to_nibabel):
        with pytest.raises(de.InputError, match=r"the reference fixed\.png is a picture"):
            refuse("fixed.png")
    flat = de.load_transform("OUT/warp.nii.gz")
    with pytest.raises(de.InputError, match="is a map of slices, and the reference given is"):
        flat.apply("moving.png", SOLID)
    affine = sitk.AffineTransform(2)
    with pytest.raises(de.InputError, match="is a map of slices, and the reference given is"):
        de.Transform.from_itk(affine).apply("moving.png", SOLID)


def test_a_layer_of_a_volume_is_a_reference_of_its_map(folder):
    layer = SOLID.crop([0, 0, 4], [14, 15, 5])
    of_volumes = de.Transform.from_displacement(np.zeros((*SOLID.shape, 3)), SOLID)
    columns = SOLID.voxels()[..., 0] + 0.5
    found = of_volumes.apply(de.Image(columns, SOLID), layer)
    np.testing.assert_allclose(found.get_fdata(), columns[:, :, 4:5], atol=1e-5)


@pytest.mark.parametrize("name", ["o.jpg", "o.png"])
def test_a_format_that_cannot_hold_a_picture_is_refused(folder, capsys, name):
    values = np.random.default_rng(0).uniform(-1, 1, (44, 38)).astype(np.float32)
    PIL.Image.fromarray(values).save("fractions.tif")
    line = ("apply", "OUT/warp.nii.gz", "fractions.tif", "-o", name)
    assert "cannot hold this picture" in refused(capsys, *line)
    assert not (folder / name).exists()


def test_a_map_of_a_thin_section_may_miss_its_plane_by_a_rounding_error():
    """A section of 5 micrometres on pixels of half a millimetre."""
    grid = Grid((20, 18, 1), np.diag([0.5, 0.5, 0.005, 1.0]))
    moved = np.zeros((20, 18, 1, 3), np.float32)
    moved[::2, ..., 2] = 1e-3
    transforming._require_in_plane(DisplacementField(moved, grid), "a map")
    moved[::2, ..., 2] = 0.1
    with pytest.raises(de.InputError, match="into another plane"):
        transforming._require_in_plane(DisplacementField(moved, grid), "a map")
