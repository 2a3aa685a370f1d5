"""Folders that other programs have filled: files of macOS, derivatives of fMRIPrep, tables that
contradict themselves.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from trees import write_ixi, write_oasis3

from diffeode.datasets.bids import list_scans
from diffeode.datasets.demographics import Columns, read_demographics
from diffeode.datasets.folder import list_folder
from diffeode.datasets.ixi import list_ixi
from diffeode.datasets.oasis3 import list_oasis3
from diffeode.datasets.scan import Scan
from diffeode.desk.training import persons_of_dataset
from diffeode.errors import InputError
from diffeode.registration import runs
from diffeode.study.files import load_study, require_nameable, study_paths
from diffeode.study.inventory import dataset_names, overview_of_all
from diffeode.weights.catalogue import weights_names

REPOSITORY = Path(__file__).resolve().parents[2]
NATIVE = ("desc-preproc_T1w", "desc-preproc_T2w")
SPACES = (
    "space-MNI152NLin2009cAsym_res-2_desc-preproc_T1w",
    "space-T1w_desc-preproc_T2w",
    "space-MNI6_T2w",
)
LABELS = ("desc-aseg_dseg", "desc-aparcaseg_dseg", "space-MNI152NLin2009cAsym_res-2_dseg")


def derivative(root: Path, *suffixes: str, persons: Sequence[str] = ("01", "02")) -> Path:
    """Empty files ``sub-01_<suffix>.nii.gz``; listing reads no scan."""
    for person in persons:
        folder = root / f"sub-{person}" / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in suffixes:
            (folder / f"sub-{person}_{suffix}.nii.gz").touch()
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "fMRIPrep", "DatasetType": "derivative"})
    )
    return root


def demo() -> dict:
    return yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))


def with_companions(root: Path) -> Path:
    """Write the ``._`` files that macOS puts beside every file on a disk of another format."""
    for file in [path for path in root.rglob("*") if path.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(
            b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \xff\xfe"
        )
    return root


# -------------------------------------------------------------------------------------------- macOS


def _bids(root: Path) -> list[Scan]:
    return list_scans("study", root)


def _folder(root: Path) -> list[Scan]:
    patterns = {"T1w": "**/{subject}_desc-preproc_T1w.nii.gz"}
    return list_folder("study", root, patterns, ("T1w",), "**/{subject}_desc-aseg_dseg.nii.gz")


def _derivative(root: Path) -> None:
    derivative(root, *NATIVE, "desc-aseg_dseg")
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-01\ta\nsub-02\tb\n")


@pytest.mark.parametrize(
    ("make", "listed"),
    [
        (_derivative, _bids),
        (_derivative, _folder),
        (lambda root: write_ixi(root, 5, 1), lambda root: list_ixi("ixi", root)),
        (lambda root: write_oasis3(root, 5, 1), lambda root: list_oasis3("oasis3", root)),
    ],
    ids=["bids", "folder", "ixi", "oasis3"],
)
def test_companions_of_macos_change_no_listing(tmp_path, make, listed):
    make(tmp_path)
    before = listed(tmp_path)
    assert before
    assert listed(with_companions(tmp_path)) == before


def test_companions_of_macos_are_no_settings(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path / "config" / "methods")
    before = dataset_names(tmp_path), runs.run_names()
    with_companions(tmp_path)
    assert (dataset_names(tmp_path), runs.run_names()) == before


@pytest.mark.parametrize(
    "names", [lambda: dataset_names(REPOSITORY), runs.run_names, weights_names]
)
def test_what_the_repository_has_is_listed_by_name(names):
    """Such as ``node`` before ``node-cl``; the names of their files have the opposite order."""
    found = list(names())
    assert any(other.startswith(f"{name}-") for name in found for other in found)
    assert found == sorted(found)


# -------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("others", [(), SPACES[:1], SPACES])
def test_of_several_spaces_a_scans_own_is_taken(tmp_path, others):
    scans = list_scans("fmriprep", derivative(tmp_path, *NATIVE, *others))
    assert [scan.image.name for scan in scans] == [
        f"sub-{p}_{s}.nii.gz" for p in ("01", "02") for s in NATIVE
    ]


def test_a_scan_that_is_there_in_another_space_only_is_taken(tmp_path):
    (scan,) = list_scans("fmriprep", derivative(tmp_path, SPACES[0], persons=["01"]))
    assert scan.image.name == f"sub-01_{SPACES[0]}.nii.gz"


def test_two_scans_of_ones_own_space_are_still_refused(tmp_path):
    with pytest.raises(InputError, match=r"two scans named sub-01_T1w: .*kind: folder"):
        list_scans("fmriprep", derivative(tmp_path, "desc-preproc_T1w", "desc-brain_T1w"))


@pytest.mark.parametrize(
    "suffixes", [SPACES, LABELS, (*SPACES, *LABELS)], ids=["spaces", "labels", "both"]
)
def test_a_derivative_is_studied_as_it_is(tmp_path, suffixes):
    """Users cannot tidy a derivative, and without a label table no label map is read."""
    root = derivative(tmp_path / "bids", *NATIVE, *suffixes)
    study = load_study(
        {**demo(), "bids": str(root), "results": str(tmp_path / "results")}, REPOSITORY
    )
    assert {scan.labels for scan in study.scans().values()} == {None}
    assert {scan.image.name for scan in study.scans().values()} == {
        f"sub-{p}_{s}.nii.gz" for p in ("01", "02") for s in NATIVE
    }


def test_where_label_maps_are_wanted_several_are_refused(tmp_path):
    root = derivative(tmp_path, *NATIVE, *LABELS)
    with pytest.raises(
        InputError, match=r"several label maps of sub-01 \(.*aparcaseg.*aseg.*\).*kind: folder"
    ):
        list_scans("fmriprep", root)
    assert len(persons_of_dataset(root, "T2w", "T1w", None, label_maps=False)) == 2


# ------------------------------------------------------------------------------------- demographics


@pytest.mark.parametrize(
    "rows",
    [
        "participant_id\tgroup\nsub-01\thealthy\nsub-01\tdementia\n",
        "participant_id\tgroup\n01\thealthy\nsub-01\tdementia\n",
        "participant_id\tcdr\nsub-01\t0\nsub-01\t2\n",
    ],
    ids=["group", "spelt otherwise", "cdr"],
)
def test_two_groups_of_one_person_are_refused(tmp_path, rows):
    derivative(tmp_path, "T1w", persons=["01"])
    (tmp_path / "participants.tsv").write_text(rows)
    with pytest.raises(
        InputError,
        match=r"participants.tsv has several rows of 01 with different groups .*'healthy'",
    ):
        list_scans("study", tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        "participant_id\tgroup\tage\nsub-01\thealthy\t\nsub-01\t\t61\n",
        "participant_id\tgroup\tage\nsub-01\thealthy\t61\nsub-01\thealthy\t61\n",
        "participant_id\tgroup\tage\nsub-01\thealthy\t61\nsub-02\tdementia\t70\nsub-02\thealthy\t70\n",
    ],
    ids=["completing", "alike", "of somebody not scanned"],
)
def test_rows_that_agree_complete_each_other(tmp_path, rows):
    derivative(tmp_path, "T1w", persons=["01"])
    (tmp_path / "participants.tsv").write_text(rows)
    (scan,) = list_scans("study", tmp_path)
    assert (scan.group, scan.age) == ("healthy", 61)


@pytest.mark.parametrize(
    ("day", "refused"), [(None, True), (100, False), (400, True), (5000, False)], ids=str
)
def test_groups_are_compared_within_the_visit_that_counts(tmp_path, day, refused):
    table = tmp_path / "visits.csv"
    table.write_text("who,day,group\nA,100,healthy\nA,390,dementia\nA,390,healthy\n")
    known = read_demographics(table, Columns("who", day="day", group="group"), within_days=365)
    if refused:
        with pytest.raises(
            InputError, match=r"visits.csv has several rows of A with different groups"
        ):
            known.of("A", day)
    else:
        assert known.of("A", day).group == ("healthy" if day == 100 else None)


# ------------------------------------------------------------------------------- names and settings


@pytest.mark.parametrize(
    "name", ["{study}", "{scan}", "a{b", "a}", "{{x}}", "new\nline", "bad\udcff"]
)
@pytest.mark.parametrize("place", ["folder", "file", "results"])
def test_names_that_a_workflow_cannot_plan_with_are_said(tmp_path, name, place):
    root = tmp_path / (name if place == "folder" else "bids")
    derivative(root, *NATIVE)
    if place == "file":
        image = next(root.rglob("sub-01*T1w.nii.gz"))
        image.rename(image.with_name(f"sub-01_acq-{name}_T1w.nii.gz"))
    results = tmp_path / (name if place == "results" else "results")
    study = load_study({**demo(), "bids": str(root), "results": str(results)}, REPOSITORY)
    with pytest.raises(
        InputError, match=r"The path .* has (braces|a byte that is no UTF-8)"
    ) as error:
        require_nameable(study_paths(study))
    str(error.value).encode("utf-8")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["a b", "$x$", "100 %", "it's", 'say "x"', "ünï 日本", "[b](c);&#~", "-dash", "back\\"]
)
def test_other_names_are_planned_with(tmp_path, name):
    root = derivative(tmp_path / name, *NATIVE)
    study = load_study(
        {**demo(), "bids": str(root), "results": str(tmp_path / f"{name} results")}, REPOSITORY
    )
    paths = list(study_paths(study))
    require_nameable(paths)
    assert {path.name for path in paths} >= {"sub-01_desc-preproc_T1w.nii.gz", f"{name} results"}


@pytest.mark.parametrize("key", ["bids", "results", "tools"])
def test_an_empty_path_of_a_study_is_refused(tmp_path, key):
    content = {**demo(), key: [""] if key == "tools" else ""}
    with pytest.raises(InputError, match=f"has an empty {key}"):
        load_study(content, REPOSITORY)


def test_a_broken_file_of_one_dataset_leaves_the_others_listed(tmp_path):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    (tmp_path / "config" / "datasets" / "ixi.yaml").write_text("kind: [")
    lines = "\n".join(overview_of_all(tmp_path))
    assert "ixi.yaml is not valid YAML" in lines
    assert "oasis3" in lines
    assert "virtual" in lines
