"""The orientation in a header is used where the header tells one, and refused where it tells none
or two.
"""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import yaml

from diffeode.cli import main
from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.files.headers import LETTERS, require_orientation
from diffeode.geometry.image import Image
from diffeode.geometry.space import RAS_TO_LPS, Grid
from diffeode.prepare.plausible import read_plausible

REPOSITORY = Path(__file__).resolve().parents[2]
SHAPE = (20, 24, 22)
LAS = np.array([[-4.0, 0, 0, 38], [0, 4, 0, -50], [0, 0, 4, -40], [0, 0, 0, 1]])
DATA = np.random.default_rng(0).random(SHAPE).astype(np.float32)
TURN = np.array([[0.94, -0.34, 0, 12.0], [0.34, 0.94, 0, -20], [0, 0, 1, 15], [0, 0, 0, 1]])

DOORS = {
    "image": io.read_image,
    "image that may be constant": io.read_finite,
    "labels": io.read_labels,
    "weights": io.read_weights,
    "grid": io.read_grid,
    "plausible": read_plausible,
}
"""All functions that read a scan, label map, mask or reference."""


@pytest.fixture(params=DOORS, ids=lambda name: name.replace(" ", "-"))
def door(request):
    return DOORS[request.param]


def nifti(path, change=lambda nifti: None, affine=LAS, data=None, **fields):
    """Write a label map of two halves, change its header, and set ``fields`` byte by byte."""
    data = halves() if data is None else data
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    change(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return patched(path, **fields)


def halves():
    data = np.zeros(SHAPE, np.int16)
    data[2:-2, 2:-2, 2:-2] = 1
    data[2:10, 2:-2, 2:-2] = 2
    return data


def patched(path, **fields):
    """The file again, with fields of its NIfTI header set as they are given."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as stream:
        raw = stream.read()
    header = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    with opener(path, "wb") as stream:
        stream.write(header.binaryblock + raw[348:])
    return path


def freesurfer(path, flag=1, **fields):
    """Write the same as ``.mgz`` or ``.mgh``, with goodRASFlag ``flag`` and other fields of its
    header set.
    """
    nib.save(nib.MGHImage(halves().astype(np.int32), LAS), path)
    opener = gzip.open if path.name.endswith("z") else open
    with opener(path, "rb") as stream:
        raw = bytearray(stream.read())
    raw[28:30] = int(flag).to_bytes(2, "big", signed=True)
    for offset, value in fields.get("floats", {}).items():
        raw[offset : offset + 4] = np.array(value, ">f4").tobytes()
    with opener(path, "wb") as stream:
        stream.write(bytes(raw))
    return path


def refused(call, *words, kind=InputError):
    with pytest.raises(kind) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert str(word) in message


# ---------------------------------------------------------------------------------- nothing is said


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_a_nifti_that_says_nothing_is_refused_at_every_door(tmp_path, door, name):
    path = nifti(tmp_path / name, sform_code=0, qform_code=0)
    refused(lambda: door(path), path, "sform and qform codes are 0", "--orientation")


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
def test_a_freesurfer_volume_that_says_nothing_is_refused_at_every_door(tmp_path, door, name):
    path = freesurfer(tmp_path / name, flag=0)
    refused(lambda: door(path), path, "goodRASFlag is 0", "--orientation")


@pytest.mark.parametrize("letters", ["RAS", "LAS", "PSR", "LIA"])
def test_letters_say_how_a_silent_scan_lies(tmp_path, letters):
    path = nifti(tmp_path / "a.nii.gz", sform_code=0, qform_code=0)
    for file, size in ((path, 4.0), (freesurfer(tmp_path / "a.mgz", flag=0), 1.0)):
        grid = io.read_labels(file, letters).grid
        assert "".join(nib.aff2axcodes(grid.affine)) == letters
        np.testing.assert_allclose(grid.spacing, size)
        np.testing.assert_allclose(grid.centre_mm, 0, atol=1e-9)


def test_letters_do_not_overrule_a_header_that_says_it(tmp_path):
    for path in (nifti(tmp_path / "a.nii.gz"), freesurfer(tmp_path / "a.mgz")):
        np.testing.assert_allclose(io.read_image(path, "RAS").grid.affine, LAS)


def test_a_form_that_lacks_its_code_may_be_said_to_hold(tmp_path):
    def differ(image):
        image.set_sform(TURN @ LAS, 1)

    path = nifti(tmp_path / "a.nii", differ, sform_code=0, qform_code=0)
    np.testing.assert_allclose(io.read_image(path, "qform").grid.affine, LAS, atol=1e-4)
    np.testing.assert_allclose(io.read_image(path, "sform").grid.affine, TURN @ LAS, atol=1e-4)


def test_orientations_are_sform_qform_and_the_48_ways_a_box_can_lie():
    assert len(LETTERS) == 48
    for text in (*LETTERS, "sform", "qform"):
        assert require_orientation(text) == text
    for text in ("", "RA", "RLA", "RAI ", "ras", "XYZ", "RASR", "header"):
        refused(lambda text=text: require_orientation(text), repr(text))


# ------------------------------------------------------------------------------ two things are said


def turned_sform(image):
    image.set_sform(TURN @ LAS, 2)


def shifted_qform(image):
    moved = LAS.copy()
    moved[1, 3] += 2
    image.set_qform(moved, 1)


def mirrored_qform(image):
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ LAS, 1)


def small_pixdim(image):
    image.header["pixdim"][1:4] = 1
    image.header["qform_code"] = 0


@pytest.mark.parametrize("change", [turned_sform, shifted_qform, mirrored_qform, small_pixdim])
def test_a_header_that_contradicts_itself_is_refused_at_every_door(tmp_path, door, change):
    path = nifti(tmp_path / "a.nii.gz", change)
    refused(lambda: door(path), path, "sform", "mm", "--orientation")


def test_what_is_said_to_hold_is_read(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", turned_sform)
    np.testing.assert_allclose(io.read_image(path, "sform").grid.affine, TURN @ LAS, atol=1e-4)
    np.testing.assert_allclose(io.read_image(path, "qform").grid.affine, LAS, atol=1e-4)
    refused(lambda: io.read_image(path, "RAS"), "apart")


def test_rounding_is_no_contradiction(tmp_path, door):
    """The scan has a usual field of view and is turned by nearly 180 degrees, where a quaternion in
    single precision is least exact.
    """
    angle = np.pi - 2e-3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ LAS

    def rounded(image):
        image.set_sform(np.round(affine, 3), 1)
        image.set_qform(affine, 1)

    path = nifti(tmp_path / "a.nii.gz", rounded)
    grid = getattr(door(path), "grid", None) or door(path)
    np.testing.assert_array_equal(grid.affine, nib.load(path).affine)


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (2, 1), (4, 4), (2, 0), (0, 4)])
def test_headers_that_agree_are_read_as_nibabel_and_itk_read_them(tmp_path, codes):
    affine = TURN @ LAS

    def coded(image):
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])

    path = nifti(tmp_path / "a.nii.gz", coded)
    grid = io.read_image(path).grid
    np.testing.assert_array_equal(grid.affine, nib.load(path).affine)
    np.testing.assert_allclose(grid.affine, affine_of_itk(path), atol=5e-3)


def test_outputs_say_the_same_twice_and_sheared_ones_say_it_once(tmp_path):
    sheared = LAS.copy()
    sheared[0, 1] = 1.0
    for affine, codes in ((TURN @ LAS, (1, 1)), (sheared, (1, 0))):
        io.write_image(tmp_path / "a.nii.gz", Image(DATA, Grid(SHAPE, affine)))
        header = nib.load(tmp_path / "a.nii.gz").header
        assert (int(header["sform_code"]), int(header["qform_code"])) == codes
        assert header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(
            io.read_image(tmp_path / "a.nii.gz").grid.affine, affine, atol=1e-5
        )
        if codes[1]:
            np.testing.assert_allclose(header.get_qform(), affine, atol=1e-4)


# ---------------------------------------------------------------------------------- units and sizes


@pytest.mark.parametrize(
    ("unit", "factor"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0), ("unknown", 1.0)]
)
def test_lengths_are_brought_to_mm_as_itk_brings_them(tmp_path, door, unit, factor):
    stored = np.diag([factor] * 3 + [1]) @ LAS
    path = nifti(
        tmp_path / "a.nii.gz", lambda image: image.header.set_xyzt_units(unit), affine=stored
    )
    grid = getattr(door(path), "grid", None) or door(path)
    np.testing.assert_allclose(grid.affine, LAS, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(grid.affine, affine_of_itk(path), rtol=1e-6, atol=1e-4)


def test_a_unit_that_does_not_exist_is_refused(tmp_path):
    path = nifti(tmp_path / "a.nii", xyzt_units=5)
    refused(lambda: io.read_image(path), path, "xyzt_units 5")


@pytest.mark.parametrize("size", [0, -4, np.nan, np.inf])
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
def test_voxel_sizes_that_nibabel_would_repair_in_silence(tmp_path, size, codes):
    sizes = [1, size, 4, 4, 0, 0, 0, 0]
    path = nifti(tmp_path / "a.nii.gz", pixdim=sizes, sform_code=codes[0], qform_code=codes[1])
    refused(lambda: io.read_image(path), path, "header")


@pytest.mark.parametrize("floats", [{30: 0.0}, {30: -4.0}, {42: 0.5}, {42: np.nan}, {78: np.inf}])
def test_freesurfer_geometry_that_no_scan_has(tmp_path, floats):
    path = freesurfer(tmp_path / "a.mgz", floats=floats)
    refused(lambda: io.read_image(path), path, "header")


# ------------------------------------------------------------------------------------- broken files

BROKEN = {
    "1-bit": {"datatype": 1, "bitpix": 1},
    "no type": {"datatype": 0},
    "unknown type": {"datatype": 777},
    "offset in the header": {"vox_offset": 100},
    "offset beyond the end": {"vox_offset": 1e7},
    "offset that is no number": {"vox_offset": np.nan},
    "infinite intercept": {"scl_slope": 1, "scl_inter": np.inf},
    "infinite slope": {"scl_slope": np.inf},
    "huge": {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]},
    "empty": {"dim": [3, 20, 0, 22, 1, 1, 1, 1]},
    "negative": {"dim": [3, 20, -24, 22, 1, 1, 1, 1]},
    "no dimensions": {"dim": [0, 20, 24, 22, 1, 1, 1, 1]},
    "too many dimensions": {"dim": [77, 20, 24, 22, 1, 1, 1, 1]},
    "quaternion": {"quatern_b": 3.0, "sform_code": 0},
    "NaN in the affine": {"srow_x": [np.nan, 0, 0, 0]},
    "NaN in the qform": {"qoffset_x": np.nan, "sform_code": 0},
    "colours": {"datatype": 128, "bitpix": 24, "dim": [3, 20, 24, 7, 1, 1, 1, 1]},
    "complex": {"datatype": 32, "bitpix": 64, "dim": [3, 20, 24, 5, 1, 1, 1, 1]},
    "no magic": {"magic": b"xyz"},
}


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
@pytest.mark.parametrize("fields", BROKEN.values(), ids=BROKEN)
def test_whatever_a_header_breaks_is_one_sentence_with_the_file_in_it(
    tmp_path, capfd, caplog, fields, name
):
    path = nifti(tmp_path / name, **fields)
    for read in (io.read_image, io.read_labels):
        refused(lambda read=read: read(path), path)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_a_claim_beyond_what_the_file_can_hold_is_refused_before_voxels_are_asked_for(
    tmp_path, door, name
):
    path = nifti(tmp_path / name, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    refused(lambda: door(path), path, "30000 x 30000 x 30000 voxels", kind=DamagedFileError)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mgz", "a.mgh"])
def test_random_damage_is_read_or_said_in_one_sentence(tmp_path, name):
    """Any three bytes of a header are overwritten; whatever nibabel makes of them, only our own
    exception may come.
    """
    random = np.random.default_rng(0)
    path = (nifti if ".nii" in name else freesurfer)(tmp_path / name)
    opener = gzip.open if name.endswith("z") else open
    with opener(path, "rb") as stream:
        whole = stream.read()
    said, was_read = [], 0
    for _ in range(60):
        broken = bytearray(whole)
        for position in random.integers(0, 348 if ".nii" in name else 90, 3):
            broken[position] = random.integers(256)
        with opener(path, "wb") as stream:
            stream.write(bytes(broken))
        try:
            io.read_image(path)
            was_read += 1
        except InputError as error:
            said.append(str(error))
    assert said
    assert was_read
    assert all(str(path) in message and "\n" not in message for message in said)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
def test_a_changed_byte_in_the_voxels_is_found_by_the_checksum_of_gzip(tmp_path, name):
    """The byte lies where deflate stores it unchanged, so only the checksum can tell."""
    path = (nifti if ".nii" in name else freesurfer)(tmp_path / name)
    with gzip.open(path, "rb") as stream:
        content = stream.read()
    stored = bytearray(gzip.compress(content, compresslevel=0))
    stored[len(stored) // 2] ^= 1
    path.write_bytes(bytes(stored))
    refused(lambda: io.read_image(path), path, "damaged", kind=DamagedFileError)


@pytest.mark.parametrize(
    ("name", "content", "fitting"),
    [
        ("a.nii", "b.mgz", ".mgz"),
        ("a.nii.gz", "b.mgz", ".mgz"),
        ("a.mgz", "b.nii.gz", ".nii.gz"),
        ("a.nii.gz", "b.nii", ".nii"),
        ("a.nii", "b.nii.gz", ".nii.gz"),
        ("a.mgh", "b.mgz", ".mgz"),
    ],
)
def test_a_file_under_the_name_of_another_kind_is_told_what_it_is(tmp_path, name, content, fitting):
    made = (nifti if ".nii" in content else freesurfer)(tmp_path / content)
    made.rename(tmp_path / name)
    refused(lambda: io.read_image(tmp_path / name), tmp_path / name, f"is a {fitting} file")


def test_a_volume_larger_than_memory_is_said(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii")

    def too_large(*_):
        raise MemoryError

    monkeypatch.setattr(nib.Nifti1Image, "dataobj", property(too_large))
    refused(lambda: io.read_image(path), path, "memory")


def affine_of_itk(path):
    """Voxels to RAS mm as SimpleITK reads the file."""
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return RAS_TO_LPS @ affine


# ----------------------------------------------------------------------------------- how it is said


def brain():
    """Return a ball in several grey values, 0 around it."""
    points = Grid(SHAPE, LAS).points_mm()
    points = points - points.reshape(-1, 3).mean(axis=0)
    return np.where(np.linalg.norm(points, axis=-1) < 34, 1 + DATA, 0).astype(np.float32)


@pytest.fixture
def silent(tmp_path):
    """A scan and a label map whose headers tell no orientation."""
    codes = {"sform_code": 0, "qform_code": 0}
    scan = nifti(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz", data=brain(), **codes)
    labels = nifti(tmp_path / "sub-01/anat/sub-01_dseg.nii.gz", **codes)
    return scan, labels


def test_a_dataset_says_it_for_its_scans_and_label_maps(silent, tmp_path):
    from diffeode.prepare.recipe import Recipe
    from diffeode.prepare.scan import prepare_scan
    from diffeode.prepare.units import Before
    from diffeode.study.model import Dataset

    table = tmp_path / "labels.tsv"
    described = Dataset(
        "d", "d", "persons", "bids", tmp_path, table, Recipe(), layout={"scans": {"T1w": ""}}
    )
    (mute,) = described.scans("T1w")
    refused(lambda: prepare_scan(mute, Before(), tmp_path / "unit"), silent[0], "orientation")
    (scan,) = replace(described, orientation="LAS").scans("T1w")
    prepare_scan(scan, Before(), tmp_path / "unit")
    for name in ("image", "labels"):
        grid = io.read_grid(tmp_path / "unit" / f"{name}.nii.gz")
        assert "".join(nib.aff2axcodes(grid.affine)) == "LAS"
    assert json.loads((tmp_path / "unit" / "receipt.json").read_text())["orientation"] == "LAS"


def test_a_datasets_file_takes_every_orientation_and_no_other_word():
    schema = yaml.safe_load(
        (REPOSITORY / "workflow" / "schemas" / "dataset.schema.yaml").read_text()
    )
    check = jsonschema.Draft202012Validator(schema["properties"]["orientation"])
    for text in (*LETTERS, "sform", "qform"):
        check.validate(text)
    assert not any(
        check.is_valid(text) for text in ("", "ras", "RAL", "RASI", "xsform", "sform ", 3)
    )


def test_a_rule_hands_the_orientation_on(silent):
    from diffeode.datasets.scan import Scan

    sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))
    from _scan import scan_from

    scan = Scan("d", "01", None, "T1w", *silent, None, None, orientation="PSR")
    words = {key: str(value) for key, value in vars(scan).items() if value is not None}
    assert scan_from(words) == scan


def test_trainings_say_it(silent, tmp_path):
    from diffeode.desk.training import persons_of_dataset, persons_of_files
    from diffeode.learning.descriptor.material import prepared, read_training

    scan, labels = silent
    for persons in (
        persons_of_files([scan], [scan], [labels], [labels], "RAS"),
        persons_of_dataset(tmp_path, "T1w", "T1w", None, "RAS"),
    ):
        assert [(p.fixed.orientation, p.moving.orientation) for p in persons] == [("RAS", "RAS")]
    refused(lambda: prepared(scan), scan, "orientation")
    assert "".join(nib.aff2axcodes(prepared(scan, "RAS").grid.affine)) == "RAS"
    for text, known in (("RAS", True), ("sideways", False)):
        (tmp_path / "training.yaml").write_text(f"settings: {{steps: 1}}\norientation: {text}\n")
        if known:
            assert read_training(tmp_path / "training.yaml").orientation == text
        else:
            refused(lambda: read_training(tmp_path / "training.yaml"), "sideways")


def test_register_says_what_only_the_option_made_readable(silent, tmp_path, capsys):
    scan, labels = silent
    sure = nifti(tmp_path / "sure.nii.gz", data=brain())
    command = [
        "register",
        str(sure),
        str(scan),
        "-o",
        str(tmp_path / "out"),
        "--labels",
        str(labels),
    ]
    command += ["--method", "identity", "--init", "identity", "--threads", "1"]
    assert main(command) == 2
    assert str(scan) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--orientation", "LAS"]) == 0
    said = capsys.readouterr().err
    assert f"{scan} was read in the orientation that you gave" in said
    assert str(sure) not in said
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["orientation"] == "LAS"
