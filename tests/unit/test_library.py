"""The library: ``import diffeode as de``, its names, transforms in and out, and registrations."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

import diffeode as de
from diffeode.desk import registration
from diffeode.desk.outputs import output_names
from diffeode.files import io
from diffeode.geometry.image import Labels
from diffeode.geometry.transform import DisplacementField, warp_image, warp_labels

LPS = np.array([-1.0, -1.0, 1.0])
FIXED = de.Grid(
    (12, 11, 10), np.array([[-3.0, 0, 0, 16], [0, 2.5, 0, -12], [0, 0, 3, -14], [0, 0, 0, 1]])
)
MOVING = de.Grid(
    (10, 13, 12), np.array([[0, 0, 2.8, -15], [-3.1, 0, 0, 14], [0, 2.4, 0, -14], [0, 0, 0, 1]])
)
SHIFT = np.eye(4)
SHIFT[:3, 3] = 3, -2.5, 1
TURN = np.array([[1.05, 0.1, 0, 1], [-0.08, 0.95, 0.05, -2], [0, 0.03, 1.02, 0.5], [0, 0, 0, 1]])
POINTS = FIXED.to_world(np.random.default_rng(0).uniform(2, 7, (20, 3)))


def waves(grid, size_mm=1.0):
    return np.sin(grid.points_mm() / 9 + [0, 1, 2]) * size_mm


def bent(name="the transform"):
    return de.Transform(DisplacementField(waves(FIXED), FIXED), None, name)


def anatomy(grid, shift=(0, 0, 0)):
    points = grid.points_mm() - shift
    inside = np.linalg.norm(points / (13, 11, 12), axis=-1) < 1
    return np.where(inside, 300 + 80 * np.sin(points / 4).sum(axis=-1), 0).astype(np.float32)


SCAN = de.Image(anatomy(MOVING), MOVING)


# ------------------------------------------------------------------------------------------- names


def test_the_import_is_cheap():
    """Neither the import nor the names but registrations load torch."""
    code = (
        "import sys, diffeode as de\n"
        "heavy = lambda: {'torch', 'numpy', 'scipy', 'nibabel', 'pandas'} & set(sys.modules)\n"
        "assert not heavy(), heavy()\n"
        "de.Transform, de.load_transform, de.Image, de.load_points\n"
        "assert 'torch' not in sys.modules\n"
        "de.nothing\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stderr.strip().endswith("module 'diffeode' has no attribute 'nothing'")


def test_every_name_is_there_described_and_known_to_type_checkers():
    for name in de.__all__:
        assert getattr(de, name).__doc__, name
    assert set(de.__all__) <= set(dir(de))
    text = Path(de.__file__).read_text(encoding="utf-8")
    typed = text.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    assert all(name in typed for name in de.__all__)
    assert (Path(de.__file__).parent / "py.typed").is_file()


# -------------------------------------------------------------------------------------- the algebra


def test_the_right_one_of_a_product_comes_first():
    a, b = de.Transform.from_matrix(TURN), bent()
    np.testing.assert_allclose((a @ b).map(POINTS), a.map(b.map(POINTS)), atol=1e-9)
    c = de.Transform.from_matrix(SHIFT)
    np.testing.assert_allclose((a @ b @ c).map(POINTS), a.map(b.map(c.map(POINTS))), atol=1e-9)
    np.testing.assert_allclose((a @ c).matrix, TURN @ SHIFT)
    assert not np.allclose((c @ a).matrix, (a @ c).matrix)
    with pytest.raises(TypeError):
        a @ TURN


def test_inverses_undo():
    a, b = de.Transform.from_matrix(TURN), bent()
    np.testing.assert_allclose(a.inverse.matrix, np.linalg.inv(TURN))
    np.testing.assert_allclose(b.inverse.map(b.map(POINTS)), POINTS, atol=2e-3)
    assert b.inverse.inverse.mapping is b.mapping
    known = de.Transform(b.mapping, de.Transform.from_matrix(SHIFT).mapping)
    np.testing.assert_allclose(known.inverse.map(POINTS), POINTS + SHIFT[:3, 3])
    other = de.Transform(b.mapping, a.mapping)
    backwards = other.inverse.map(known.inverse.map(POINTS))
    np.testing.assert_allclose((known @ other).inverse.map(POINTS), backwards)


def test_tables_of_points_stay_tables():
    table = pd.DataFrame({"name": list("ab"), "x": [1.0, 2], "y": [3.0, 4], "z": [5.0, 6]})
    moved = de.Transform.from_matrix(SHIFT).map(table)
    assert moved["name"].tolist() == ["a", "b"]
    assert moved[["x", "y", "z"]].to_numpy().tolist() == [[4, 0.5, 6], [5, 1.5, 7]]
    for wrong in (
        lambda: bent().map(table[["x", "y"]]),
        lambda: de.save_points("p.csv", table[["x"]]),
    ):
        with pytest.raises(de.InputError, match="has no column"):
            wrong()


def test_points_outside_are_named_or_carried_with_the_border():
    corner = FIXED.to_world(np.array([[0.0, 5, 5], [-4.0, 5, 5]]))
    with pytest.raises(de.InputError, match=r"1 of 2 points lie outside .* \(points 1 at \(28\.0"):
        bent().map(corner)
    moved = bent().map(corner, outside="extend")
    np.testing.assert_allclose((moved - corner)[1], (moved - corner)[0], atol=1e-6)
    for wrong in ([1, 2], [[1, 2, np.nan]]):
        with pytest.raises(de.InputError, match="give finite numbers"):
            bent().map(wrong)
    with pytest.raises(de.InputError, match="choose refuse or extend"):
        bent().map(corner, outside="drop")


def test_the_jacobian_of_a_scaling():
    image = de.Transform.from_matrix(np.diag([2, 3, 0.5, 1])).jacobian(FIXED)
    np.testing.assert_allclose(image.get_fdata(), 3, rtol=1e-4)
    with pytest.raises(de.InputError, match="give a reference"):
        de.Transform.from_matrix(TURN).jacobian()


# ------------------------------------------------------------------------------- points and images


@pytest.mark.parametrize(
    "transform",
    [bent(), de.Transform.from_matrix(TURN), de.Transform.from_matrix(TURN) @ bent()],
    ids=["field", "affine", "both"],
)
def test_an_image_of_a_point_moves_where_the_point_says(transform):
    """A blob at ``map(p)`` in the moving image is at ``p`` in the result."""
    point = np.array([2.0, -1, 3])
    there = transform.map(point)
    blob = np.exp(-(((MOVING.points_mm() - there) / 4) ** 2).sum(axis=-1))
    result = transform.apply(de.Image(blob, MOVING), FIXED, order=3).get_fdata()
    centre = (FIXED.points_mm() * result[..., None]).sum(axis=(0, 1, 2)) / result.sum()
    np.testing.assert_allclose(centre, point, atol=0.3)
    assert np.linalg.norm(there - point) > 0.8, "a map that does nothing would pass, too"


def test_applying_is_one_resampling_and_agrees_with_simpleitk():
    whole = de.Transform.from_matrix(TURN) @ bent()
    ours = whole.apply(SCAN).get_fdata()
    np.testing.assert_allclose(ours, warp_image(SCAN, whole.mapping, FIXED).data, atol=1e-3)

    def itk(image):
        out = sitk.GetImageFromArray(image.data.transpose(2, 1, 0))
        frame = image.grid.itk_frame("SimpleITK")
        out.SetOrigin(frame.origin.tolist())
        out.SetSpacing(frame.spacing.tolist())
        out.SetDirection(frame.direction.ravel().tolist())
        return out

    reference = itk(de.Image(np.zeros(FIXED.shape), FIXED))
    theirs = sitk.Resample(itk(SCAN), reference, whole.to_itk(), sitk.sitkLinear, 0.0)
    theirs = sitk.GetArrayFromImage(theirs).transpose(2, 1, 0)
    assert np.abs(ours - theirs).max() < 1e-3 * ours.max()


def test_label_maps_are_recognised_and_said():
    data = (anatomy(MOVING) > 0) * (1 + (MOVING.points_mm()[..., 0] > 0))
    labels = Labels(data, MOVING)
    expected = warp_labels(labels, bent().mapping, FIXED).data
    with pytest.warns(UserWarning, match="looks like a label map and was resampled as one"):
        result = bent().apply((data, MOVING.affine))
    np.testing.assert_array_equal(np.asarray(result.dataobj), expected)
    declared = bent().apply((data, MOVING.affine), labels=True)
    np.testing.assert_array_equal(np.asarray(declared.dataobj), expected)
    assert declared.get_data_dtype() == np.int32
    smooth = np.asarray(bent().apply(labels, labels=True, order=1).dataobj)
    assert set(np.unique(smooth)) == {0, 1, 2}
    assert (smooth != expected).any()
    mixed = bent().apply(labels, labels=False, order=1).get_fdata()
    assert not set(np.unique(mixed)) <= {0, 1, 2}
    with pytest.raises(de.InputError, match="spline would mix the ids"):
        bent().apply(labels, labels=True, order=3)
    with pytest.raises(de.InputError, match="no interpolation of order 2"):
        bent().apply(labels, order=2)


def given_ways(tmp_path):
    """One image in every way that the library takes."""
    import torch

    io.write_image(tmp_path / "scan.nii.gz", SCAN)
    nifti = nib.load(tmp_path / "scan.nii.gz")
    return {
        "path": tmp_path / "scan.nii.gz",
        "text": str(tmp_path / "scan.nii.gz"),
        "nibabel": nifti,
        "FreeSurfer": nib.MGHImage(SCAN.data, MOVING.affine),
        "other nibabel": nib.spatialimages.SpatialImage(SCAN.data, MOVING.affine),
        "array": (SCAN.data, MOVING.affine),
        "tensor": (torch.from_numpy(SCAN.data.copy()), torch.from_numpy(MOVING.affine.copy())),
        "image": SCAN,
    }


def test_images_may_be_given_in_any_way(tmp_path):
    expected = bent().apply(SCAN).get_fdata()
    for way, image in given_ways(tmp_path).items():
        np.testing.assert_allclose(
            bent().apply(image, FIXED).get_fdata(), expected, atol=1e-2, err_msg=way
        )


def silent_header():
    nifti = nib.Nifti1Image(SCAN.data, None)
    nifti.header["sform_code"] = nifti.header["qform_code"] = 0
    return nifti


BAD = {
    "no affine": (lambda: SCAN.data, "given as ndarray; give a path"),
    "an affine of 3 x 3": (lambda: (SCAN.data, np.eye(3)), r"shape \(3, 3\); give the matrix"),
    "words": (lambda: (np.array(["a"]), np.eye(4)), "holds <U1 and no real numbers"),
    "no orientation": (silent_header, "Nothing in the header of the image tells"),
    "NaN": (lambda: (np.full(MOVING.shape, np.nan), MOVING.affine), "the image has 1560 voxels"),
    "one axis": (lambda: (np.ones(4), np.eye(4)), "the image is 1-D"),
    "no file": (lambda: "nowhere.nii.gz", "no file nowhere.nii.gz"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_unusable_images_are_refused_by_their_names(make, said):
    with pytest.raises(de.InputError, match=said) as error:
        bent().apply(make())
    assert "/diffeode-" not in str(error.value), "no temporary file is named"


# --------------------------------------------------------------------------------------- in and out


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".h5"])
def test_fields_are_saved_and_loaded_and_read_by_itk(tmp_path, suffix):
    whole = de.Transform.from_matrix(TURN) @ bent()
    whole.save(tmp_path / f"map{suffix}")
    back = de.load_transform(tmp_path / f"map{suffix}")
    np.testing.assert_allclose(back.map(POINTS), whole.on_grid().__call__(POINTS), atol=1e-5)
    assert back.grid.matches(FIXED)
    if suffix == ".h5":
        theirs = sitk.ReadTransform(str(tmp_path / f"map{suffix}"))
        moved = [theirs.TransformPoint((p * LPS).tolist()) * LPS for p in POINTS]
        np.testing.assert_allclose(back.map(POINTS), moved, atol=1e-4)


@pytest.mark.parametrize("suffix", [".txt", ".tfm", ".mat", ".h5"])
def test_affines_are_saved_and_loaded_and_read_by_itk(tmp_path, suffix):
    path = tmp_path / f"affine{suffix}"
    de.Transform.from_matrix(TURN).save(path)
    np.testing.assert_allclose(de.load_transform(path).matrix, TURN, atol=1e-12)
    theirs = sitk.ReadTransform(str(path))
    moved = [theirs.TransformPoint((p * LPS).tolist()) * LPS for p in POINTS]
    np.testing.assert_allclose(de.Transform.from_matrix(TURN).map(POINTS), moved, atol=1e-9)


def test_composites_of_itk_apply_the_last_transform_first(tmp_path):
    composite = sitk.CompositeTransform(3)
    composite.AddTransform(de.Transform.from_matrix(TURN).to_itk())
    composite.AddTransform(sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6)))
    composite.AddTransform(bent().to_itk())
    sitk.WriteTransform(composite, str(tmp_path / "all.h5"))
    moved = [np.array(composite.TransformPoint((p * LPS).tolist())) * LPS for p in POINTS]
    for ours in (de.load_transform(tmp_path / "all.h5"), de.Transform.from_itk(composite)):
        np.testing.assert_allclose(ours.map(POINTS), moved, atol=1e-4)


def test_nibabel_takes_and_gives_fields():
    image = bent().to_nibabel()
    assert image.shape == (*FIXED.shape, 1, 3)
    np.testing.assert_allclose(
        image.get_fdata()[3, 4, 5, 0] * LPS, waves(FIXED)[3, 4, 5], atol=1e-6
    )
    back = de.Transform.from_nibabel(image)
    np.testing.assert_allclose(back.map(POINTS), bent().map(POINTS), atol=1e-6)
    with pytest.raises(de.InputError, match="The displacement field is not an ITK"):
        de.Transform.from_nibabel(nib.Nifti1Image(SCAN.data, MOVING.affine))


def test_arrays_of_displacements():
    there = de.Transform.from_displacement(waves(FIXED), FIXED)
    np.testing.assert_allclose(there.map(POINTS), bent().map(POINTS))


class OfNitransforms:
    """A transform as nitransforms has them, which is not installed here."""

    reference = de.Image(np.zeros(FIXED.shape), FIXED)

    def map(self, points):
        return points + SHIFT[:3, 3]


def test_nitransforms_are_sampled_and_their_absence_is_said(monkeypatch):
    OfNitransforms.reference = type("Reference", (), {"shape": FIXED.shape, "affine": FIXED.affine})
    moved = de.Transform.from_nitransforms(OfNitransforms()).map(POINTS)
    np.testing.assert_allclose(moved, POINTS + SHIFT[:3, 3], atol=1e-5)
    linear = type("Linear", (), {"matrix": TURN})
    np.testing.assert_array_equal(de.Transform.from_nitransforms(linear).matrix, TURN)
    monkeypatch.setitem(sys.modules, "nitransforms", None)
    with pytest.raises(de.InputError, match="pip install nitransforms"):
        bent().to_nitransforms()


def bad_files(tmp_path):
    io.write_image(tmp_path / "scan.nii.gz", SCAN)
    (tmp_path / "words.txt").write_text("one two three")
    np.savetxt(tmp_path / "flirt.mat", TURN)
    (tmp_path / "map.xfm").write_text("MNI")
    (tmp_path / "empty").mkdir()
    spline = sitk.BSplineTransform(3)
    sitk.WriteTransform(spline, str(tmp_path / "spline.tfm"))
    return {
        "nowhere.nii.gz": "There is no transform",
        "scan.nii.gz": "is not an ITK displacement field",
        "words.txt": "cannot be read as a transform",
        "flirt.mat": "does not say in which frame",
        "map.xfm": "its name ends in none of",
        "empty": "holds no warp.nii.gz",
        "spline.tfm": "is a BSplineTransform; sample it",
    }


def test_a_transform_in_2d_moves_nothing_out_of_its_plane(tmp_path):
    flat = sitk.TranslationTransform(2, (1.0, 2.0))
    sitk.WriteTransform(flat, str(tmp_path / "flat.tfm"))
    moved = de.load_transform(tmp_path / "flat.tfm").map([4, 5, 6])
    assert moved.tolist() == [3, 3, 6]


def test_files_that_are_no_transforms_are_refused(tmp_path):
    for name, said in bad_files(tmp_path).items():
        with pytest.raises(de.InputError, match=said):
            de.load_transform(tmp_path / name)


@pytest.mark.parametrize("suffix", [".tfm", ".mat"])
def test_damaged_files_of_itk_are_refused_in_one_sentence(tmp_path, capfd, suffix):
    path = tmp_path / f"affine{suffix}"
    de.Transform.from_matrix(TURN).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:0], whole[: len(whole) // 2], whole.replace(b"a", b"\xa6")):
        path.write_bytes(damaged)
        with pytest.raises(de.InputError, match="cannot be read as a transform"):
            de.load_transform(path)
    assert capfd.readouterr().err == ""


CENTRED = sitk.Similarity3DTransform(
    1.125, (0.0, 0.6, 0.8), 0.25, (1.25, 1.5, -2.5), (30.5, 20.25, 10.5)
)
KINDS = {
    "translation": sitk.TranslationTransform(3, (1.5, 2.5, 3.5)),
    "rigid": sitk.Euler3DTransform((10.5, 20.5, 30.5), 0.25, -0.125, 0.5, (4.5, -3.5, 2.5)),
    "similar": CENTRED,
    "plane": sitk.Euler2DTransform((10.5, 20.5), 0.25, (1.5, 2.5)),
}


@pytest.mark.parametrize("suffix", [".txt", ".mat"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_itk_is_read_whole_or_refused(tmp_path, kind, suffix):
    """ITK takes the identity's numbers for those that are missing; here no beginning of a file is
    another transform, but for one cut within its last number.
    """
    path = tmp_path / f"whole{suffix}"
    sitk.WriteTransform(KINDS[kind], str(path))
    whole = path.read_bytes()
    points = np.array([[0, 0, 0], [1, 2, 3], [-40, 25, 60.0]])
    expected = de.load_transform(path).map(points)
    last_number = len(whole.rstrip()) - len(whole.rstrip().rsplit(maxsplit=1)[-1])
    until = last_number if suffix == ".txt" else len(whole)
    for end in range(1, until):
        path.write_bytes(whole[:end])
        try:
            found = de.load_transform(path).map(points)
        except de.InputError:
            continue
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=f"the first {end} bytes")


@pytest.mark.parametrize("cut", ["Transform: Similarity", "30.5", "FixedParameters: \n"])
def test_a_composite_of_itk_that_lacks_numbers_is_refused(tmp_path, cut):
    path = tmp_path / "both.tfm"
    shift = sitk.TranslationTransform(3, (1.5, 2.5, 3.5))
    sitk.WriteTransform(sitk.CompositeTransform([CENTRED, shift]), str(path))
    de.load_transform(path)
    text = path.read_text()
    path.write_text(text[: text.index(cut)])
    with pytest.raises(de.InputError, match="cannot be read as a transform"):
        de.load_transform(path)


def named_points():
    return pd.DataFrame({"name": ["a"], "x": [1.0], "y": [2.0], "z": [3.0]})


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("map.nii.gz", lambda path, **how: bent().save(path, **how)),
        ("map.h5", lambda path, **how: bent().save(path, **how)),
        ("affine.txt", lambda path, **how: de.Transform.from_matrix(TURN).save(path, **how)),
        ("points.csv", lambda path, **how: de.save_points(path, named_points(), **how)),
    ],
)
def test_a_file_that_exists_is_replaced_only_where_that_is_asked_for(tmp_path, name, save):
    path = tmp_path / name
    path.write_text("from yesterday")
    with pytest.raises(de.InputError, match=f"{name} exists already; give overwrite=True to "):
        save(str(path))
    assert path.read_text() == "from yesterday"
    save(path, overwrite=True)
    load = de.load_points if name == "points.csv" else de.load_transform
    assert load(path) is not None
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_prepared_scan_is_saved_whole_and_replaces_only_what_it_may(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    prepared = de.PreparedScan(image, image, None, de.Transform.from_matrix(np.eye(4)))
    out = tmp_path / "P"
    out.mkdir()
    (out / "labels.nii.gz").write_text("from yesterday")
    with pytest.raises(de.InputError, match=r"labels.nii.gz exists already; give overwrite=True"):
        prepared.save(out)
    assert [path.name for path in out.iterdir()] == ["labels.nii.gz"]
    prepared.save(out, overwrite=True)
    assert {path.name for path in out.iterdir()} == {
        "image.nii.gz",
        "mask.nii.gz",
        "to_scan.txt",
    }


def test_formats_that_do_not_hold_a_transform_are_refused(tmp_path):
    affine = de.Transform.from_matrix(TURN)
    for transform, name, said in (
        (bent(), "map.txt", "which is no affine"),
        (affine, "map.nii.gz", "give a reference"),
        (affine, "map.lta", "is no name for a transform"),
        (bent().inverse, "map.nii.gz", "give a reference"),
    ):
        with pytest.raises(de.InputError, match=said):
            transform.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_reference_elsewhere_is_refused_and_a_larger_one_is_said(tmp_path):
    away = FIXED.affine.copy()
    away[0, 3] += 500
    far = de.Grid(FIXED.shape, away)
    with pytest.raises(de.InputError, match="lies nowhere on the grid"):
        bent().save(tmp_path / "map.nii.gz", far)
    with pytest.raises(de.InputError, match="lies nowhere on the grid"):
        bent().apply(SCAN, far)
    larger = FIXED.crop([-2, 0, 0], FIXED.shape)
    with pytest.warns(UserWarning, match="not known in 14.3 % of the voxels"):
        bent().save(tmp_path / "map.nii.gz", larger)


# ------------------------------------------------------------------------------------- registering


@pytest.fixture(scope="module")
def result():
    """A registration by the affine alone, with label maps."""
    fixed = nib.Nifti1Image(anatomy(FIXED, SHIFT[:3, 3]), FIXED.affine)
    labels = [
        (np.where(anatomy(grid, at) > 0, 1 + (anatomy(grid, at) > 300), 0), grid.affine)
        for grid, at in ((FIXED, SHIFT[:3, 3]), (MOVING, np.zeros(3)))
    ]
    return de.register(
        fixed,
        (anatomy(MOVING), MOVING.affine),
        method="identity",
        init="identity",
        fixed_labels=labels[0],
        labels=labels[1],
        threads=1,
    )


def test_a_registration_gives_maps_images_and_metrics(result):
    assert result.transform.grid.matches(FIXED)
    assert result.inverse.grid.matches(MOVING)
    np.testing.assert_allclose(result.transform.map(POINTS), POINTS, atol=1e-5)
    assert result.affine.is_affine
    assert result.warped.shape == FIXED.shape
    np.testing.assert_allclose(result.warped.affine, FIXED.affine)
    expected = result.transform.apply((anatomy(MOVING), MOVING.affine)).get_fdata()
    np.testing.assert_allclose(result.warped.get_fdata(), expected, atol=1e-2)
    assert result.warped_labels.get_data_dtype() == np.int32
    assert 0 < result.metrics["dice"] < 1
    assert set(result.evaluation.by_label["dice"]) == {"1", "2"}
    assert result.metrics["seconds"] >= 0


def test_a_label_map_that_is_registered_as_a_scan_is_noted():
    areas = np.where(anatomy(MOVING) > 0, 1 + (anatomy(MOVING) > 300), 0)
    named = {"method": "identity", "init": "identity", "threads": 1}
    scan = (anatomy(FIXED, SHIFT[:3, 3]), FIXED.affine)
    (note,) = de.register(scan, (areas, MOVING.affine), **named).notes
    assert note.startswith("the moving image looks like a label map or a mask")
    assert not de.register(scan, (anatomy(MOVING), MOVING.affine), **named).notes


def test_a_registration_starts_from_a_transform_and_counts_masks():
    """The start is a map from fixed to moving; nothing else is found by this method."""
    start = de.Transform.from_matrix(SHIFT)
    whole = de.register(SCAN, SCAN, method="identity", init=start, moving_mask="none", threads=1)
    np.testing.assert_allclose(whole.affine.matrix, SHIFT, atol=1e-9)
    np.testing.assert_allclose(
        whole.transform.map(POINTS / 2), POINTS / 2 + SHIFT[:3, 3], atol=1e-4
    )
    assert whole.registered.inputs.moving_mask == "none"


def test_a_registration_is_saved_as_the_command_does(result, tmp_path):
    result.save(tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written <= set(output_names())
    assert {"warp.nii.gz", "inverse_warp.nii.gz", "warped.nii.gz", "metrics.json"} <= written
    loaded = de.load_transform(tmp_path / "out")
    np.testing.assert_allclose(loaded.map(POINTS), result.transform.map(POINTS), atol=1e-5)
    assert loaded.inverse.grid.matches(MOVING)


@pytest.fixture
def undrawn(monkeypatch):
    """No picture is drawn, because other tests draw."""
    monkeypatch.setattr(registration, "_draw", lambda *given: None)


@pytest.mark.usefixtures("undrawn")
def test_what_exists_is_replaced_only_where_that_is_asked_for(result, tmp_path):
    """What another registration left under a name that this one does not write goes as well."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("warp.nii.gz", "report.html", "notes.txt"):
        (out / name).write_text("from yesterday")
    with pytest.raises(de.InputError, match=r"warp.nii.gz exists already; give overwrite=True to "):
        result.save(out)
    assert {path.read_text() for path in out.iterdir()} == {"from yesterday"}
    result.save(out, overwrite=True)
    assert not (out / "report.html").exists()
    assert (out / "notes.txt").read_text() == "from yesterday"
    np.testing.assert_allclose(
        de.load_transform(out).map(POINTS), result.transform.map(POINTS), atol=1e-5
    )


