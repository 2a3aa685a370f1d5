"""Scans of any folder by a pattern, with label maps and demographics."""

from pathlib import Path

import numpy as np
import pytest

from diffeode.datasets.demographics import Columns, Demographics, Known, read_demographics
from diffeode.datasets.folder import list_folder
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.files import io

REPOSITORY = Path(__file__).resolve().parents[2]
NEURITE = {"T1w": "OASIS_OAS1_{subject}_MR{session}/aligned_norm.nii.gz"}
NEURITE_LABELS = "OASIS_OAS1_{subject}_MR{session}/aligned_seg35.nii.gz"


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_neurite_oasis(tmp_path):
    root = files(
        tmp_path,
        *[f"OASIS_OAS1_{n:04d}_MR1/aligned_{k}.nii.gz" for n in (1, 2) for k in ("norm", "seg35")],
    )
    files(
        root,
        "OASIS_OAS1_0003_MR1/aligned_norm.nii.gz",
        "OASIS_OAS1_0003_MR1/aligned_orig.nii.gz",
        "subjects.txt",
    )
    scans = list_folder("neurite-oasis", root, NEURITE, ("T1w",), NEURITE_LABELS)
    assert [scan.id for scan in scans] == [f"sub-000{n}_ses-1_T1w" for n in (1, 2, 3)]
    assert [scan.labels and scan.labels.parent for scan in scans] == [
        *(scan.image.parent for scan in scans[:2]),
        None,
    ]


def test_candi_with_its_demographics(tmp_path):
    names = ("HC_001", "BPDwPsy_065")
    root = files(
        tmp_path, *[f"{n[:2]}/{n}/{n}_{k}.nii.gz" for n in names for k in ("procimg", "seg")]
    )
    files(
        root,
        "HC/HC_001/HC_002_procimg.nii.gz",
        "SS_085/SS_085_procimg.nii.gz",
        "SS_085/SS_085_seg.nii.gz",
    )
    table = root / "people.csv"
    table.write_text(
        "Subject,Gender,Age,Dx\nHC_001,male,9.5,control\nBPDwPsy_065,female,12,bipolar\n",
        encoding="utf-8",
    )
    known = read_demographics(table, Columns("Subject", age="Age", sex="Gender", group="Dx"))
    pattern = "**/{subject}/{subject}_%s.nii.gz"
    scans = list_folder(
        "candi", root, {"T1w": pattern % "procimg"}, ("T1w",), pattern % "seg", known
    )
    assert [(s.subject, s.group, s.sex, s.age) for s in scans] == [
        ("BPDwPsy065", "bipolar", "F", 12),
        ("HC001", "control", "M", 9.5),
        ("SS085", None, None, None),
    ]
    assert all(scan.labels.is_file() for scan in scans)


def test_contrasts_runs_and_wildcards(tmp_path):
    root = files(
        tmp_path,
        "a-x/T1_2.nii",
        "a-x/T1_10.nii",
        "a-x/T2.nii",
        "b-y/T1_1.nii",
        "b-y/notes/T1_1.nii",
    )
    patterns = {"T1w": "{subject}-*/T1_{run}.nii", "T2w": "{subject}-*/T2.nii"}
    scans = list_folder("mine", root, patterns, ("T1w", "T2w"))
    assert [(scan.id, scan.image.name) for scan in scans] == [
        ("sub-a_T1w", "T1_2.nii"),
        ("sub-a_T2w", "T2.nii"),
        ("sub-b_T1w", "T1_1.nii"),
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{subject}*_T1w.nii",
        "{subject}_{session}{run}_T1w.nii",
        "**{subject}_x1_T1w.nii",
        "**/{subject}**.nii",
        "{subject}_x1**w.nii",
    ],
)
def test_placeholders_and_stars_may_stand_side_by_side(tmp_path, pattern):
    root = files(tmp_path, "a_x1_T1w.nii")
    (scan,) = list_folder("mine", root, {"T1w": pattern}, ("T1w",))
    assert scan.image == root / "a_x1_T1w.nii"


def test_subjects_are_told_apart_by_letters_of_any_script(tmp_path):
    root = files(tmp_path, "李_1.nii", "张_2.nii")
    table = root / "people.csv"
    table.write_text("Subject,Age\n李,30\n张,40\n", encoding="utf-8")
    known = read_demographics(table, Columns("Subject", age="Age"))
    scans = list_folder("mine", root, {"T1w": "{subject}_{run}.nii"}, ("T1w",), None, known)
    assert [(scan.subject, scan.age) for scan in scans] == [("张", 40), ("李", 30)]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["--_1.nii"], "has the subject or session '--', which has no letter and no digit"),
        (["a-1_1.nii", "a1_2.nii"], "have the same letters and digits; rename one"),
    ],
)
def test_subjects_who_would_become_one_are_refused(tmp_path, names, sentence):
    root = files(tmp_path, *names)
    with pytest.raises(InputError) as caught:
        list_folder("mine", root, {"T1w": "{subject}_{run}.nii"}, ("T1w",))
    assert sentence in str(caught.value)


