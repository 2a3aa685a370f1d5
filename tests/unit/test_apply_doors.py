"""What ``apply`` and the other commands accept: only ITK's maps, only scans that the map reaches,
and never a file that a result would replace.
"""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffeode.cli import main
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import DisplacementField, warp_image, warp_labels

SHAPE = (16, 18, 14)
AFFINE = np.array([[-5.0, 0, 0, 38], [0, 5, 0, -42], [0, 0, 5, -33], [0, 0, 0, 1]])
GRID = Grid(SHAPE, AFFINE)
RANDOM = np.random.default_rng(0)
SMOOTH = np.sin(GRID.points_mm() / 20).astype(np.float32) * 4
SCAN = Image(
    np.where(np.linalg.norm(GRID.points_mm(), axis=-1) < 28, RANDOM.random(SHAPE) + 1, 0), GRID
)


@pytest.fixture
def folder(tmp_path):
    """A map, a scan to which it can be applied, and its labels."""
    io.write_displacement(tmp_path / "warp.nii.gz", DisplacementField(SMOOTH, GRID))
    io.write_image(tmp_path / "scan.nii.gz", SCAN)
    io.write_labels(
        tmp_path / "dseg.nii.gz",
        Labels((SCAN.data > 0) * (1 + (GRID.points_mm()[..., 0] > 0)), GRID),
    )
    return tmp_path


def applied(folder, *extra, warp="warp.nii.gz", moving="scan.nii.gz", out="out.nii.gz"):
    return main(
        [
            "apply",
            str(folder / warp),
            str(folder / moving),
            "-o",
            str(folder / out),
            "--overwrite",
            *map(str, extra),
        ]
    )


def field(folder, vectors=SMOOTH, intent=1007, shape=(1, 3), suffix=".nii.gz", **fields):
    """A file of three numbers a voxel, as another program may have written it."""
    nifti = nib.Nifti1Image(flip_ras_lps(vectors).reshape(*SHAPE, *shape), AFFINE)
    nifti.set_sform(AFFINE, 1)
    nifti.set_qform(AFFINE, 1)
    nifti.header["intent_code"] = intent
    for name, value in fields.items():
        nifti.header[name] = value
    path = folder / f"field{suffix}"
    nib.save(nifti, path)
    return path


# --------------------------------------------------------------------------------------------- maps


FOREIGN = {
    "NiftyReg's displacements": {"intent_name": b"NREG_TRANS", "intent_p1": 1},
    "NiftyReg's deformations without their name": {"intent_p1": 2},
    "SPM's deformations": {"intent_name": b"Mapping", "descrip": b"Deformation"},
    "FSL's": {"shape": (3,), "intent": 2006},
    "FSL's spline coefficients": {"shape": (3,), "intent": 2016},
    "FreeSurfer's": {"shape": (3,)},
    "a displacement by its intent, whose frame depends on ITK's version": {"intent": 1006},
    "no vector": {"intent": 0},
    "written by FSL": {"descrip": b"FSL5.0"},
    "colours": {"intent": 2004},
    "metres": {"xyzt_units": 1},
}


@pytest.mark.parametrize("parts", FOREIGN.values(), ids=FOREIGN)
def test_fields_of_other_programs_are_not_taken_for_itks(folder, capsys, parts):
    path = field(folder, **parts)
    assert applied(folder, warp=path.name) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert "ITK" in said
    assert not (folder / "out.nii.gz").exists()


def test_vectors_that_are_not_finite_are_said_with_the_files_name(folder, capsys):
    holes = SMOOTH.copy()
    holes[2, 2, 2] = np.inf
    path = field(folder, holes)
    assert applied(folder, warp=path.name) == 2
    assert f"{path}: A displacement field has NaN or infinite vectors" in capsys.readouterr().err


def test_a_field_with_afnis_extension_is_not_taken_for_itks(folder, capsys):
    path = field(folder)
    nifti = nib.load(path)
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"<AFNI_attributes/>"))
    nib.save(nifti, folder / "afni.nii.gz")
    assert applied(folder, warp="afni.nii.gz") == 2
    assert "an extension, which ITK leaves empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "frame", [GRID.points_mm(), flip_ras_lps(GRID.points_mm()), GRID.points_mm() + SMOOTH]
)
def test_places_are_not_taken_for_displacements(folder, capsys, frame):
    path = field(folder, frame.astype(np.float32))
    assert applied(folder, warp=path.name) == 2
    assert "holds places, not displacements" in capsys.readouterr().err


