"""The verbs of the command line beside ``register``: what they write, exactly, and what they
refuse.
"""

import json
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import SimpleITK as sitk  # noqa: N813
from surfaces import write_surface

import diffeode as de
from diffeode.cli import main
from diffeode.cli.main import _COMMANDS, _parser
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.points import Points, read_points, write_points
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import RAS_TO_LPS, Grid
from diffeode.geometry.transform import (
    Affine,
    DisplacementField,
    densify,
    warp_image,
    warp_labels,
)

REPOSITORY = Path(__file__).resolve().parents[2]
LPS = np.array([-1.0, -1.0, 1.0])
FIXED = Grid(
    (16, 15, 14), np.array([[-5.0, 0, 0, 38], [0, 5, 0, -35], [0, 0, 5, -33], [0, 0, 0, 1]])
)
MOVING = Grid(
    (15, 16, 14), np.array([[0, 0, 5.2, -34], [-5.1, 0, 0, 36], [0, 5.0, 0, -37], [0, 0, 0, 1]])
)
WARP = DisplacementField(np.sin(FIXED.points_mm() / 15 + [0, 1, 2]) * 3 + [2, -1, 1], FIXED)
BACK = DisplacementField(
    de.Transform(WARP).inverse.map(MOVING.points_mm(), outside="extend") - MOVING.points_mm(),
    MOVING,
)
TURN = Affine(
    np.array([[1.05, 0.1, 0, 1], [-0.08, 0.95, 0.05, -2], [0, 0.03, 1.02, 0.5], [0, 0, 0, 1]])
)


def ball(grid, shift=(0, 0, 0)):
    points = grid.points_mm() - shift
    inside = np.linalg.norm(points / (27, 25, 26), axis=-1) < 1
    return np.where(inside, 300 + 60 * np.sin(points / 6).sum(axis=-1), 0).astype(np.float32)


def lobes(grid):
    return np.where(ball(grid) > 0, 1 + (grid.points_mm()[..., 0] > 0), 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as the examples of the help assume it, with the working directory in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OUT").mkdir()
    io.write_displacement("OUT/warp.nii.gz", WARP)
    io.write_displacement("OUT/inverse_warp.nii.gz", BACK)
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        io.write_image(f"{name}.nii.gz", Image(ball(grid), grid))
        io.write_labels(f"{name}_dseg.nii.gz", Labels(lobes(grid), grid))
    for name in ("affine.txt", "OUT/affine.txt"):
        io.write_itk_affine(name, TURN)
    return tmp_path


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    """Run a command that must be refused, and return the one sentence that it says."""
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("diffeode: ")
    assert said.count("\n") == 1
    return said


# ------------------------------------------------------------------------------------------- apply


def test_many_images_keep_their_names_and_kinds(folder, capsys):
    series = np.stack([ball(MOVING), 2 * ball(MOVING)], axis=-1)
    nifti = nib.Nifti1Image(series, MOVING.affine)
    nifti.header.set_zooms((*nifti.header.get_zooms()[:3], 2.5))
    nifti.header.set_xyzt_units("mm", "sec")
    nib.save(nifti, "bold.nii")
    images = ["moving.nii.gz", "moving_dseg.nii.gz", "bold.nii"]
    assert run("apply", "OUT/warp.nii.gz", *images, "-o", "W") == 0
    assert "moving_dseg.nii.gz looks like a label map" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "W").iterdir()) == [
        "bold.nii.gz",
        "moving.nii.gz",
        "moving_dseg.nii.gz",
    ]
    once = warp_image(Image(ball(MOVING), MOVING), WARP, FIXED).data
    np.testing.assert_allclose(io.read_image("W/moving.nii.gz").data, once, atol=1e-3)
    labels = warp_labels(Labels(lobes(MOVING), MOVING), WARP, FIXED).data
    np.testing.assert_array_equal(io.read_labels("W/moving_dseg.nii.gz").data, labels)
    bold = nib.load("W/bold.nii.gz")
    np.testing.assert_allclose(bold.get_fdata()[..., 1], 2 * once, atol=1e-2)
    assert bold.header.get_zooms()[3] == 2.5
    assert bold.header.get_xyzt_units() == ("mm", "sec")


