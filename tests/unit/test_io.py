"""Reading refuses what is unusable with one clear sentence; writing is whole, exact and
repeatable.
"""

import gzip
import time

import nibabel as nib
import numpy as np
import pytest

from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField

LAS = np.array([[-2.0, 0, 0, 60], [0, 1.5, 0, -80], [0, 0, 1.0, -40], [0, 0, 0, 1]])
SHAPE = (7, 6, 5)


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def saved(path, data, affine=LAS):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def one_sentence(error, *words):
    """The message is one line, ends as a sentence, and names each of ``words``."""
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert str(word) in message


# ---------------------------------------------------------------------------------------- bad input


def test_missing_file(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_image(tmp_path / "none.nii.gz")
    one_sentence(error, "There is no file", tmp_path / "none.nii.gz")


def test_file_of_another_kind(tmp_path):
    (tmp_path / "notes.txt").write_text("not a scan")
    with pytest.raises(InputError) as error:
        io.read_image(tmp_path / "notes.txt")
    one_sentence(error, "notes.txt", "not a NIfTI")


@pytest.mark.parametrize("name", ["text.nii", "text.nii.gz", "text.mgz"])
def test_text_under_the_name_of_a_scan(tmp_path, name):
    (tmp_path / name).write_text("this is not a scan\n" * 100)
    with pytest.raises(InputError) as error:
        io.read_image(tmp_path / name)
    one_sentence(error, name)


@pytest.mark.parametrize("name", ["empty.nii.gz", "empty.nii", "empty.mgz"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(DamagedFileError) as error:
        io.read_image(tmp_path / name)
    one_sentence(error, name, "empty")


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_truncated_nifti(tmp_path, kept):
    path = saved(tmp_path / "scan.nii.gz", noise((20, 20, 20)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DamagedFileError) as error:
        io.read_image(path)
    one_sentence(error, path, "truncated or damaged")


def test_truncated_uncompressed_nifti(tmp_path):
    path = saved(tmp_path / "scan.nii", noise())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFileError) as error:
        io.read_image(path)
    one_sentence(error, path, "truncated or damaged")


@pytest.mark.parametrize("kept", [0.001, 0.5])
def test_damaged_freesurfer_volume(tmp_path, kept):
    path = tmp_path / "scan.mgz"
    nib.save(nib.MGHImage(noise((20, 20, 20)), LAS), path)
    path.write_bytes(path.read_bytes()[: max(12, int(path.stat().st_size * kept))])
    with pytest.raises(DamagedFileError) as error:
        io.read_image(path)
    one_sentence(error, path, "truncated or damaged")


def test_series_of_volumes(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_image(saved(tmp_path / "bold.nii.gz", noise((4, 4, 4, 3))))
    one_sentence(error, "bold.nii.gz", "4-D", "(4, 4, 4, 3)")


def test_single_slice(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_image(saved(tmp_path / "slice.nii.gz", noise((4, 4))))
    one_sentence(error, "slice.nii.gz", "2-D")


def test_colour_image(tmp_path):
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError) as error:
        io.read_image(saved(tmp_path / "colour.nii.gz", colours))
    one_sentence(error, "colour.nii.gz", "one real number per voxel")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite(tmp_path, bad):
    data = noise()
    data[0, 0, :2] = bad
    with pytest.raises(InputError) as error:
        io.read_image(saved(tmp_path / "holes.nii.gz", data))
    one_sentence(error, "holes.nii.gz", "2 voxels", "NaN")


def test_constant_image(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_image(saved(tmp_path / "flat.nii.gz", np.full(SHAPE, 3, np.float32)))
    one_sentence(error, "flat.nii.gz", "constant", "3")


def test_header_that_gives_no_positions(tmp_path):
    nifti = nib.Nifti1Image(noise(), None)
    nifti.header["sform_code"] = 1
    nifti.header["srow_x"] = nifti.header["srow_y"] = nifti.header["srow_z"] = 0
    nifti.to_filename(tmp_path / "flat.nii")
    with pytest.raises(InputError) as error:
        io.read_image(tmp_path / "flat.nii")
    one_sentence(error, "flat.nii", "affine")


@pytest.mark.parametrize("value", [1.5, -1, np.nan])
def test_label_map_of_other_than_whole_numbers(tmp_path, value):
    data = np.zeros(SHAPE, np.float32)
    data[2, 2, 2] = value
    with pytest.raises(InputError) as error:
        io.read_labels(saved(tmp_path / "dseg.nii.gz", data))
    one_sentence(error, "dseg.nii.gz", "label map", "whole numbers")


def test_scan_in_place_of_a_displacement_field(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_displacement(saved(tmp_path / "scan.nii.gz", noise()))
    one_sentence(error, "scan.nii.gz", "displacement field", "(X, Y, Z, 1, 3)")


def test_truncated_displacement_field(tmp_path):
    path = tmp_path / "warp.nii.gz"
    io.write_displacement(path, DisplacementField(noise((*SHAPE, 3)), Grid(SHAPE, LAS)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DamagedFileError):
        io.read_displacement(path)


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize("text", ["", "1 2 3\n4 5 6\n", "a b c d\n" * 4])
def test_affine_file_without_a_matrix(tmp_path, text):
    (tmp_path / "affine.txt").write_text(text)
    with pytest.raises(InputError) as error:
        io.read_affine(tmp_path / "affine.txt")
    one_sentence(error, "affine.txt", "4 x 4")


def test_missing_affine_file(tmp_path):
    with pytest.raises(InputError) as error:
        io.read_affine(tmp_path / "affine.txt")
    one_sentence(error, "affine.txt")


# ------------------------------------------------------------------------------------------ reading


def test_header_slope_and_intercept_are_honoured(tmp_path):
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nifti = nib.Nifti1Image(stored, LAS)
    nifti.header.set_slope_inter(0.5, 10)
    path = tmp_path / "scaled.nii.gz"
    nifti.to_filename(path)
    raw = nib.load(path)
    assert raw.dataobj.slope == 0.5
    np.testing.assert_allclose(io.read_image(path).data, raw.dataobj.get_unscaled() * 0.5 + 10)
    assert io.read_image(path).data.max() > 100


def test_one_volume_with_a_trailing_axis_is_a_volume(tmp_path):
    data = noise((*SHAPE, 1))
    np.testing.assert_array_equal(
        io.read_image(saved(tmp_path / "a.nii.gz", data)).data, data[..., 0]
    )


def test_freesurfer_volume_is_read_in_its_own_order_and_place(data_root):
    anat = data_root / "ds000247" / "sub-0002" / "anat"
    paths = sorted(anat.glob("*.mgz"))
    assert len(paths) == 2
    for path in paths:
        with gzip.open(path) as handle:
            header, body = handle.read(284), handle.read()
        shape = tuple(np.frombuffer(header, ">i4", 3, offset=4))
        image = io.read_labels(path) if "aseg" in path.name else io.read_image(path)
        assert image.grid.shape == shape
        # The header's c_ras is the RAS position of voxel shape / 2 (mghformat); its last three of
        # twelve floats.
        c_ras = np.frombuffer(header, ">f4", 15, offset=30)[12:]
        np.testing.assert_allclose(image.grid.to_world(np.array(shape) / 2), c_ras, atol=1e-3)
        stored = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}[
            int(np.frombuffer(header, ">i4", 1, offset=20)[0])
        ]
        content = np.frombuffer(body, stored, int(np.prod(shape))).reshape(shape, order="F")
        np.testing.assert_array_equal(image.data, content)


# ------------------------------------------------------------------------------------------ writing


def test_image_round_trip_is_exact(tmp_path):
    image = Image(noise(), Grid(SHAPE, LAS))
    io.write_image(tmp_path / "a.nii.gz", image)
    back = io.read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.grid.affine, LAS)


def test_label_round_trip_is_exact_for_large_ids(tmp_path):
    data = np.random.default_rng(0).integers(0, 2_000_000, SHAPE)
    io.write_labels(tmp_path / "a.nii.gz", Labels(data, Grid(SHAPE, LAS)))
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.nii.gz").data, data)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["warp.nii", "warp.nii.gz"])
def test_displacement_round_trip_is_exact(name, quick, tmp_path):
    field = DisplacementField(noise((*SHAPE, 3)), Grid(SHAPE, LAS))
    io.write_displacement(tmp_path / name, field, quick)
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    back = io.read_displacement(tmp_path / name)
    np.testing.assert_array_equal(back.displacement_mm, field.displacement_mm)
    assert back.grid.matches(field.grid, 1e-6)


def test_displacement_file_is_lps_with_the_vector_intent(tmp_path):
    displacement = np.zeros((*SHAPE, 3), np.float32)
    displacement[..., :] = (1, 2, 3)
    io.write_displacement(
        tmp_path / "warp.nii.gz", DisplacementField(displacement, Grid(SHAPE, LAS))
    )
    nifti = nib.load(tmp_path / "warp.nii.gz")
    assert nifti.shape == (*SHAPE, 1, 3)
    assert int(nifti.header["intent_code"]) == 1007
    np.testing.assert_array_equal(np.asarray(nifti.dataobj)[0, 0, 0, 0], (-1, -2, 3))


def test_quick_compression_holds_the_same_file_and_is_repeatable(tmp_path):
    field = DisplacementField(noise((*SHAPE, 3)), Grid(SHAPE, LAS))
    for name, quick in (("usual", False), ("quick", True), ("again", True)):
        io.write_displacement(tmp_path / f"{name}.nii.gz", field, quick)
    usual, quick, again = (
        (tmp_path / f"{name}.nii.gz").read_bytes() for name in ("usual", "quick", "again")
    )
    assert quick == again != usual
    assert gzip.decompress(quick) == gzip.decompress(usual)


def test_affine_round_trip_is_exact(tmp_path):
    matrix = np.linalg.inv(LAS) + 1e-9 * np.arange(16).reshape(4, 4)
    io.write_affine(tmp_path / "a.txt", Affine(matrix))
    np.testing.assert_array_equal(io.read_affine(tmp_path / "a.txt").matrix, matrix)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_same_content_same_bytes_whenever_written(tmp_path, monkeypatch, suffix):
    image = Image(noise(), Grid(SHAPE, LAS))
    io.write_image(tmp_path / f"a{suffix}", image)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    io.write_image(tmp_path / f"b{suffix}", image)
    assert io.sha256(tmp_path / f"a{suffix}") == io.sha256(tmp_path / f"b{suffix}")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    io.write_text(path, "old")

    def interrupted():
        with io.written_whole(path) as temporary:
            temporary.write_text("half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(nifti, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(InputError) as error:
        io.write_image(tmp_path / "a.nii.gz", Image(noise(), Grid(SHAPE, LAS)))
    one_sentence(error, "a.nii.gz", "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as error:
        io.write_text(tmp_path / "file" / "a.txt", "x")
    one_sentence(error, "Cannot write", tmp_path / "file" / "a.txt")
