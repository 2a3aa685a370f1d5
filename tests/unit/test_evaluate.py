"""Evaluating finished folders: the rows, the refusals, and that neither torch nor a method is
imported.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffeode.errors import DamagedFileError, InputError
from diffeode.evaluation.catalogue import METRICS, ROW
from diffeode.evaluation.evaluate import evaluate_pair, evaluate_unit
from diffeode.evaluation.labels import read_label_table
from diffeode.evaluation.landmarks import shared_landmarks
from diffeode.files import io
from diffeode.files.landmarks import read_landmarks
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify
from diffeode.provenance.receipt import write_receipt

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

GRID = Grid((24, 22, 20), np.diag([-2.0, 2.0, 2.0, 1.0]))
SCAN_GRID = Grid(
    (48, 44, 40), np.array([[-1.0, 0, 0, 0.3], [0, 1.0, 0, -0.3], [0, 0, 1.0, -0.3], [0, 0, 0, 1]])
)
TABLE = (
    "id\tname\tabbreviation\themisphere\tgroup\n"
    "17\tleft hippocampus\tHip\tleft\tdeep\n"
    "53\tright hippocampus\tHip\tright\tdeep\n"
)
LANDMARKS = "name\tx\ty\tz\nfrontal pole\t-20\t20\t18\nvermis\t-22\t24\t16\n"


def two_boxes(grid: Grid) -> np.ndarray:
    """Labels 17 and 53, and a label 99 that no table knows."""
    across, along, _ = np.moveaxis(grid.points_mm(), -1, 0) - grid.centre_mm[:, None, None, None]
    height = grid.points_mm()[..., 2] - grid.centre_mm[2]
    inside = (np.abs(across) < 14) & (np.abs(along) < 12) & (np.abs(height) < 10)
    return np.select([inside & (across < -2), inside & (across > 2), inside], [17, 53, 99], 0)


def write_scan(folder: Path, labelled: bool = True) -> Path:
    labels = two_boxes(SCAN_GRID)
    io.write_image(folder / "image.nii.gz", Image(labels / 99, SCAN_GRID))
    files = ["image.nii.gz"]
    if labelled:
        io.write_labels(folder / "labels.nii.gz", Labels(labels, SCAN_GRID))
        io.write_text(folder / "landmarks.tsv", LANDMARKS)
        files += ["labels.nii.gz", "landmarks.tsv"]
    write_receipt(folder, files, {})
    return folder


@pytest.fixture
def unit(tmp_path) -> dict[str, Path]:
    """A pair of one scan with itself, registered by the identity, as the workflow lays it out."""
    pair, registration, table = (
        tmp_path / "pair",
        tmp_path / "registration",
        tmp_path / "labels.tsv",
    )
    for name in ("fixed", "moving"):
        io.write_image(pair / f"{name}.nii.gz", Image(two_boxes(GRID) / 99, GRID))
    io.write_affine(pair / "moving_to_scan.txt", Affine())
    write_receipt(pair, ["fixed.nii.gz", "moving.nii.gz", "moving_to_scan.txt"], {})
    io.write_displacement(registration / "warp.nii.gz", densify(Affine(), GRID))
    io.write_displacement(registration / "inverse_warp.nii.gz", densify(Affine(), SCAN_GRID))
    costs = {"seconds": 12.5, "cpu_seconds": 20.25, "peak_memory_mb": 640.0}
    write_receipt(
        registration,
        ["warp.nii.gz", "inverse_warp.nii.gz"],
        {"status": "done", "suspect": True, **costs},
    )
    table.write_text(TABLE)
    scans = {name: write_scan(tmp_path / name) for name in ("fixed_scan", "moving_scan")}
    labels = {"fixed_labels": scans["fixed_scan"], "moving_labels": scans["moving_scan"]}
    return {"registration": registration, "pair": pair, **scans, **labels, "label_table": table}


def test_a_subset_of_structures_has_a_mean_of_its_own(unit):
    """The moving label map lacks label 53, so the Dice of the two structures differ."""
    labels = Labels(np.where(two_boxes(SCAN_GRID) == 53, 0, two_boxes(SCAN_GRID)), SCAN_GRID)
    io.write_labels(unit["moving_scan"] / "labels.nii.gz", labels)
    write_receipt(
        unit["moving_scan"], ["image.nii.gz", "labels.nii.gz", "landmarks.tsv"], {"other": True}
    )
    assert "dice_subset" not in whole(evaluate_unit(**unit))
    for subset, expected in ((("yes", "no"), 1.0), (("no", "yes"), 0.0)):
        head, *rows = TABLE.splitlines()
        marked = [f"{row}\t{word}" for row, word in zip(rows, subset, strict=True)]
        unit["label_table"].write_text("\n".join([f"{head}\tsubset", *marked]))
        found = whole(evaluate_unit(**unit))
        assert found["dice_subset"] == pytest.approx(expected, abs=0.01)
        assert found["dice"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("subset", "sentence"),
    [
        (("yes", "ja"), "has 'ja' in line 3, column 'subset'"),
        (("yes", "yes"), "says subset yes in every row"),
        (("no", "no"), "says subset no in every row"),
    ],
)
def test_a_subset_that_is_none_is_refused(subset, sentence, tmp_path):
    head, *rows = TABLE.splitlines()
    marked = [f"{row}\t{word}" for row, word in zip(rows, subset, strict=True)]
    (tmp_path / "table.tsv").write_text("\n".join([f"{head}\tsubset", *marked]))
    with pytest.raises(InputError, match=sentence):
        read_label_table(tmp_path / "table.tsv")


def whole(rows) -> dict[str, float]:
    return rows[rows["label"] == ""].set_index("metric")["value"].to_dict()


def test_a_finished_unit_has_every_metric_once(unit):
    rows = evaluate_unit(**unit)
    assert tuple(rows.columns) == ROW
    assert not rows.duplicated(["metric", "label"]).any()
    values = whole(rows)
    assert set(values) == set(METRICS) - {"failed", "dice_subset"}
    assert values["dice"] == 1
    assert values["hd95_mm"] == values["tre_mm"] == values["folds_onesided_percent"] == 0
    assert values["nmi"] == values["nmi_before"]
    assert (values["seconds"], values["cpu_seconds"], values["peak_memory_mb"]) == (
        12.5,
        20.25,
        640,
    )
    assert values["suspect"] == 1


def test_labels_carry_their_names_and_ids_outside_the_table_are_ignored(unit):
    rows = evaluate_unit(**unit)
    labelled = rows[rows["label"] != ""]
    assert set(zip(labelled["label"], labelled["label_name"], strict=True)) == {
        ("17", "left hippocampus"),
        ("53", "right hippocampus"),
    }
    assert set(labelled["metric"]) == {"dice", "hd95_mm"}


def test_labels_and_landmarks_are_moved_by_the_alignment(unit):
    """The moving scan lies 10 mm beside the fixed one, and the alignment says so; the results stay
    the same.
    """
    beside = np.eye(4)
    beside[:3, 3] = [10.0, 0.0, 0.0]
    away = Affine(beside)
    moved = Grid(SCAN_GRID.shape, beside @ SCAN_GRID.affine)
    pair, registration, scan = unit["pair"], unit["registration"], unit["moving_scan"]
    labels = two_boxes(SCAN_GRID)
    io.write_image(scan / "image.nii.gz", Image(labels / 99, moved))
    io.write_labels(scan / "labels.nii.gz", Labels(labels, moved))
    points = [line.split("\t") for line in LANDMARKS.splitlines()[1:]]
    rows = [f"{name}\t{float(x) + 10}\t{y}\t{z}" for name, x, y, z in points]
    io.write_text(scan / "landmarks.tsv", "\n".join(["name\tx\ty\tz", *rows, ""]))
    write_receipt(scan, ["image.nii.gz", "labels.nii.gz", "landmarks.tsv"], {})
    io.write_affine(pair / "moving_to_scan.txt", away)
    write_receipt(pair, ["fixed.nii.gz", "moving.nii.gz", "moving_to_scan.txt"], {})
    io.write_displacement(registration / "warp.nii.gz", densify(away, GRID))
    io.write_displacement(registration / "inverse_warp.nii.gz", densify(away.inverse(), moved))
    costs = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mb": 1.0}
    write_receipt(
        registration,
        ["warp.nii.gz", "inverse_warp.nii.gz"],
        {"status": "done", "suspect": False, **costs},
    )
    values = whole(evaluate_unit(**unit))
    assert values["dice"] == 1
    assert values["tre_mm"] == pytest.approx(0, abs=1e-4)
    assert values["nmi"] == pytest.approx(values["nmi_before"])


def test_the_alignment_of_the_moving_scan_is_what_is_taken_out_of_the_map(unit):
    """An alignment by 2 along x doubles the volume, so a whole map that is the identity has halved
    it again.
    """
    pair = unit["pair"]
    io.write_affine(pair / "moving_to_scan.txt", Affine(np.diag([2.0, 1, 1, 1])))
    write_receipt(pair, ["fixed.nii.gz", "moving.nii.gz", "moving_to_scan.txt"], {})
    values = whole(evaluate_unit(**unit))
    assert values["min_jacobian"] == pytest.approx(0.5)
    assert values["nmi_before"] < values["nmi"]
    assert values["dice"] == 1


def test_a_scan_without_labels_gives_the_metrics_that_need_none(unit, tmp_path):
    unlabelled = write_scan(tmp_path / "unlabelled", labelled=False)
    values = whole(evaluate_unit(**unit | {"moving_scan": unlabelled, "moving_labels": unlabelled}))
    assert not set(values) & {"dice", "hd95_mm", "tre_mm"}
    assert {"nmi", "ndv_percent", "seconds"} <= set(values)
    assert "dice" not in whole(evaluate_unit(**unit | {"label_table": None}))


def test_a_failed_registration_is_one_row(unit):
    write_receipt(unit["registration"], [], {"status": "failed", "reason": "diverged"})
    rows = evaluate_unit(**unit)
    assert rows.to_dict("records") == [
        {"metric": "failed", "label": "", "label_name": "", "value": 1.0}
    ]


FILES = {
    "registration": ("warp.nii.gz", "inverse_warp.nii.gz"),
    "pair": ("fixed.nii.gz", "moving.nii.gz", "moving_to_scan.txt"),
    "fixed_scan": ("image.nii.gz", "landmarks.tsv"),
    "moving_scan": ("image.nii.gz", "landmarks.tsv"),
    "fixed_labels": ("labels.nii.gz",),
    "moving_labels": ("labels.nii.gz",),
}


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in FILES.items() for name in names]
)
def test_a_damaged_file_of_any_folder_is_refused(unit, tmp_path, folder, name):
    """Label maps may come from units of their own, such as segmentations."""
    unit |= {side: write_scan(tmp_path / side) for side in ("fixed_labels", "moving_labels")}
    evaluate_unit(**unit)
    path = unit[folder] / name
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"{path} has changed"):
        evaluate_unit(**unit)


def test_a_label_map_of_another_atlas_is_refused_naming_both_files(unit):
    unit["label_table"].write_text(TABLE.replace("17", "1017").replace("53", "1053"))
    with pytest.raises(
        InputError,
        match=r"fixed_scan/labels\.nii\.gz holds none of the ids of label table .*labels\.tsv",
    ):
        evaluate_unit(**unit)


def test_label_maps_without_any_structure_give_no_label_rows():
    image, nothing = Image(two_boxes(GRID) / 99, GRID), Labels(np.zeros(GRID.shape), GRID)
    rows = evaluate_pair(
        warp=densify(Affine(), GRID),
        fixed_image=image,
        moving_scan=image,
        fixed_mask=image.data > 0,
        fixed_labels=nothing,
        moving_labels=nothing,
        label_table=pd.DataFrame({"id": [], "name": []}),
    )
    assert not set(rows["metric"]) & {"dice", "hd95_mm"}


def test_a_map_for_another_grid_is_refused():
    image = Image(two_boxes(GRID), GRID)
    warp = DisplacementField(np.zeros((5, 5, 5, 3)), Grid((5, 5, 5), np.eye(4)))
    with pytest.raises(InputError, match="give the map that was made for this scan"):
        evaluate_pair(warp=warp, fixed_image=image, moving_scan=image, fixed_mask=image.data > 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("abbreviation", "abreviation", "no column 'abbreviation'; did you mean 'abreviation'"),
        ("53", "17", r"lists id '17' twice, in lines 2 and 3; keep one row"),
        ("17", "1.5", "has '1.5' in line 2, column 'id'; give a whole number from 1 on"),
        ("17", "0", "has '0' in line 2, column 'id'; give a whole number from 1 on"),
        ("\tleft\t", "\tleff\t", "has 'leff' in line 2, column 'hemisphere'; did you mean 'left'"),
        (TABLE[TABLE.index("17") :], "", "has no rows"),
    ],
)
def test_a_wrong_label_table_is_refused_in_one_sentence(tmp_path, old, new, message):
    path = tmp_path / "atlas.tsv"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(InputError, match=message) as refusal:
        read_label_table(path)
    assert "atlas.tsv" in str(refusal.value)


def test_missing_and_empty_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no"):
        read_label_table(tmp_path / "absent.tsv")
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(InputError, match="is not a table"):
        read_label_table(tmp_path / "empty.tsv")


def test_landmarks_are_matched_by_name(tmp_path):
    (tmp_path / "a.tsv").write_text(LANDMARKS)
    (tmp_path / "b.tsv").write_text(
        "name\tx\ty\tz\nvermis\t1\t2\t3\nfrontal pole\t4\t5\t6\ninsula\t7\t8\t9\n"
    )
    fixed, moving = shared_landmarks(
        read_landmarks(tmp_path / "a.tsv"), read_landmarks(tmp_path / "b.tsv")
    )
    np.testing.assert_array_equal(fixed, [[-20, 20, 18], [-22, 24, 16]])
    np.testing.assert_array_equal(moving, [[4, 5, 6], [1, 2, 3]])


def test_landmarks_without_a_partner_are_told_in_the_log(unit, caplog):
    scan = unit["moving_scan"]
    io.write_text(scan / "landmarks.tsv", LANDMARKS.replace("vermis", "insula"))
    write_receipt(scan, ["image.nii.gz", "labels.nii.gz", "landmarks.tsv"], {})
    assert "tre_mm" in whole(evaluate_unit(**unit))
    said = [record.getMessage() for record in caplog.records if "not measured" in record.message]
    assert len(said) == 2
    assert "vermis are in the table of the fixed scan only" in said[0].replace("'", "")
    assert "insula are in the table of the moving scan only" in said[1].replace("'", "")


def test_every_metric_is_explained():
    text = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_evaluation_and_statistics_import_neither_torch_nor_the_methods():
    code = (
        "import sys, diffeode.evaluation.evaluate, diffeode.statistics.tidy, "
        "diffeode.statistics.summary\n"
        "import diffeode.statistics.wilcoxon, diffeode.statistics.effect, "
        "diffeode.statistics.export\n"
        "print(sorted(m for m in sys.modules if m in ('torch', 'ants', 'matplotlib', "
        "'diffeode.methods')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