def test_vectors_are_resampled_by_component_and_that_is_said(folder, capsys):
    io.write_displacement("vectors.nii.gz", BACK)
    assert run("apply", "OUT/warp.nii.gz", "vectors.nii.gz", "-o", "o.nii.gz") == 0
    assert "no vector was turned" in capsys.readouterr().err
    found = nib.load("o.nii.gz")
    assert found.shape == (*FIXED.shape, 1, 3)
    expected = warp_image(Image(-BACK.displacement_mm[..., 0], MOVING), WARP, FIXED).data
    np.testing.assert_allclose(found.get_fdata()[..., 0, 0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("intent", "beyond", "kind"),
    [
        (1006, (1, 3), "vector"),
        (2006, (3,), "vector"),
        (1005, (1, 6), "tensor"),
        (1004, (1, 9), "tensor"),
    ],
)
def test_vectors_and_tensors_of_other_programs_are_told(folder, capsys, intent, beyond, kind):
    components = np.resize(BACK.displacement_mm, (*MOVING.shape, *beyond))
    nifti = nib.Nifti1Image(components, MOVING.affine)
    nifti.header["intent_code"] = intent
    nib.save(nifti, "components.nii.gz")
    assert run("apply", "OUT/warp.nii.gz", "components.nii.gz", "-o", "o.nii.gz") == 0
    said = capsys.readouterr().err
    assert f"components.nii.gz holds {kind}s; each component was resampled" in said
    assert f"no {kind} was turned" in said
    assert int(nib.load("o.nii.gz").header["intent_code"]) == intent


@pytest.mark.parametrize("kind", ["float64", "int16 with a slope", "4-D with an empty volume"])
def test_label_maps_that_programs_wrote_with_fractions_keep_their_ids(folder, capsys, kind):
    """An average of ids, such as 1519 of 1003 and 2035, would be another structure."""
    ids = np.array([0, 1003, 2035])[lobes(MOVING)]
    values = ids - 1e-7 * (ids > 0) if kind == "float64" else ids.astype(np.float64)
    if kind.startswith("4-D"):
        values = np.stack([values, np.zeros(MOVING.shape)], axis=-1)
    nifti = nib.Nifti1Image(values, MOVING.affine)
    if kind.startswith("int16"):
        nifti.set_data_dtype(np.int16)
    nib.save(nifti, "dseg.nii")
    if not kind.startswith("4-D"):
        stored = nib.load("dseg.nii").get_fdata()
        assert (stored != np.rint(stored)).any()
    assert run("apply", "OUT/warp.nii.gz", "dseg.nii", "-o", "o.nii") == 0
    assert "looks like a label map and was resampled as one" in capsys.readouterr().err
    found = np.asarray(nib.load("o.nii").dataobj).reshape(*FIXED.shape, -1)
    np.testing.assert_array_equal(found[..., 0], warp_labels(Labels(ids, MOVING), WARP, FIXED).data)
    assert found.dtype == np.int32


def test_a_scan_that_is_stored_with_a_slope_stays_a_scan(folder, capsys):
    nifti = nib.Nifti1Image(ball(MOVING).astype(np.float64), MOVING.affine)
    nifti.set_data_dtype(np.int16)
    nib.save(nifti, "scan.nii")
    assert run("apply", "OUT/warp.nii.gz", "scan.nii", "-o", "o.nii") == 0
    assert capsys.readouterr().err == ""
    once = warp_image(Image(ball(MOVING), MOVING), WARP, FIXED).data
    np.testing.assert_allclose(io.read_image("o.nii").data, once, atol=0.02)


def test_a_mask_stays_a_mask_and_outside_is_background(folder):
    io.write_labels("mask.nii.gz", Labels(ball(MOVING) > 0, MOVING))
    assert run("apply", "OUT/warp.nii.gz", "mask.nii.gz", "-o", "m.nii.gz", "-q") == 0
    assert set(np.unique(io.read_finite("m.nii.gz").data)) == {0, 1}
    wide = FIXED.crop([-9, 0, 0], FIXED.shape)
    io.write_image("wide.nii.gz", Image(wide.voxels()[..., 0], wide))
    line = ["apply", "OUT/warp.nii.gz", "moving.nii.gz", "--reference", "wide.nii.gz"]
    assert run(*line, "--background", "-1000", "-o", "b.nii.gz") == 0
    assert io.read_finite("b.nii.gz").data[0].max() == -1000


def test_what_lies_beyond_the_grid_of_a_map_is_said(folder, capsys):
    wide = FIXED.crop([-9, 0, 0], FIXED.shape)
    large = Grid((30, 30, 30), np.diag([8.0, 8, 8, 1]) - np.outer([1, 1, 1, 0], [0, 0, 0, 120]))
    io.write_image("wide.nii.gz", Image(wide.voxels()[..., 0], wide))
    io.write_image("large.nii.gz", Image(ball(large) + 1, large))
    line = ["apply", "OUT/warp.nii.gz", "large.nii.gz", "--other-scan", "-o", "o.nii.gz"]
    assert run(*line, "--reference", "wide.nii.gz") == 0
    assert "is not known in 36.0 % of the voxels of the result" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["linear", "nearest", "spline"])
def test_every_interpolation_of_a_scan_is_simpleitks(folder, how):
    ways = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
    line = ["apply", "OUT/warp.nii.gz", "moving.nii.gz", "--interpolation", how, "--no-labels"]
    assert run(*line, "-o", "o.nii.gz") == 0
    field = sitk.ReadImage("OUT/warp.nii.gz", sitk.sitkVectorFloat64)
    moving, fixed = sitk.ReadImage("moving.nii.gz"), sitk.ReadImage("fixed.nii.gz")
    theirs = sitk.Resample(
        moving, fixed, sitk.DisplacementFieldTransform(field), ways.get(how, sitk.sitkBSpline), 0.0
    )
    theirs = sitk.GetArrayFromImage(theirs).transpose(2, 1, 0)
    differs = np.abs(io.read_image("o.nii.gz").data - theirs) > 0.05
    assert differs.mean() < (0.002 if how == "nearest" else 1e-9)


def test_chains_are_resampled_once_in_the_order_of_travel(folder):
    chain = ["-t", "OUT/warp.nii.gz", "-t", "[affine.txt,inverse]"]
    assert run("apply", "moving.nii.gz", *chain, "-o", "o.nii.gz") == 0
    whole = WARP.then(TURN.inverse())
    expected = warp_image(Image(ball(MOVING), MOVING), whole, FIXED).data
    np.testing.assert_allclose(io.read_image("o.nii.gz").data, expected, atol=1e-2)
    other = warp_image(Image(ball(MOVING), MOVING), TURN.inverse().then(WARP), FIXED).data
    assert np.abs(expected - other).max() > 50


def test_the_inverse_of_a_map_brings_the_fixed_scan_back(folder):
    line = ["apply", "fixed.nii.gz", "-t", "[OUT/warp.nii.gz,inverse]"]
    assert run(*line, "--reference", "moving.nii.gz", "-o", "o.nii.gz") == 0
    expected = warp_image(Image(ball(FIXED), FIXED), BACK, MOVING).data
    np.testing.assert_allclose(io.read_image("o.nii.gz").data, expected, atol=0.5)


