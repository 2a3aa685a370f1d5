"""Ids of label maps are kept or refused; none vanishes from Dice silently."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from diffeode.cli import main
from diffeode.errors import InputError
from diffeode.evaluation.labels import to_indices, what_is_not_counted
from diffeode.evaluation.overlap import dice_by_label
from diffeode.files import io
from diffeode.files.label_ids import alike_neighbours, looks_like_labels
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid

SHAPE = (24, 26, 22)
GRID = Grid(SHAPE, np.array([[-4.0, 0, 0, 46], [0, 4, 0, -50], [0, 0, 4, -42], [0, 0, 0, 1]]))


def areas(*ids):
    """Areas of these ids side by side, and 0 around them."""
    data = np.zeros(SHAPE, np.int64)
    inside = data[2:-2, 2:-2, 2:-2]
    inside[:] = np.array(ids)[np.linspace(0, len(ids) - 1e-9, inside.shape[0]).astype(int)][
        :, None, None
    ]
    return data


def saved(path, data, dtype=None):
    """Save the array as NIfTI; with ``dtype``, nibabel converts it to that type by a slope that it
    chooses.
    """
    nifti = nib.Nifti1Image(data, GRID.affine, dtype=data.dtype)
    if dtype is not None:
        nifti.set_data_dtype(dtype)
    nib.save(nifti, path)
    return path


def scan(seed=0):
    """A smooth brain in 200 grey values, 0 around it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(SHAPE), 1.0)
    return np.where(areas(1) > 0, np.rint(50 + 150 * (noise - noise.min()) / np.ptp(noise)), 0)


# ---------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
def test_ids_are_the_same_in_whatever_type_they_are_stored(tmp_path, dtype):
    data = areas(1, 17, 49, 255)
    np.testing.assert_array_equal(
        io.read_labels(saved(tmp_path / "a.nii.gz", data.astype(dtype))).data, data
    )


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64, np.float64, ">f8"])
def test_the_largest_id_is_kept_and_a_larger_one_refused(tmp_path, dtype):
    data = areas(1, 2**31 - 1)
    np.testing.assert_array_equal(
        io.read_labels(saved(tmp_path / "a.nii.gz", data.astype(dtype))).data, data
    )
    with pytest.raises(InputError, match=r"a.nii.gz holds the id 2147483648; ids above 2147483647"):
        io.read_labels(saved(tmp_path / "a.nii.gz", areas(1, 2**31).astype(dtype)))


def test_ids_that_single_precision_merges_are_refused(tmp_path):
    assert np.float32(2**24) == np.float32(2**24 + 1)
    data = areas(1, 2**24 + 2).astype(np.float32)
    nib.save(nib.MGHImage(data, GRID.affine), tmp_path / "a.mgz")
    for path in (saved(tmp_path / "a.nii.gz", data), tmp_path / "a.mgz"):
        with pytest.raises(InputError, match="in single precision"):
            io.read_labels(path)


def test_labels_made_in_memory_do_not_wrap_round_either():
    with pytest.raises(InputError, match="4000000001"):
        Labels(areas(1, 4_000_000_001), GRID)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("ids", [(1, 2, 60), (2, 41, 117)])
def test_a_slope_that_a_program_chose_is_undone(tmp_path, dtype, ids):
    path = saved(tmp_path / "a.nii.gz", areas(*ids).astype(float), dtype)
    stored = np.asarray(nib.load(path).dataobj)
    assert np.abs(stored - np.rint(stored)).max() > 1e-5 or dtype == np.uint8
    np.testing.assert_array_equal(io.read_labels(path).data, areas(*ids))


def test_a_slope_too_coarse_for_the_ids_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii.gz", areas(1, 2, 3000).astype(float), np.uint8)
    with pytest.raises(
        InputError, match=r"a.nii.gz is stored with a slope of 11.8, which lets neighbouring ids"
    ):
        io.read_labels(path)


@pytest.mark.parametrize("off", [0.4, 0.01, -0.002])
def test_what_is_off_by_more_than_rounding_is_no_id(tmp_path, off):
    with pytest.raises(InputError, match="whole numbers"):
        io.read_labels(saved(tmp_path / "a.nii.gz", areas(1, 2) + off * (areas(1) > 0)))


def test_probabilities_stored_with_a_slope_are_no_ids(tmp_path):
    chances = np.where(areas(1) > 0, np.random.default_rng(0).random(SHAPE), 0)
    for dtype in (np.uint8, np.int16):
        with pytest.raises(InputError, match="whole numbers"):
            io.read_labels(saved(tmp_path / "a.nii.gz", chances, dtype))


# -------------------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_scan_is_no_label_map(tmp_path, dtype):
    path = saved(tmp_path / "t1w.nii.gz", scan().astype(dtype))
    with pytest.raises(
        InputError,
        match=r"t1w.nii.gz is not a label map but looks like a scan: \d+ different values",
    ):
        io.read_labels(path)


def test_label_maps_of_thousands_of_structures_pass(tmp_path):
    many = np.zeros(SHAPE, np.int32)
    blocks = np.indices(SHAPE) // 3
    many[...] = 1 + blocks[0] + 100 * blocks[1] + 10_000 * blocks[2]
    assert len(np.unique(many)) > 500
    np.testing.assert_array_equal(io.read_labels(saved(tmp_path / "a.nii.gz", many)).data, many)