def test_a_day_of_thousands_of_digits_is_no_day(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(f"Subject,Day\n7,{'1' * 5000}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has the day '1{76}\.\.\. of 7; give days since entry"):
        read_demographics(table, Columns("Subject", day="Day"))


def test_labels_without_a_session_serve_every_session(tmp_path):
    root = files(tmp_path, "a_1.nii", "a_2.nii", "labels/a.nii")
    scans = list_folder(
        "mine", root, {"T1w": "{subject}_{session}.nii"}, ("T1w",), "labels/{subject}.nii"
    )
    assert [scan.labels for scan in scans] == [root / "labels" / "a.nii"] * 2


def test_signs_of_patterns_mean_themselves_in_names(tmp_path):
    root = files(tmp_path, "scan[a]+(1).nii", "scana+(1).nii")
    (scan,) = list_folder("mine", root, {"T1w": "scan[{subject}]+(1).nii"}, ("T1w",))
    assert scan.id == "sub-a_T1w"


def test_sessions_that_are_days_join_to_the_nearest_visit(tmp_path):
    root = files(tmp_path, "sub-7_ses-d0100_T1w.nii", "sub-7_ses-d0900_T1w.nii")
    known = Demographics({"7": [(0, Known(cdr=0.0)), (800, Known(cdr=1.0))]})
    scans = list_folder(
        "mine", root, {"T1w": "sub-{subject}_ses-d{session}_T1w.nii"}, ("T1w",), None, known
    )
    assert [scan.cdr for scan in scans] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("scan.nii", "has the pattern 'scan.nii' without {subject}; say where the subject is"),
        ("{subjct}.nii", "whose {subjct} is no placeholder; did you mean 'subject'"),
        ("{subject}/T1.nii", "Dataset mine has no T1w scans {subject}/T1.nii under"),
        ("{subject}/T2.nii", "; correct the pattern or the root of the dataset."),
        ("*_{subject}.nii", "for one scan; keep one"),
        ("/data/{subject}.nii", "which begins with '/'; give the path below the root"),
    ],
)
def test_unusable_patterns(tmp_path, pattern, sentence):
    root = files(tmp_path, "x_a.nii", "y_a.nii")
    with pytest.raises(InputError) as caught:
        list_folder("mine", root, {"T1w": pattern}, ("T1w",))
    assert sentence in str(caught.value)


def test_a_contrast_without_a_pattern(tmp_path):
    with pytest.raises(
        InputError, match="Dataset mine has no pattern for 'T2w'; did you mean 'T1w'"
    ):
        list_folder("mine", tmp_path, {"T1w": "{subject}.nii"}, ("T2w",))
    with pytest.raises(InputError, match="Dataset mine has no folder"):
        list_folder("mine", tmp_path / "absent", {"T1w": "{subject}.nii"}, ("T1w",))


def test_a_freesurfer_subject(data_root):
    patterns = {"T1w": "sub-{subject}/anat/T1.mgz"}
    (scan,) = list_folder(
        "ds000247", data_root / "ds000247", patterns, ("T1w",), "sub-{subject}/anat/aseg.mgz"
    )
    assert scan.id == "sub-0002_T1w"
    assert io.read_labels(scan.labels).grid.matches(io.read_image(scan.image).grid)


def test_neurite_labels_are_where_their_names_say(real_data_root):
    table = read_label_table(REPOSITORY / "config" / "labels" / "neurite35.tsv").set_index("id")
    assert list(table.index) == list(range(1, 36))
    for subject in ("0001", "0002"):
        labels = io.read_labels(
            real_data_root
            / "neuriteoasis"
            / f"sub-{subject}"
            / "anat"
            / f"sub-{subject}_dseg.nii.gz"
        )
        assert set(np.unique(labels.data)) == {0, *table.index}
        centres = {
            i: labels.grid.affine[:3] @ [*np.argwhere(labels.data == i).mean(axis=0), 1]
            for i in table.index
        }
        middle = np.mean([centres[i][0] for i in table.index[table["hemisphere"] == "none"]])
        for i, hemisphere in table["hemisphere"].items():
            away = centres[i][0] - middle
            assert {"left": away < -5, "right": away > 5, "none": abs(away) < 3}[hemisphere], (
                table.loc[i, "name"]
            )
        assert (
            centres[12][2] < centres[11][2] < centres[3][2]
        )  # fourth, third and lateral ventricles, upwards


def test_groups_that_names_say(tmp_path):
    root = files(
        tmp_path, "one/HC_001/HC_001_procimg.nii.gz", "BPDwPsy_065/BPDwPsy_065_procimg.nii.gz"
    )
    scans = list_folder("candi", root, {"T1w": "**/{group}_*/{subject}_procimg.nii.gz"}, ("T1w",))
    assert [(scan.subject, scan.group) for scan in scans] == [
        ("BPDwPsy065", "BPDwPsy"),
        ("HC001", "HC"),
    ]