def test_what_apply_cannot_do_is_refused(folder, capsys):
    place = np.diag([8.0, 8, 8, 1])
    place[:3, 3] = -120
    adult = Grid((30, 30, 30), place)
    far = np.eye(4)
    far[0, 3] = 900
    io.write_itk_affine("away.txt", Affine(far))
    io.write_image("adult.nii.gz", Image(ball(adult) + 1, adult))
    warp, out = "OUT/warp.nii.gz", ("-o", "o.nii.gz")
    for words, said in (
        ((warp, "adult.nii.gz", *out), "fills the box of OUT/inverse_warp.nii.gz"),
        (
            (
                *("adult.nii.gz", "-t", f"[{warp},inverse]"),
                *("--reference", "moving.nii.gz", *out),
            ),
            "fills the box of OUT/warp.nii.gz",
        ),
        ((warp, *out), "Give the images to resample after WARP"),
        ((warp, "moving.nii.gz", "moving_dseg.nii.gz", *out), "is one file, but there are 2"),
        ((warp, "moving.nii.gz", "-o", "o.txt"), "is no name for a NIfTI file"),
        ((warp, "moving.nii.gz", "OUT/../moving.nii.gz", "-o", "W"), "have the same name"),
        (("moving.nii.gz", "-t", "affine.txt", *out), "lies on no grid; give the fixed scan"),
        ((f"[{warp},backwards]", "moving.nii.gz", *out), "write FILE, or [FILE,inverse]"),
        (
            ("moving.nii.gz", "-t", "away.txt", "-t", warp, "--reference", "fixed.nii.gz", *out),
            "lies nowhere on the grid of",
        ),
        ((warp, "nowhere.nii.gz", *out), "nowhere.nii.gz"),
        ((warp, "moving.nii.gz", "--labels", *out), "not a label map"),
        (
            (warp, "moving_dseg.nii.gz", "--labels", "--interpolation", "linear", *out),
            "would mix the ids",
        ),
        ((warp, "moving_dseg.nii.gz", "--background", "0.5", *out), "is no id of a label map"),
        ((warp, "moving.nii.gz", "--background", "nan", *out), "no finite number"),
        (
            (warp, "moving.nii.gz", "--no-labels", "--interpolation", "label-aware", *out),
            "is for label maps",
        ),
    ):
        assert said in refused(capsys, "apply", *words)
    assert not (folder / "o.nii.gz").exists()
    assert not (folder / "W").exists()
    assert run("apply", warp, "adult.nii.gz", "--other-scan", *out) == 0


# ------------------------------------------------------------------------ invert, compose, jacobian


def test_the_inverse_of_an_affine_is_exact(folder):
    assert run("invert", "affine.txt", "-o", "back.txt") == 0
    np.testing.assert_allclose(
        de.load_transform("back.txt").matrix, np.linalg.inv(TURN.matrix), atol=1e-12
    )


def test_the_inverse_of_a_field_undoes_it(folder, capsys):
    line = ["invert", "OUT/warp.nii.gz", "--reference", "moving.nii.gz"]
    assert run(*line, "-o", "back.nii.gz") == 0
    back = io.read_displacement("back.nii.gz")
    assert back.grid.matches(MOVING)
    inner = MOVING.points_mm()[ball(MOVING) > 0]
    np.testing.assert_allclose(WARP(back(inner)), inner, atol=2e-3)
    assert "is not known in" in capsys.readouterr().err
    assert "give that scan by --reference" in refused(
        capsys, "invert", "OUT/warp.nii.gz", "-o", "b.nii.gz"
    )
    assert run("invert", "OUT", "-o", "own.nii.gz") == 0
    np.testing.assert_array_equal(
        io.read_displacement("own.nii.gz").displacement_mm, BACK.displacement_mm
    )


def test_compositions_go_in_the_order_given(folder):
    assert run("compose", "affine.txt", "affine.txt", "-o", "twice.txt") == 0
    np.testing.assert_allclose(
        de.load_transform("twice.txt").matrix, TURN.matrix @ TURN.matrix, atol=1e-12
    )
    assert run("compose", "OUT/warp.nii.gz", "affine.txt", "-o", "both.nii.gz") == 0
    points = FIXED.points_mm()
    both = io.read_displacement("both.nii.gz")
    np.testing.assert_allclose(both(points), TURN(WARP(points)), atol=1e-4)
    assert run("compose", "affine.txt", "[affine.txt,inverse]", "-o", "none.txt") == 0
    np.testing.assert_allclose(de.load_transform("none.txt").matrix, np.eye(4), atol=1e-12)