@pytest.mark.usefixtures("undrawn")
def test_a_registration_is_saved_whole_or_not_at_all(result, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registration, "write_trace", full)
    with pytest.raises(de.InputError, match="No space left on device"):
        result.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_registration_is_drawn(result):
    figure = result.plot()
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    assert min(pixels.shape[:2]) > 500
    assert np.ptp(pixels) > 0.5


def test_the_evaluation_of_a_map_is_that_of_its_registration(result):
    labels = {"fixed_labels": result.registered.inputs.fixed_labels}
    labels["labels"] = result.registered.inputs.moving_labels
    scans = (result.registered.inputs.fixed, result.registered.inputs.moving)
    found = de.evaluate(result.transform, *scans, inverse=result.inverse, **labels)
    shared = found.metrics.keys() & result.metrics.keys()
    assert {"dice", "hd95_mm", "ndv_percent", "inverse_consistency_mm", "nmi"} <= shared
    for name in shared:
        assert found.metrics[name] == pytest.approx(result.metrics[name], abs=1e-6), name
    assert found.metrics["inverse_folds_central_percent"] == 0
    assert found.by_label == result.evaluation.by_label


def far_away():
    """A map that bends, of another scan."""
    place = FIXED.affine.copy()
    place[:3, 3] += 900
    grid = de.Grid(FIXED.shape, place)
    return de.Transform.from_displacement(waves(grid), grid)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"init": "affin"}, "'affin' is no file and no kind of start; did you mean 'affine'"),
        ({"method": "nod"}, "There is no run 'nod'"),
        ({"settings": {"nothing": 1}}, "nothing"),
        ({"threads": 0}, "threads is 0"),
        ({"fixed_labels": SCAN}, "cannot be measured without a label map of the moving"),
        ({"labels": Labels(np.ones(FIXED.shape), FIXED)}, "does not lie on the grid of its scan"),
        ({"device": "cuda:77"}, "no device cuda:77"),
        ({"fixed_mask": de.Image(np.ones(FIXED.shape), FIXED)}, "The mask the fixed mask does not"),
        ({"init": far_away()}, "is not known in 100 % of what the fixed image shows"),
    ],
)
def test_unusable_options_are_refused(change, said):
    options = {"method": "identity", "init": "identity", **change}
    with pytest.raises(de.InputError, match=said):
        de.register(SCAN, SCAN, **options)