def test_directions_are_not_taken_for_displacements(folder, capsys):
    path = field(folder, SMOOTH / np.linalg.norm(SMOOTH, axis=-1, keepdims=True))
    assert applied(folder, warp=path.name) == 2
    assert "holds directions" in capsys.readouterr().err


@pytest.mark.parametrize(
    "vectors",
    [
        SMOOTH,
        np.zeros_like(SMOOTH),
        np.broadcast_to(np.float32([0, 1, 0]), SMOOTH.shape),
        6 * SMOOTH,
    ],
    ids=["smooth", "none", "a shift by 1 mm", "large"],
)
def test_displacements_are_taken(folder, vectors):
    io.write_displacement(folder / "warp.nii.gz", DisplacementField(np.array(vectors), GRID))
    assert applied(folder) == 0
    expected = warp_image(SCAN, io.read_displacement(folder / "warp.nii.gz"), GRID)
    np.testing.assert_array_equal(io.read_image(folder / "out.nii.gz").data, expected.data)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_simpleitk_writes_is_taken(folder, suffix):
    import SimpleITK

    vectors = SimpleITK.ReadImage(str(folder / "warp.nii.gz"), SimpleITK.sitkVectorFloat64)
    SimpleITK.WriteImage(vectors, str(folder / f"itk{suffix}"))
    written = io.read_displacement(folder / f"itk{suffix}")
    np.testing.assert_allclose(written.displacement_mm, SMOOTH, atol=1e-6)


def test_a_scan_or_label_map_in_place_of_the_map(folder, capsys):
    for name in ("scan.nii.gz", "dseg.nii.gz"):
        assert applied(folder, warp=name) == 2
        assert "not an ITK displacement field" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- scans


def moved(millimetres):
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return Grid(SHAPE, affine)


def elsewhere(folder, name, millimetres, data=SCAN.data):
    io.write_image(folder / name, Image(data, moved(millimetres)))


def test_a_scan_out_of_reach_is_refused(folder, capsys):
    elsewhere(folder, "far.nii.gz", 600)
    assert applied(folder, moving="far.nii.gz") == 2
    assert "leads to no part of" in capsys.readouterr().err
    assert not (folder / "out.nii.gz").exists()


def test_a_label_map_out_of_reach_is_refused(folder, capsys):
    io.write_labels(folder / "far.nii.gz", Labels(np.ones(SHAPE), moved(500)))
    assert applied(folder, "--labels", moving="far.nii.gz") == 2
    assert "leads to no part of" in capsys.readouterr().err


def test_a_scan_of_which_only_the_background_is_reached_is_refused(folder, capsys):
    corner = np.zeros(SHAPE, np.float32)
    corner[0, 0, 0] = 1
    elsewhere(folder, "far.nii.gz", 70, corner)
    assert applied(folder, moving="far.nii.gz") == 2
    assert "leads to no part of" in capsys.readouterr().err


def test_a_scan_hardly_within_reach_is_done_and_said(folder, capsys):
    elsewhere(folder, "far.nii.gz", 77, np.ones(SHAPE, np.float32))
    assert applied(folder, moving="far.nii.gz") == 0
    assert "% of 4032 voxels into" in capsys.readouterr().err


def test_a_reference_out_of_reach_is_refused(folder, capsys):
    elsewhere(folder, "reference.nii.gz", 600)
    assert applied(folder, "--reference", folder / "reference.nii.gz") == 2
    assert "lies nowhere on the grid of" in capsys.readouterr().err


@pytest.mark.parametrize("value", [0, 1, 7])
def test_constant_images_and_references_are_enough_where_only_the_grid_or_the_place_counts(
    folder, capsys, value
):
    elsewhere(folder, "constant.nii.gz", 0, np.full(SHAPE, value))
    assert applied(folder, moving="constant.nii.gz") == 0
    warp = io.read_displacement(folder / "warp.nii.gz")
    expected = warp_image(Image(np.full(SHAPE, value), GRID), warp, GRID)
    np.testing.assert_array_equal(io.read_finite(folder / "out.nii.gz").data, expected.data)
    assert applied(folder, "--reference", folder / "constant.nii.gz") == 0
    np.testing.assert_array_equal(
        io.read_image(folder / "out.nii.gz").data, warp_image(SCAN, warp, GRID).data
    )
    assert capsys.readouterr().err == ""