@pytest.mark.parametrize(
    "line",
    [
        "invert cut.nii.gz --reference moving.nii.gz",
        "compose cut.nii.gz affine.txt",
        "compose affine.txt cut.nii.gz --reference fixed.nii.gz",
    ],
)
@pytest.mark.parametrize("share", [0.9, 0.01, 0])
def test_a_field_that_was_cut_off_gives_no_result(folder, capsys, line, share):
    whole = (folder / "OUT" / "warp.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: int(share * len(whole))])
    before = sorted(folder.rglob("*"))
    said = refused(capsys, *line.split(), "-o", "result.nii.gz")
    assert "cut.nii.gz is truncated or damaged" in said or "cut.nii.gz is empty" in said
    assert sorted(folder.rglob("*")) == before


def test_the_log_jacobian_of_a_scaling_and_the_folds_of_a_fold(folder, capsys):
    io.write_itk_affine("scale.txt", Affine(np.diag([2, 3, 0.5, 1])))
    line = ["jacobian", "scale.txt", "--reference", "fixed.nii.gz", "-o"]
    assert run(*line, "log.nii.gz") == 0
    assert "|J| from 3 to 3" in capsys.readouterr().out
    np.testing.assert_allclose(nib.load("log.nii.gz").get_fdata(), np.log(3), atol=1e-4)
    assert run(*line, "det.nii.gz", "--determinant", "--affine", "scale.txt") == 0
    np.testing.assert_allclose(nib.load("det.nii.gz").get_fdata(), 1, atol=1e-4)
    folding = WARP.displacement_mm.copy()
    folding[8, 7, 7, 0] += 40
    io.write_displacement("fold.nii.gz", DisplacementField(folding, FIXED))
    capsys.readouterr()
    assert run("jacobian", "fold.nii.gz", "-o", "l.nii.gz", "--folds", "f.nii.gz") == 0
    folds = io.read_labels("f.nii.gz").data
    assert folds[8, 7, 7] == 1
    assert 0 < folds.sum() < 30
    unknown = np.isnan(nib.load("l.nii.gz").get_fdata())
    assert unknown.any()
    assert (folds[unknown] == 1).all()
    assert " 0 % (central)" not in capsys.readouterr().out
    same = ("-o", "x.nii.gz", "--folds", "x.nii.gz")
    assert "cannot hold both" in refused(capsys, "jacobian", "fold.nii.gz", *same)


def test_neighbours_that_pass_each_other_fold_by_one_sided_differences_alone(folder, capsys):
    """Every second plane is shifted by more than a voxel, and those two apart lie as they did."""
    zigzag = np.zeros((*FIXED.shape, 3))
    zigzag[::2, ..., 0] = 6
    io.write_displacement("zigzag.nii.gz", DisplacementField(zigzag, FIXED))
    assert run("jacobian", "zigzag.nii.gz", "-o", "l.nii.gz") == 0
    said = capsys.readouterr().out
    assert "|J| <= 0 in 0 % (central) and 100 % (one-sided differences)" in said


# ------------------------------------------------------------------------------------------ points

NAMED = Points(("left", "right, \u00e4u\u00dfen"), np.array([[4.0, -3, 2], [-6, 1, 5]]))


@pytest.mark.parametrize("result", [".csv", ".fcsv", ".mrk.json"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".fcsv", ".mrk.json"])
def test_files_of_points_are_read_as_written_and_moved_to_where_itk_moves_them(
    folder, suffix, result
):
    """Whatever the two files are, each is read in the frame that it has without an option."""
    write_points(f"p{suffix}", NAMED)
    read = read_points(f"p{suffix}")
    assert read.names == NAMED.names
    np.testing.assert_allclose(read.in_mm("ras").coordinates, NAMED.coordinates, atol=1e-9)
    assert run("points", "OUT/warp.nii.gz", f"p{suffix}", "-o", f"q{result}") == 0
    field = sitk.ReadImage("OUT/warp.nii.gz", sitk.sitkVectorFloat64)
    theirs = sitk.DisplacementFieldTransform(field)
    expected = [
        np.array(theirs.TransformPoint((p * LPS).tolist())) * LPS for p in NAMED.coordinates
    ]
    moved = read_points(f"q{result}")
    np.testing.assert_allclose(moved.in_mm("ras").coordinates, expected, atol=1e-4)
    assert moved.names == NAMED.names
    with pytest.raises(de.InputError, match="give the scan"):
        read.in_mm("voxel")


def test_slicers_older_files_say_their_frame(folder):
    head = "# Markups fiducial file version = 4.6\n# CoordinateSystem = {}\n"
    for said, sign in (("0", 1), ("RAS", 1), ("1", -1), ("LPS", -1)):
        (folder / "p.fcsv").write_text(
            head.format(said) + "# columns = id,x,y,z,label\nF1,1,2,3,here\n"
        )
        points = de.load_points("p.fcsv")
        assert points.to_numpy().tolist() == [["here", sign * 1.0, sign * 2.0, 3.0]]


def test_slicers_markups_say_their_frame_and_points_without_a_place_are_left_out(folder):
    points = [
        {"label": "here", "position": [1, 2, 3]},
        {"label": "to be placed", "position": [7, 8, 9], "positionStatus": "undefined"},
        {"position": [4, 5, 6]},
    ]
    markups = {
        frame: {"controlPoints": points, **({"coordinateSystem": frame} if frame else {})}
        for frame in ("RAS", "LPS", None)
    }
    for frame, sign in (("RAS", 1), ("LPS", -1), (None, -1)):
        (folder / "p.mrk.json").write_text(json.dumps({"markups": [markups[frame]]}))
        found = de.load_points("p.mrk.json").to_numpy().tolist()
        assert found == [["here", sign * 1, sign * 2, 3], ["2", sign * 4, sign * 5, 6]]
    (folder / "p.mrk.json").write_text(json.dumps({"markups": [markups["RAS"], markups["LPS"]]}))
    with pytest.raises(de.InputError, match="is in the coordinate systems"):
        de.load_points("p.mrk.json")


@pytest.mark.parametrize("frame", ["ras", "lps", "voxel"])
def test_tables_of_the_library_are_written_and_read_in_every_frame(folder, frame):
    table = pd.DataFrame({"name": ["a", "b"], "x": [4.0, -6], "y": [-3.0, 1], "z": [2.0, 5]})
    points = table[["x", "y", "z"]].to_numpy()
    de.save_points("p.csv", table, frame, scan=MOVING)
    expected = {"ras": points, "lps": points * LPS, "voxel": MOVING.to_voxel(points)}
    np.testing.assert_allclose(pd.read_csv("p.csv")[["x", "y", "z"]], expected[frame], atol=1e-9)
    found = de.load_points("p.csv", frame, scan="moving.nii.gz")
    assert found["name"].tolist() == ["a", "b"]
    np.testing.assert_allclose(found[["x", "y", "z"]], points, atol=1e-5)


def test_a_table_as_ants_has_it_is_not_taken_for_ras(folder):
    """antsApplyTransformsToPoints demands the column t, and its points are LPS mm."""
    pd.DataFrame({"x": [1.0], "y": [2.0], "z": [3.0], "t": [0.0]}).to_csv("ants.csv", index=False)
    with pytest.raises(de.InputError, match=r"ants\.csv has a column 't', .* give the frame"):
        de.load_points("ants.csv")
    found = de.load_points("ants.csv", "lps")[["x", "y", "z"]].to_numpy()
    np.testing.assert_array_equal(found, [[-1.0, -2.0, 3.0]])


def test_frames_of_tables_and_other_columns(folder):
    table = pd.DataFrame(
        {"v": [7, 8], "x": [4.0, -6], "y": [-3.0, 1], "z": [2.0, 5], "w": ["a", "b"]}
    )
    table.to_csv("p.csv", index=False)
    points = table[["x", "y", "z"]].to_numpy()
    line = ["points", "OUT/warp.nii.gz", "p.csv", "-o", "q.csv", "--overwrite"]
    for frame, expected in (
        ((), WARP(points)),
        (("--frame", "lps"), WARP(points * LPS) * LPS),
        (("--frame", "lps", "--output-frame", "ras"), WARP(points * LPS)),
    ):
        assert run(*line, *frame) == 0
        moved = pd.read_csv("q.csv")
        assert moved[["v", "w"]].equals(table[["v", "w"]])
        np.testing.assert_allclose(moved[["x", "y", "z"]], expected, atol=1e-6)
    pd.DataFrame({"x": [3], "y": [4.5], "z": [6]}).to_csv("p.csv", index=False)
    assert run(*line, "--frame", "voxel", "--moving", "moving.nii.gz") == 0
    expected = MOVING.to_voxel(WARP(FIXED.to_world(np.array([[3, 4.5, 6]]))))
    np.testing.assert_allclose(pd.read_csv("q.csv")[["x", "y", "z"]], expected, atol=1e-4)


def test_points_go_from_fixed_to_moving_and_back(folder):
    write_points("p.csv", NAMED)
    assert run("points", "OUT/warp.nii.gz", "p.csv", "-o", "there.csv") == 0
    there = de.load_points("there.csv")[["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(there, WARP(NAMED.coordinates), atol=1e-6)
    assert np.linalg.norm(there - BACK(NAMED.coordinates), axis=1).min() > 2
    for way in ([("OUT/inverse_warp.nii.gz", "there.csv")], ["there.csv", "-t", "[OUT,inverse]"]):
        words = way[0] if isinstance(way[0], tuple) else way
        assert run("points", *words, "-o", "here.csv", "--overwrite") == 0
        back = de.load_points("here.csv")[["x", "y", "z"]].to_numpy()
        np.testing.assert_allclose(back, NAMED.coordinates, atol=0.2)


def bad_points(folder):
    write_points("good.csv", NAMED)
    write_points("far.csv", Points(("near", "far"), np.array([[0.0, 0, 0], [500, 0, 0]])))
    for name, text in {
        "words.csv": "x,y,z\n1,two,3\n",
        "short.csv": "x,y\n1,2\n",
        "none.csv": "x,y,z\n",
        "silent.fcsv": "# columns = id,x,y,z\n1,2,3,4\n",
        "odd.fcsv": "# CoordinateSystem = IJK\n1,2,3,4\n",
        "odd.mrk.json": '{"markups": [{"controlPoints": 3}]}',
        "list.mrk.json": "[]",
        "torn.mrk.json": '{"markups": ',
        "flat.mrk.json": '{"markups": [{"controlPoints": [{"label": "tip", "position": [1, 2]}]}]}',
    }.items():
        (folder / name).write_text(text)


def test_points_that_cannot_be_moved_are_refused_by_name(folder, capsys):
    bad_points(folder)
    warp = "OUT/warp.nii.gz"
    for words, said in (
        ((warp, "far.csv"), "1 of 2 points lie outside"),
        ((warp, "far.csv"), "far at (500.0, 0.0, 0.0)"),
        ((warp, "words.csv"), "'two' for a coordinate"),
        ((warp, "short.csv"), "has no column 'z'"),
        ((warp, "none.csv"), "holds no points; give one at least"),
        ((warp, "silent.fcsv"), "does not say its coordinate system"),
        ((warp, "odd.fcsv"), "in the coordinate system 'IJK'"),
        ((warp, "odd.mrk.json"), "no file of markups"),
        ((warp, "list.mrk.json"), "no file of markups"),
        ((warp, "torn.mrk.json"), "no file of markups"),
        ((warp, "flat.mrk.json"), "has 2 coordinates for the point 'tip'; give it three"),
        ((warp, "nowhere.csv"), "There is no file of points"),
        ((warp, "moving.nii.gz"), "is no file of points"),
        ((warp, "good.csv", "--output-frame", "voxel"), "give that scan by --moving"),
        (
            ("good.csv", "-t", "affine.txt", "--frame", "voxel", "--output-frame", "ras"),
            "give that scan by --fixed",
        ),
        ((warp, "good.csv", "far.csv"), "Give one file of points"),
    ):
        assert said in refused(capsys, "points", *words, "-o", "q.csv")
    assert not (folder / "q.csv").exists()
    assert run("points", warp, "far.csv", "-o", "q.csv", "--allow-outside") == 0
    assert "far at (500.0" in capsys.readouterr().err


# ----------------------------------------------------------------------------- evaluate and convert


def test_evaluation_measures_all_that_is_given(folder, capsys):
    write_points("here.csv", NAMED)
    there = WARP(NAMED.coordinates) + np.array([[3, 4, 0], [0, 0, 1]])
    write_points("there.fcsv", Points(NAMED.names, there))
    line = ["evaluate", "OUT/warp.nii.gz", "fixed.nii.gz", "moving.nii.gz"]
    line += ["--inverse", "OUT/inverse_warp.nii.gz", "--fixed-labels", "fixed_dseg.nii.gz"]
    line += ["--labels", "moving_dseg.nii.gz", "--fixed-landmarks", "here.csv"]
    line += ["--landmarks", "there.fcsv"]
    assert run(*line, "-o", "m.json") == 0
    found = json.loads((folder / "m.json").read_text())
    metrics = found["metrics"]
    assert metrics["tre_mm"] == pytest.approx(3, abs=1e-3)
    assert metrics["tre_max_mm"] == pytest.approx(5, abs=1e-3)
    warped = warp_labels(Labels(lobes(MOVING), MOVING), WARP, FIXED).data
    for label in (1, 2):
        both = [lobes(FIXED) == label, warped == label]
        dice = 2 * (both[0] & both[1]).sum() / sum(part.sum() for part in both)
        assert found["dice_by_label"][str(label)] == pytest.approx(dice, abs=1e-5)
    assert metrics["folds_onesided_percent"] == metrics["inverse_folds_onesided_percent"] == 0
    assert metrics["inverse_consistency_mm"] < 0.1
    assert {"hd95_mm", "ndv_percent", "sdlogj", "inverse_sdlogj", "nmi"} <= set(metrics)
    assert run(*line, "-o", "m.tsv") == 0
    rows = pd.read_csv("m.tsv", sep="\t").set_index("metric")["value"]
    assert rows["tre_mm"] == pytest.approx(3, abs=1e-3)
    capsys.readouterr()
    assert run(*line) == 0
    assert "tre_mm" in capsys.readouterr().out


def test_labels_that_one_scan_alone_has_are_told(folder, capsys):
    """A label map of another atlas gives Dice 0, which would look like a bad map."""
    io.write_labels("other_dseg.nii.gz", Labels(5 * lobes(MOVING), MOVING))
    line = ["evaluate", "OUT/warp.nii.gz", "fixed.nii.gz", "moving.nii.gz"]
    line += ["--fixed-labels", "fixed_dseg.nii.gz", "--labels"]
    assert run(*line, "other_dseg.nii.gz") == 0
    told = capsys.readouterr().err
    assert "ids 1, 2 are in the fixed label map only; they count as Dice 0" in told
    assert "ids 5, 10 are in the moving label map only; they count as Dice 0" in told
    assert run(*line, "moving_dseg.nii.gz") == 0
    assert capsys.readouterr().err == ""


def test_landmarks_that_one_scan_alone_has_are_told(folder, capsys):
    places = np.vstack([NAMED.coordinates, [[3, 3, 3], [0, 5, 0]]])
    write_points("here.csv", Points(("one", "two", "three", "four"), places))
    write_points("there.csv", Points(("one", "four", "five"), WARP(places[[0, 3, 2]])))
    line = ["evaluate", "OUT/warp.nii.gz", "fixed.nii.gz", "moving.nii.gz"]
    line += ["--fixed-landmarks", "here.csv", "--landmarks"]
    assert run(*line, "there.csv") == 0
    told = capsys.readouterr().err
    assert "landmarks two, three are in the table of the fixed scan only and are not" in told
    assert "landmarks five are in the table of the moving scan only and are not" in told
    assert run(*line, "here.csv") == 0
    assert capsys.readouterr().err == ""


def test_landmarks_without_names_are_paired_only_where_none_is_missing(folder, capsys):
    """Where the second line is missing, the third one would count as the second."""
    places = np.vstack([NAMED.coordinates, [[3, 3, 3]]])
    there = WARP(places)
    for name, rows in (("here", places), ("there", there), ("fewer", there[[0, 2]])):
        pd.DataFrame(rows, columns=list("xyz")).to_csv(f"{name}.csv", index=False)
    line = ["evaluate", "OUT/warp.nii.gz", "fixed.nii.gz", "moving.nii.gz"]
    line += ["--fixed-landmarks", "here.csv", "-o", "m.json", "--landmarks"]
    assert "The fixed scan has 3 landmarks and the moving one 2" in refused(
        capsys, *line, "fewer.csv"
    )
    assert not (folder / "m.json").exists()
    assert run(*line, "there.csv") == 0
    metrics = json.loads((folder / "m.json").read_text())["metrics"]
    assert metrics["tre_max_mm"] == pytest.approx(0, abs=1e-3)


def test_folds_are_measured_within_the_mask_alone(folder):
    folding = np.zeros((*FIXED.shape, 3))
    folding[8, 7, 7, 0] = 40
    io.write_displacement("fold.nii.gz", DisplacementField(folding, FIXED))
    around, beside = np.zeros(FIXED.shape, int), np.zeros(FIXED.shape, int)
    around[6:11, 5:10, 5:10] = beside[6:11, 5:10, 10:13] = 1
    measured = {}
    for name, mask in (("around", around), ("beside", beside)):
        io.write_labels("mask.nii.gz", Labels(mask, FIXED))
        line = ["evaluate", "fold.nii.gz", "fixed.nii.gz", "moving.nii.gz", "--mask", "mask.nii.gz"]
        assert run(*line, "-o", f"{name}.json") == 0
        measured[name] = json.loads((folder / f"{name}.json").read_text())["metrics"]
    assert measured["around"]["folds_onesided_percent"] > 0
    assert measured["beside"]["folds_onesided_percent"] == 0


def test_the_alignment_is_left_out_of_the_map_and_of_the_map_back():
    scale = Affine(np.diag([1.25, 1, 1, 1]))
    maps = [
        de.Transform(densify(map_, grid))
        for map_, grid in ((scale, FIXED), (scale.inverse(), MOVING))
    ]
    scans = (Image(ball(FIXED), FIXED), Image(ball(MOVING), MOVING))
    for affine, there, back in ((de.Transform(scale), 1, 1), (None, 1.25, 0.8)):
        found = de.evaluate(maps[0], *scans, inverse=maps[1], affine=affine).metrics
        assert found["min_jacobian"] == pytest.approx(there, abs=1e-4)
        assert found["inverse_min_jacobian"] == pytest.approx(back, abs=1e-4)


def test_evaluations_of_what_does_not_belong_together_are_refused(folder, capsys):
    write_points("here.csv", NAMED)
    write_points("other.csv", Points(("one", "two"), NAMED.coordinates))
    write_points("far.csv", Points(NAMED.names, NAMED.coordinates + 500))
    write_points("twice.csv", Points(("one", "one"), NAMED.coordinates))
    away = Grid(MOVING.shape, MOVING.affine + np.outer([1, 0, 0, 0], [0, 0, 0, 900]))
    io.write_image("away.nii.gz", Image(ball(MOVING), away))
    scans = ("fixed.nii.gz", "moving.nii.gz")
    io.write_labels("empty.nii.gz", Labels(np.zeros(FIXED.shape, int), FIXED))
    for words, said in (
        (("OUT/warp.nii.gz", *reversed(scans)), "give the scan that the map was made for"),
        (("OUT/warp.nii.gz", *scans, "--labels", "moving_dseg.nii.gz"), "the fixed scan, too"),
        (("OUT/warp.nii.gz", *scans, "--inverse", "OUT/warp.nii.gz"), "lies on a grid of"),
        (("OUT/warp.nii.gz", *scans, "--affine", "OUT/warp.nii.gz"), "is no affine"),
        (("OUT/warp.nii.gz", *scans, "--mask", "moving_dseg.nii.gz"), "does not lie on the grid"),
        (("OUT/warp.nii.gz", *scans, "--mask", "empty.nii.gz"), "is empty; give a mask with"),
        (
            (
                "OUT/warp.nii.gz",
                *scans,
                "--fixed-landmarks",
                "here.csv",
                "--landmarks",
                "other.csv",
            ),
            "No landmark has the same name",
        ),
        (
            ("OUT/warp.nii.gz", *scans, "--fixed-landmarks", "far.csv", "--landmarks", "here.csv"),
            "2 of 2 points lie outside",
        ),
        (
            ("OUT/warp.nii.gz", *scans, "--fixed-landmarks", "here.csv", "--landmarks", "far.csv"),
            "2 of 2 landmarks of the moving scan lie outside",
        ),
        (
            (
                "OUT/warp.nii.gz",
                *scans,
                "--fixed-landmarks",
                "twice.csv",
                "--landmarks",
                "here.csv",
            ),
            "The landmark one of the fixed scan is there more than once",
        ),
        (("OUT/warp.nii.gz", scans[0], "away.nii.gz"), "leads to no part of away.nii.gz"),
        (("nowhere.nii.gz", *scans), "There is no transform nowhere.nii.gz"),
        (("OUT/warp.nii.gz", *scans, "-o", "m.txt"), "end it in .json or .tsv"),
    ):
        assert said in refused(capsys, "evaluate", *words)


def _rows(matrix):
    return "\n".join(" ".join(map(repr, row)) for row in matrix.tolist())


def test_conversions_keep_the_map(folder, capsys):
    points = FIXED.points_mm()
    assert run("convert", "OUT/warp.nii.gz", "-o", "w.h5") == 0
    np.testing.assert_allclose(de.load_transform("w.h5").map(points), WARP(points), atol=1e-5)
    scans = ["--fixed", "fixed.nii.gz", "--moving", "moving.nii.gz"]
    assert run("convert", "affine.txt", "--to", "fsl", *scans, "-o", "flirt.mat") == 0
    assert run("convert", "flirt.mat", "--from", "fsl", *scans, "-o", "again.mat") == 0
    np.testing.assert_allclose(de.load_transform("again.mat").matrix, TURN.matrix, atol=1e-9)
    rows = _rows(np.linalg.inv(TURN.matrix))
    (folder / "there.lta").write_text(f"type = 1\nnxforms = 1\n1 4 4\n{rows}\n")
    assert run("convert", "there.lta", "--from", "freesurfer", *scans, "-o", "of.txt") == 0
    np.testing.assert_allclose(de.load_transform("of.txt").matrix, TURN.matrix, atol=1e-9)
    np.savetxt("ras.txt", TURN.matrix)
    assert run("convert", "ras.txt", "--from", "ras", "-o", "itk.tfm") == 0
    np.testing.assert_allclose(de.load_transform("itk.tfm").matrix, TURN.matrix, atol=1e-9)
    assert run("convert", "OUT/warp.nii.gz", "--to", "fsl", *scans, "-o", "fsl.nii.gz") == 0
    assert int(nib.load("fsl.nii.gz").header["intent_code"]) == 2006
    assert run("convert", "fsl.nii.gz", "--from", "fsl", *scans, "-o", "of_fsl.nii.gz") == 0
    np.testing.assert_allclose(
        io.read_displacement("of_fsl.nii.gz").displacement_mm, WARP.displacement_mm, atol=1e-4
    )
    for words, said in (
        (("affine.txt", "--to", "fsl", "-o", "x.mat"), "give both scans"),
        (("OUT/warp.nii.gz", "--to", "fsl", *scans, "-o", "x.mat"), "is no affine"),
        (("affine.txt", "--to", "fsl", *scans, "-o", "x.h5"), "is no name for a transform of FSL"),
        (("fsl.nii.gz", "-o", "x.h5"), "is not an ITK displacement field"),
        (("fsl.nii.gz", "--from", "fsl", "-o", "x.h5"), "give both scans"),
        (("ras.txt", "-o", "x.h5"), "does not say in which frame"),
        (("OUT/warp.nii.gz", "-o", "x.lta"), "is no name for a transform"),
        (
            (
                *("OUT/warp.nii.gz", "--to", "fsl", "--fixed", "moving.nii.gz"),
                *("--moving", "fixed.nii.gz", "-o", "x.nii.gz"),
            ),
            "the two scans are exchanged",
        ),
    ):
        assert said in refused(capsys, "convert", *words)
    assert not list(folder.glob("x.*"))


# ----------------------------------------------------------------------------------------- prepare


def test_a_stripped_scan_is_prepared_as_a_study_prepares_it(folder, capsys):
    grid = Grid(
        (24, 24, 24), np.array([[4.0, 0, 0, -46], [0, 4, 0, -46], [0, 0, 4, -46], [0, 0, 0, 1]])
    )
    io.write_image("scan.nii.gz", Image(ball(grid), grid))
    io.write_labels("dseg.nii.gz", Labels(lobes(grid), grid))
    line = ["prepare", "scan.nii.gz", "--brain", "nonzero", "--bias", "none", "-o", "P"]
    assert run(*line, "--given-labels", "dseg.nii.gz", "--spacing", "8") == 0
    image = io.read_image("P/image.nii.gz")
    np.testing.assert_allclose(image.grid.spacing, 8)
    assert image.data.min() == 0
    assert image.data.max() == 1
    assert io.read_labels("P/mask.nii.gz").data.any()
    np.testing.assert_array_equal(io.read_labels("P/labels.nii.gz").data, lobes(grid))
    np.testing.assert_array_equal(de.load_transform("P/to_scan.txt").matrix, np.eye(4))
    assert "exists already" in refused(capsys, *line)
    for words, said in (
        (("--brain", "nothing"), "Preparation step brain has no choice 'nothing'"),
        (("--given-labels", "moving_dseg.nii.gz"), "does not lie on the grid"),
        (("--modality", "T1 w"), "'T1 w' is no suffix of BIDS"),
    ):
        assert said in refused(capsys, *line[:-1], "Q", *words)
    assert not (folder / "Q").exists()


@pytest.mark.parametrize(
    ("kind", "says"), [("label map", "looks like a label map"), ("mask", "or a mask")]
)
def test_a_label_map_is_prepared_as_a_scan_only_where_that_is_said(folder, capsys, kind, says):
    data = lobes(MOVING) if kind == "label map" else np.where(ball(MOVING) > 0, 7, 0)
    io.write_labels("dseg.nii.gz", Labels(data, MOVING))
    line = ["prepare", "dseg.nii.gz", "--brain", "nonzero", "--bias", "none", "-o", "P"]
    assert says in refused(capsys, *line)
    assert not (folder / "P").exists()
    with pytest.raises(InputError, match="the scan looks like a label map"):
        de.prepare_scan((data, MOVING.affine), brain="nonzero", bias="none")
    if kind == "label map":
        assert run(*line, "--is-scan") == 0
        assert io.read_image("P/image.nii.gz").data.max() == 1
    else:
        assert "is constant" in refused(capsys, *line, "--is-scan")


# ------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize(
    "line",
    [
        "apply OUT/warp.nii.gz moving.nii.gz -o file/x.nii.gz",
        "points OUT/warp.nii.gz here.csv -o file/x.csv",
        "invert affine.txt -o file/x.txt",
        "compose affine.txt affine.txt -o file/x.txt",
        "convert affine.txt -o file/x.tfm",
        "jacobian OUT/warp.nii.gz -o file/x.nii.gz",
        "jacobian OUT/warp.nii.gz -o x.nii.gz --folds file/folds.nii.gz",
        "evaluate OUT/warp.nii.gz fixed.nii.gz moving.nii.gz -o file/x.json",
        "evaluate OUT/warp.nii.gz fixed.nii.gz moving.nii.gz -o x.json --picture file/x.png",
    ],
)
def test_no_result_is_written_where_a_folder_is_a_file(folder, capsys, line):
    (folder / "file").write_text("mine")
    write_points("here.csv", NAMED)
    before = sorted(folder.rglob("*"))
    assert "file is a file, not a folder" in refused(capsys, *line.split())
    assert sorted(folder.rglob("*")) == before
    assert (folder / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "line",
    [
        "points OUT/warp.nii.gz here.csv -o here.csv",
        "points here.csv -t OUT/warp.nii.gz -o here.csv",
        "invert affine.txt -o affine.txt",
        "invert OUT/warp.nii.gz --reference moving.nii.gz -o moving.nii.gz",
        "compose first.txt affine.txt -o affine.txt",
        "compose OUT/warp.nii.gz affine.txt --reference fixed.nii.gz -o fixed.nii.gz",
        "convert affine.txt -o affine.txt",
        "convert OUT/warp.nii.gz --to afni --fixed fixed.nii.gz -o fixed.nii.gz",
        "jacobian OUT/warp.nii.gz -o OUT/warp.nii.gz",
        "jacobian OUT/warp.nii.gz -o x.nii.gz --folds OUT/warp.nii.gz",
        "jacobian OUT/warp.nii.gz --affine affine.txt --reference fixed.nii.gz -o fixed.nii.gz",
    ],
)
def test_no_verb_replaces_what_it_reads(folder, capsys, line):
    """Even where results may be replaced."""
    io.write_itk_affine("first.txt", TURN)
    write_points("here.csv", NAMED)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "is read and would be replaced" in refused(capsys, *line.split(), "--overwrite")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_vectors_are_no_scan_to_register(folder, capsys):
    said = refused(capsys, "register", "fixed.nii.gz", "OUT/warp.nii.gz", "-o", "R")
    assert "OUT/warp.nii.gz is 5-D with shape" in said
    assert not (folder / "R").exists()


# -------------------------------------------------------------------------------------------- help


def examples_of(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    lines = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    return [shlex.split(line) for line in lines if line.strip().startswith("diffeode")]


VERBS = ["apply", "points", "invert", "compose", "jacobian", "evaluate", "convert"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_of_the_help_runs(folder, capsys, verb):
    """They are run one after the other in a folder with the files that they name."""
    for name in ("fixed_to_template", "first", "second"):
        io.write_itk_affine(f"{name}.txt", TURN)
    for name in ("warp", "template_to_moving"):
        io.write_displacement(f"{name}.nii.gz", WARP)
    de.Transform(TURN).save("flirt.tfm")
    write_points("fixed.fcsv", NAMED)
    write_points("moving.csv", NAMED)
    write_surface("lh.pial.surf.gii")
    pd.DataFrame({"x": [5], "y": [6], "z": [7]}).to_csv("voxels.csv", index=False)
    np.savetxt("flirt.mat", np.eye(4))
    (folder / "SLICES").mkdir()
    plane = Grid((20, 24, 1), RAS_TO_LPS)
    io.write_displacement("SLICES/warp.nii.gz", DisplacementField(np.zeros((20, 24, 1, 3)), plane))
    colours = np.random.default_rng(0).integers(0, 255, (24, 20, 3)).astype(np.uint8)
    PIL.Image.fromarray(colours).save("moving.png")
    pd.DataFrame({"x": [5], "y": [6]}).to_csv("pixels.csv", index=False)
    examples = examples_of(verb, capsys)
    assert len(examples) >= 2
    for program, *words in examples:
        assert program == "diffeode"
        # Two examples may write to one file.
        assert run(*words, "--overwrite") == 0, words


def test_every_help_ends_in_examples_that_are_commands(capsys):
    """Options are read; of what they name, only the files of this repository must be there."""
    for command in _COMMANDS:
        verb = command.__name__.rpartition(".")[2].replace("_", "-")
        examples = examples_of(verb, capsys)
        assert examples, verb
        for program, *words in examples:
            assert program == "diffeode"
            without_file = words[: words.index(">")] if ">" in words else words
            assert _parser().parse_args(without_file).command
            assert words[0] == verb or verb == "train"
            ours = [word for word in words if word.startswith("config/")]
            assert [name for name in ours if not (REPOSITORY / name).is_file()] == []


def test_the_examples_of_prepare_are_commands(capsys, monkeypatch):
    """They need weights, so only their options are read."""
    from diffeode.cli import prepare

    parsed = []
    for _, *words in examples_of("prepare", capsys):
        monkeypatch.setattr(prepare, "_prepare", parsed.append)
        assert main(words) == 0
    assert [options.template for options in parsed] == ["none", "none", "icbm152"]