def test_real_label_maps_and_scans_are_far_apart(real_data_root):
    """This holds also where three of four voxels are left out, after which neighbours share their
    label less often.
    """
    folders = ("albert", "ixi2mm", "oasistrt", "synthseglabels")
    maps = [next((real_data_root / folder).rglob("*_dseg.nii.gz")) for folder in folders]
    scans = [
        next((real_data_root / folder).rglob("*_T1w.nii.gz"))
        for folder in ("albert", "ixi2mm", "oasistrt")
    ]
    for path in maps:
        data = io.read_labels(path).data
        assert looks_like_labels(data)
        assert alike_neighbours(data[::4, ::4, ::4]) > 0.4
    for path in scans:
        assert alike_neighbours(np.rint(io.read_image(path).data).astype(int)) < 0.2


# --------------------------------------------------------------------------------------------- Dice


def test_more_labels_than_indices_are_refused_instead_of_merged():
    with pytest.raises(InputError, match="65536 different labels"):
        to_indices(np.arange(8), np.arange(1, 2**16 + 1))


def test_dice_of_many_labels_needs_no_table_of_all_pairs():
    count = 60_000
    labels = np.arange(1, count + 1, dtype=np.uint16)
    shifted = np.roll(labels, 1)
    shifted[: count // 2] = labels[: count // 2]
    found = dice_by_label(labels, shifted, count)
    assert found[: count // 2 - 1].min() == 1
    assert found[count // 2 :].max() == 0


def test_what_dice_leaves_out_is_said():
    fixed, moving = Labels(areas(1, 2, 7), GRID), Labels(areas(1, 3, 7), GRID)
    said = what_is_not_counted(fixed, moving, np.array([1, 2, 3, 4]))
    assert said == [
        "ids 2 are in the fixed label map only; they count as Dice 0 and have no HD95",
        "ids 3 are in the moving label map only; they count as Dice 0 and have no HD95",
        "ids 4 of the label table are in neither label map and are not counted",
        "ids 7 of the label maps are not in the label table and are not counted",
    ]
    assert what_is_not_counted(fixed, fixed, np.array([1, 2, 7])) == []


@pytest.fixture
def pair(tmp_path):
    """A function of fixed and moving labels that returns the result of ``diffeode register`` with a
    scan and itself.
    """
    io.write_image(tmp_path / "scan.nii.gz", Image(scan(), GRID))

    def run(fixed, moving):
        arguments = [
            "register",
            *[str(tmp_path / "scan.nii.gz")] * 2,
            "-o",
            str(tmp_path / "out"),
            "--threads",
            "1",
        ]
        arguments += ["--method", "identity", "--init", "identity"]
        for option, data in (("--fixed-labels", fixed), ("--labels", moving)):
            if data is not None:
                arguments += [option, str(saved(tmp_path / f"{option[2:]}.nii.gz", data))]
        code = main(arguments)
        return code, tmp_path / "out"

    return run


def test_labels_of_one_side_are_counted_and_said(pair, capsys):
    code, out = pair(areas(1, 2), areas(1, 3))
    said = capsys.readouterr().err
    content = json.loads((out / "metrics.json").read_text())
    assert code == 0
    assert "ids 2 are in the fixed label map only" in said
    assert "ids 3 are in the moving label map only" in said
    assert content["dice_by_label"] == {"1": 1.0, "2": 0.0, "3": 0.0}
    assert content["metrics"]["dice"] == pytest.approx(1 / 3, abs=1e-6)
    assert content["hd95_mm_by_label"] == {"1": 0.0, "2": None, "3": None}
    assert len(content["notes"]) == 2


@pytest.mark.parametrize(
    ("fixed", "moving", "message"),
    [
        (areas(1, 2), areas(10, 20), "have no id in common"),
        (areas(1, 2), None, "cannot be measured without a label map of the moving scan"),
        (scan().astype(np.int16), areas(1, 2), "looks like a scan"),
        (areas(1, 2), scan().astype(np.int16), "looks like a scan"),
    ],
)
def test_label_maps_that_cannot_be_compared_are_refused_before_work_begins(
    pair, capsys, fixed, moving, message
):
    code, out = pair(fixed, moving)
    assert code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_study_logs_what_its_table_leaves_out(tmp_path, caplog):
    from diffeode.evaluation.evaluate import _labels

    table = tmp_path / "table.tsv"
    table.write_text(
        "id\tname\tabbreviation\themisphere\tgroup\n1\tone\to\tnone\tg\n9\tnine\tn\tnone\tg\n"
    )
    for side, ids in (("fixed", (1, 2)), ("moving", (1, 3))):
        io.write_labels(tmp_path / side / "labels.nii.gz", Labels(areas(*ids), GRID))
    with caplog.at_level(logging.WARNING):
        _labels(tmp_path / "fixed" / "labels.nii.gz", tmp_path / "moving" / "labels.nii.gz", table)
    assert "ids 9 of the label table are in neither label map" in caplog.text
    assert "ids 2, 3 of the label maps are not in the label table" in caplog.text
