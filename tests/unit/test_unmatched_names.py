"""Names in a dataset's file that mean nobody there are said, since they may be misspelt."""

import shutil
from pathlib import Path

import pytest
import yaml

from diffeode.datasets.listing import list_dataset
from diffeode.study import model
from diffeode.study.files import load_study
from diffeode.study.inventory import Inventory, description
from diffeode.study.unmatched import unmatched_names

REPOSITORY = Path(__file__).resolve().parents[2]
PERSONS = ("01", "02", "03")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose folder of scans has three persons of two visits, T1w and T2w."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    for person in PERSONS:
        for visit in ("a", "b"):
            write(tmp_path, person, visit, "T1w", "T2w")
    write(tmp_path, "01", "a", "FLAIR")
    write(tmp_path, "04", "a", "T2w")
    return tmp_path


def write(repository: Path, person: str, visit: str, *contrasts: str) -> None:
    anat = repository / "scans" / f"sub-{person}" / f"ses-{visit}" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    for contrast in contrasts:
        (anat / f"sub-{person}_ses-{visit}_{contrast}.nii.gz").touch()


def study_with(repository: Path, excluded=(), always_test=(), part=None, **layout):
    """The study of the T1w scans, with these names in the file of its dataset."""
    rows = "".join(f"{name}\tblurred\n" for name in excluded)
    (repository / "out.tsv").write_text(f"scan\treason\n{rows}", encoding="utf-8")
    split = {"test": 0.5, "seed": 0, "always_test": list(always_test)}
    mine = {"kind": "bids", "root": "scans", "exclude": "out.tsv", "split": split, **layout}
    side = {"dataset": "mine", "modality": "T1w", **({"split": part} if part else {})}
    experiment = {"title": "Mine", "alignment": "none", "fixed": side, "moving": side}
    content = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    content |= {
        "own": {"datasets": {"mine": mine}, "experiments": {"mine": experiment}},
        "experiments": ["mine"],
    }
    return load_study(content, repository)


@pytest.mark.parametrize(
    "name",
    [
        "01",
        "sub-02",
        "sub-01_ses-b",
        "03_ses-a_T1w",
        "03_ses-a_T2w",
        "01_ses-a_FLAIR",
        "04",
        "04_ses-a",
    ],
)
def test_a_name_of_somebody_is_not_remarked_on(repository, name):
    assert unmatched_names(study_with(repository, [name])) == []


@pytest.mark.parametrize(
    "name",
    ["1", "O1", "01_ses-c", "01_b", "01_ses-a_T1W", "01_T1w", "01_ses-b_FLAIR", "01 ", "*_T1w"],
)
def test_a_name_of_nobody_is_said(repository, name):
    (sentence,) = unmatched_names(study_with(repository, ["02", name]))
    assert f"No person, visit or scan of dataset mine is called '{name}', as its list" in sentence


def test_of_many_names_the_first_ones_are_said(repository):
    names = [f"9{number}" for number in range(7)]
    (sentence,) = unmatched_names(study_with(repository, names))
    assert "is called '90', '91', '92', '93', '94' and 2 more, as" in sentence


def test_persons_who_are_never_trained_on_are_looked_for_where_the_split_counts(repository):
    names = ["01", "04", "09"]
    assert unmatched_names(study_with(repository, always_test=names)) == []
    (sentence,) = unmatched_names(study_with(repository, always_test=[*names, "02"], part="test"))
    assert "Nobody in dataset mine is called '09', as its list of persons" in sentence


@pytest.mark.parametrize(
    ("persons", "said"), [(PERSONS, False), (["02"], False), (["1", "2"], True), ([], True)]
)
def test_a_table_of_other_persons_is_said(repository, persons, said):
    """Such as one whose column of subjects holds numbers, or is another column."""
    table = repository / "scans" / "persons.csv"
    table.write_text("id,age\n" + "".join(f"{person},40\n" for person in persons))
    layout = {"kind": "folder", "scans": {"T1w": "sub-{subject}/ses-{session}/anat/*_T1w.nii.gz"}}
    layout |= {"demographics": {"table": "persons.csv", "subject": "id", "age": "age"}}
    sentences = unmatched_names(study_with(repository, **layout))
    sentence = "of demographics of dataset mine (persons.csv) tells nothing of any of its persons"
    assert [sentence in one for one in sentences] == [True] * said


def test_only_a_name_of_nobody_makes_other_contrasts_be_listed(repository, monkeypatch):
    listed = []

    def noted(name, kind, root, modalities, *rest):
        listed.append(modalities)
        return list_dataset(name, kind, root, modalities, *rest)

    monkeypatch.setattr(model, "list_dataset", noted)
    unmatched_names(study_with(repository, ["01", "02_ses-a"]))
    assert listed == [("T1w",)]
    unmatched_names(study_with(repository, ["02_ses-a_FLAIR"]))
    assert listed[2:] == [("T1w", "T2w"), ("FLAIR",)]


def test_the_description_of_a_dataset_says_it_too(repository):
    for names, said in ((["02"], False), (["02", "99"], True)):
        dataset = study_with(repository, names).datasets()["mine"]
        lines = description(Inventory(dataset, tuple(dataset.scans()), None))
        assert any("is called '99'" in line for line in lines) == said