def test_voxels_that_are_not_finite_are_refused_still(folder, capsys):
    holes = SCAN.data.copy()
    holes[3, 3, 3] = np.nan
    elsewhere(folder, "holes.nii.gz", 0, holes)
    assert applied(folder, moving="holes.nii.gz") == 2
    assert "NaN or infinite" in capsys.readouterr().err


def test_labels_without_the_option_and_labels_that_get_lost_are_said(folder, capsys):
    assert applied(folder, moving="dseg.nii.gz") == 0
    assert "looks like a label map" in capsys.readouterr().err
    assert applied(folder, "--labels", moving="dseg.nii.gz") == 0
    assert capsys.readouterr().err == ""
    one_voxel = io.read_labels(folder / "dseg.nii.gz").data.copy()
    one_voxel[0, 0, 0] = 77
    io.write_labels(folder / "dseg.nii.gz", Labels(one_voxel, GRID))
    coarse = Grid((4, 4, 4), AFFINE @ np.diag([4.0, 4, 4, 1]))
    io.write_labels(folder / "coarse.nii.gz", Labels(np.ones((4, 4, 4)), coarse))
    assert (
        applied(folder, "--labels", "--reference", folder / "coarse.nii.gz", moving="dseg.nii.gz")
        == 0
    )
    warp = io.read_displacement(folder / "warp.nii.gz")
    assert 77 not in warp_labels(io.read_labels(folder / "dseg.nii.gz"), warp, coarse).data
    assert "ids 77" in capsys.readouterr().err


def test_orientation_is_asked_of_scan_and_reference(folder, capsys):
    silent = nib.load(folder / "scan.nii.gz")
    silent.header["sform_code"] = silent.header["qform_code"] = 0
    nib.save(
        nib.Nifti1Image(np.asarray(silent.dataobj), None, silent.header), folder / "silent.nii.gz"
    )
    for extra, moving in (
        ((), "silent.nii.gz"),
        (("--reference", folder / "silent.nii.gz"), "scan.nii.gz"),
    ):
        assert applied(folder, *extra, moving=moving) == 2
        assert "--orientation" in capsys.readouterr().err
        assert applied(folder, *extra, "--orientation", "LAS", moving=moving) == 0
    with pytest.raises(SystemExit):
        applied(folder, "--orientation", "sideways")
    assert "is no orientation" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- replacing


def same(path, way):
    """Return another name of the file: its own, a symlink or a hard link."""
    if way == "itself":
        return path
    other = path.with_name(f"{way}-{path.name}")
    (os.symlink if way == "symlink" else os.link)(path, other)
    return other


@pytest.mark.parametrize("way", ["itself", "symlink", "hard-link"])
@pytest.mark.parametrize("replaced", ["warp.nii.gz", "scan.nii.gz", "dseg.nii.gz"])
def test_apply_replaces_nothing_that_it_reads(folder, capsys, way, replaced):
    before = (folder / replaced).read_bytes()
    out = same(folder / replaced, way)
    assert applied(folder, "--reference", folder / "dseg.nii.gz", out=out.name) == 2
    assert "would be replaced by the result" in capsys.readouterr().err
    assert (folder / replaced).read_bytes() == before


def registered(folder, *extra, fixed="scan.nii.gz", moving="scan.nii.gz"):
    quick = ["--method", "identity", "--init", "identity", "--threads", "1"]
    return main(
        [
            "register",
            str(folder / fixed),
            str(folder / moving),
            "-o",
            str(folder / "out"),
            *quick,
            *map(str, extra),
        ]
    )


