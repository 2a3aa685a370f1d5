"""OASIS-3 as downloaded: sessions, runs, CDR of the nearest visit, and every way its folder can be
unusable.
"""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from trees import CDR_TABLE, OASIS3_FIXED, RATINGS, write_image, write_oasis3

from diffeode.datasets.demographics import GROUPS
from diffeode.datasets.oasis3 import list_oasis3
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files import io

PERSONS = 150


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("oasis3") / "oasis3"
    write_oasis3(root, PERSONS, seed=7)
    return root


def small(root: Path, *names: str, visits: str = "") -> Path:
    """A folder of empty files, and a clinical table with ``visits``; listing reads no scan."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    header = "OASISID,OASIS_session_label,days_to_visit,age at visit,CDRTOT\n"
    (root / CDR_TABLE).write_text(header + visits, encoding="utf-8")
    return root


def only(root: Path, modality: str = "T1w", **options) -> Scan:
    (scan,) = list_oasis3("oasis3", root, (modality,), **options)
    return scan


T1W = "OAS30001_MR_d0129/anat2/sub-OAS30001_ses-d0129_T1w.nii.gz"


def test_every_session_of_a_large_tree(tree):
    scans = list_oasis3("oasis3", tree)
    folders = {path.name for path in tree.glob("OAS3*")}
    t1w = [scan for scan in scans if scan.modality == "T1w"]
    assert {f"{scan.subject}_MR_{scan.session}" for scan in t1w} == folders
    assert len(t1w) == len(folders) > 300
    assert len({scan.subject for scan in t1w}) == PERSONS
    with_t2w = {path.parents[1].name for path in tree.glob("*/*/*_T2w.nii.gz")}
    assert (
        {f"{scan.subject}_MR_{scan.session}" for scan in scans if scan.modality == "T2w"}
        == with_t2w
        < folders
    )
    assert [scan.id for scan in scans] == sorted(scan.id for scan in scans)
    assert io.read_image(scans[0].image).grid.shape == (8, 8, 8)


def test_groups_are_those_of_the_nearest_visit(tree):
    table = pd.read_csv(tree / CDR_TABLE)
    scans = list_oasis3("oasis3", tree, ("T1w",))
    for scan in scans[::10]:
        visits = table[table["OASISID"] == scan.subject]
        away = (visits["days_to_visit"] - int(scan.session[1:])).abs()
        near = visits[away <= 365].loc[away[away <= 365].sort_values(kind="stable").index[:1]]
        assert scan.cdr == (None if near.empty else near["CDRTOT"].item())
        assert scan.group == GROUPS.get(scan.cdr)
        assert scan.age == (None if near.empty else near["age at visit"].item())
    assert sum(scan.group is None for scan in scans) > 0
    assert {scan.sex for scan in scans if scan.group} == {"M", "F"}


def test_the_papers_fixed_persons_show_all_five_groups(tree):
    scans = list_oasis3("oasis3", tree, ("T2w",))
    groups = [{scan.group for scan in scans if scan.subject == name} for name in OASIS3_FIXED]
    assert groups == [{GROUPS[rating]} for rating in RATINGS]
    assert list(GROUPS.values()) == [
        "healthy",
        "suspected dementia",
        "mild cognitive impairment",
        "dementia",
        "severe dementia",
    ]


@pytest.mark.parametrize(
    "name",
    [
        T1W,
        "OAS30001_MR_d0129/anat2/NIFTI/sub-OAS30001_ses-d0129_T1w.nii.gz",
        "OAS30001_MR_d0129/scans/anat2-T1w/resources/NIFTI/files/sub-OAS30001_ses-d0129_T1w.nii",
        "OAS30001_MR_d0129/anat2/sub-OAS30001_sess-d0129_T1w.nii.gz",
        "first/OAS30001_MR_d0129/anat2/sub-OAS30001_ses-d0129_T1w.nii.gz",
        "sub-OAS30001/ses-d0129/anat/sub-OAS30001_ses-d0129_T1w.nii.gz",
    ],
)
def test_every_way_it_is_downloaded(tmp_path, name):
    scan = only(small(tmp_path, name))
    assert (scan.id, scan.image) == ("sub-OAS30001_ses-d0129_T1w", tmp_path / name)
    assert scan.person == ("oasis3", "OAS30001")
    assert (scan.group, scan.labels, scan.landmarks) == (None, None, None)


def test_of_several_the_plainest_and_of_runs_the_first_is_taken(tmp_path):
    stem = "OAS30001_MR_d0129/anat{}/sub-OAS30001_ses-d0129"
    runs = [stem.format(n) + f"_run-0{4 - n}_T1w.nii.gz" for n in (1, 2, 3)]
    plain = [stem.format(n) + f"_{ending}.nii.gz" for n, ending in ((4, "acq-TSE_T2w"), (5, "T2w"))]
    root = small(tmp_path, *runs, *plain)
    assert only(root).image.name == "sub-OAS30001_ses-d0129_run-01_T1w.nii.gz"
    assert only(root, "T2w").image.name == "sub-OAS30001_ses-d0129_T2w.nii.gz"


def test_a_visit_too_far_away_says_nothing(tmp_path):
    visits = "OAS30001,OAS30001_UDSb4_d0000,0,60.1,0\nOAS30001,OAS30001_UDSb4_d0300,0300,61,1\n"
    root = small(tmp_path, T1W, visits=visits)
    assert (only(root).group, only(root).age) == ("healthy", 60.1)
    assert only(root, within_days=129).group == "healthy"
    assert only(root, within_days=128).group is None
    other = small(
        tmp_path,
        T1W,
        visits="OAS30001,x_d0100,100,60,.\nOAS30001,x_d0300,300,,0.5\nOAS30002,x_d0129,129,,3\nOAS30001,x,,9,3\n",
    )
    assert (only(other).group, only(other).age) == ("suspected dementia", 60)


def test_the_older_clinical_table(tmp_path):
    root = small(tmp_path, T1W)
    (root / CDR_TABLE).unlink()
    rows = (
        "OAS30001_ClinicalData_d0000,OAS30001,,,65,29,0\n"
        "OAS30001_ClinicalData_d0100,OAS30001,,,65,28,2\n"
    )
    header = "ADRC_ADRCCLINICALDATA ID,Subject,Date,Age,ageAtEntry,mmse,cdr\n"
    (root / "ADRC Clinical Data.csv").write_text(header + rows, encoding="utf-8")
    scan = only(root)
    assert (scan.cdr, scan.group) == (2, "dementia")
    assert scan.age == pytest.approx(65 + 100 / 365.25)


def test_the_clinical_table_where_it_is_unpacked_or_named(tmp_path):
    root = small(tmp_path / "there", T1W, visits="OAS30001,OAS30001_UDSb4_d0129,129,60,0.5\n")
    deep = root / "OASIS3_data_files" / "scans" / "UDSb4" / "resources" / "csv" / "files"
    deep.mkdir(parents=True)
    (root / CDR_TABLE).rename(deep / CDR_TABLE)
    (root / "OASIS3_MR_json.csv").write_text("label,Manufacturer\n", encoding="utf-8")
    assert only(root).cdr == 0.5
    shutil.move(deep / CDR_TABLE, tmp_path / "mine.csv")
    assert only(root, table=tmp_path / "mine.csv").cdr == 0.5


def without_table(root: Path) -> None:
    (root / CDR_TABLE).unlink()


def with_second_table(root: Path) -> None:
    shutil.copy(root / CDR_TABLE, root / "OASIS3_UDSb4_cdr_copy.csv")


def with_rating(text: str):
    def change(root: Path) -> None:
        (root / CDR_TABLE).write_text(
            f"OASISID,days_to_visit,age at visit,CDRTOT\nOAS30001,0129,60,{text}\n"
        )

    return change


def with_day(root: Path) -> None:
    (root / CDR_TABLE).write_text("OASISID,days_to_visit,age at visit,CDRTOT\nOAS30001,May,60,1\n")


def with_table_of_bytes(root: Path) -> None:
    (root / CDR_TABLE).write_bytes(b"\xff\xfe\x00a,b\n\x9d")


def with_second_session(root: Path) -> None:
    (root / "more" / T1W).parent.mkdir(parents=True)
    (root / "more" / T1W).touch()


def with_second_file(root: Path) -> None:
    write_image(root / T1W.replace("anat2", "anat3"))


def with_other_person(root: Path) -> None:
    (root / T1W.replace("/sub-OAS30001", "/sub-OAS30002")).touch()


def with_other_session(root: Path) -> None:
    (root / T1W.replace("ses-d0129", "ses-d0130")).touch()


UNUSABLE = {
    "no clinical table": (
        without_table,
        r"no clinical table under .* \(no \.csv there\); put OASIS3_UDSb4_cdr\.csv \(col",
    ),
    "two clinical tables": (with_second_table, r"several clinical tables .*; name one in its file"),
    "a rating there is not": (
        with_rating("0.7"),
        r"has the CDR '0\.7' of OAS30001; it must be 0, 0\.5, 1, 2 or 3",
    ),
    "a day that is none": (with_day, r"has the day 'May' of OAS30001; give days since entry"),
    "an unreadable table": (
        with_table_of_bytes,
        r"OASIS3_UDSb4_cdr\.csv cannot be read as a table \(.*\); export it again",
    ),
    "a session twice": (
        with_second_session,
        r"two scans named sub-OAS30001_ses-d0129_T1w: .* keep one",
    ),
    "a scan twice": (
        with_second_file,
        r"two scans named sub-OAS30001_ses-d0129_T1w: .*anat2.*anat3.*; keep one, number them as "
        r"runs",
    ),
    "another person's scan": (
        with_other_person,
        r"sub-OAS30002_.* lies in the folder of sub-OAS30001_ses-d0129 but",
    ),
    "another session's scan": (
        with_other_session,
        r"ses-d0130.* lies in the folder of sub-OAS30001_ses-d0129 but",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable(tmp_path, change, sentence):
    root = small(tmp_path, T1W)
    change(root)
    with pytest.raises(InputError, match=sentence) as caught:
        list_oasis3("oasis3", root)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_named_with_those_there_are(tmp_path):
    root = small(tmp_path, T1W)
    (tmp_path / "mine.csv").write_text(
        "OASISID,days_to_visit,age at visit,CDRSUM\n", encoding="utf-8"
    )
    with pytest.raises(
        InputError,
        match=r"no column 'CDRTOT'; did you mean 'CDRSUM'; it has: OASISID, days_to_visit, age",
    ):
        list_oasis3("oasis3", root, table=tmp_path / "mine.csv")


def test_no_scans(tmp_path):
    with pytest.raises(InputError, match=r"Dataset oasis3 has no folder .*absent"):
        list_oasis3("oasis3", tmp_path / "absent")
    root = small(tmp_path, T1W)
    with pytest.raises(
        InputError,
        match=r"has no scan OAS30001_MR_d0129/anat2/\*_\(T2w\)\.nii\.gz under .*; put the sessions",
    ):
        list_oasis3("oasis3", root, ("T2w",))