@pytest.mark.parametrize("way", ["itself", "symlink", "hard-link"])
@pytest.mark.parametrize(
    "role",
    [
        *("fixed", "moving", "--labels", "--fixed-labels", "--weights"),
        *("--fixed-mask", "--moving-mask", "--init", "--stiff", "--landmarks"),
    ],
)
def test_register_replaces_nothing_that_it_reads(folder, capsys, way, role):
    (folder / "out").mkdir()
    result = folder / "out" / ("warped_labels.nii.gz" if "labels" in role else "warped.nii.gz")
    source = folder / ("dseg.nii.gz" if "labels" in role else "scan.nii.gz")
    if role == "--weights":
        io.write_image(source, Image(np.ones(SHAPE, np.float32), GRID))
    source.rename(result)
    given = same(result, way)
    content = result.read_bytes()
    names = {} if role.startswith("--") else {role: given.relative_to(folder)}
    if source.name == "scan.nii.gz":
        io.write_image(source, SCAN)
    extra = (role, given) if role.startswith("--") else ()
    if role == "--landmarks":
        extra += (given,)
    if role == "--fixed-labels":
        extra += ("--labels", given)
    if role == "--weights":
        extra = ("--method", "node", "--set", f"weight_map={given}")
    assert registered(folder, *extra, **names) == 2
    assert "would be replaced by the result" in capsys.readouterr().err
    assert result.read_bytes() == content
    assert {path.name for path in (folder / "out").iterdir()} == {result.name, given.name}


def test_register_may_read_what_it_does_not_write(folder):
    (folder / "out").mkdir()
    (folder / "scan.nii.gz").rename(folder / "out" / "mine.nii.gz")
    assert registered(folder, fixed="out/mine.nii.gz", moving="out/mine.nii.gz") == 0
    assert (folder / "out" / "mine.nii.gz").is_file()


def test_labels_that_the_fixed_grid_does_not_reach_are_said(folder, capsys):
    far = np.where(GRID.points_mm()[..., 0] > 20, 5, 3)
    io.write_labels(folder / "dseg.nii.gz", Labels(far, GRID))
    half = Image(SCAN.data[8:], Grid((8, 18, 14), GRID.crop([8, 0, 0], SHAPE).affine))
    io.write_image(folder / "half.nii.gz", half)
    assert registered(folder, "--labels", folder / "dseg.nii.gz", fixed="half.nii.gz") == 0
    assert (
        "warped_labels.nii.gz has none of the ids 5 of the moving label map"
        in capsys.readouterr().err
    )


def trained_on(scan: Path, folder: Path) -> int:
    """Return the exit code of a training on ``scan`` and eleven copies of it."""
    copies = [folder / f"person{number}.nii.gz" for number in range(2, 13)]
    for copy in copies:
        shutil.copy(scan, copy)
    scans, out = list(map(str, (scan, *copies))), folder / "out"
    return main(["train", "voxelmorph", "-o", str(out), "--fixed", *scans, "--moving", *scans])


@pytest.mark.parametrize("place", ["prepared", "pairs"])
def test_a_training_removes_nothing_that_it_reads(folder, capsys, place):
    lair = folder / "out" / place
    lair.mkdir(parents=True)
    (folder / "scan.nii.gz").rename(lair / "scan.nii.gz")
    assert trained_on(lair / "scan.nii.gz", folder) == 2
    assert "which the training fills and then removes" in capsys.readouterr().err
    assert (lair / "scan.nii.gz").is_file()


def test_a_training_replaces_nothing_that_it_reads(folder, capsys):
    (folder / "out").mkdir()
    os.link(folder / "scan.nii.gz", folder / "out" / "weights.safetensors")
    assert trained_on(folder / "scan.nii.gz", folder) == 2
    assert "would be replaced by the result" in capsys.readouterr().err


def test_a_descriptors_training_does_not_replace_its_description(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "curves.tsv").write_text("settings: {steps: 1}\n")
    assert (
        main(["train-descriptor", str(folder / "out" / "curves.tsv"), "-o", str(folder / "out")])
        == 2
    )
    assert "would be replaced by the result" in capsys.readouterr().err


def test_read_ras_displacement_takes_niftyregs_field(folder):
    """The method that runs NiftyReg knows which program wrote the field, so its reader does not
    need ITK's marks.
    """
    path = field(folder, flip_ras_lps(SMOOTH), **FOREIGN["NiftyReg's displacements"])
    np.testing.assert_allclose(io.read_ras_displacement(path).displacement_mm, SMOOTH)
    with pytest.raises(InputError):
        io.read_displacement(path)
