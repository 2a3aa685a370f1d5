"""A study's file that brings its datasets and experiments itself (``own``), and scans that a table
lists.
"""

from pathlib import Path

import pytest
from bids_folders import write_visit

from diffeode.datasets.bids import list_scans
from diffeode.datasets.listed import read_list, write_list
from diffeode.errors import InputError
from diffeode.study.files import load_study

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path) -> Path:
    for person in ("01", "02"):
        write_visit(tmp_path / "scans", person)
    (tmp_path / "scans" / "participants.tsv").write_text(
        "participant_id\tage\tsex\tcdr\nsub-01\t71.5\tF\t0.5\n"
    )
    (tmp_path / "labels.tsv").write_text(
        "id\tname\tabbreviation\themisphere\tgroup\n1\tOne\tO\tnone\tall\n"
    )
    return tmp_path


def study(folder: Path, dataset=None, experiment=None, **other) -> dict:
    sides = {
        side: {"dataset": "mine", "modality": modality}
        for side, modality in (("fixed", "T2w"), ("moving", "T1w"))
    }
    of_dataset = {"kind": "bids", "root": str(folder / "scans"), **(dataset or {})}
    of_pairs = {"title": "Mine", "alignment": "none", **sides, **(experiment or {})}
    own = {"datasets": {"mine": of_dataset}, "experiments": {"mine": of_pairs}}
    keys = {"study": "mine", "title": "Mine", "experiments": ["mine"], "runs": ["identity"]}
    return {**keys, "ours": "identity", "seed": 0, "results": "results", "own": own, **other}


def test_a_study_brings_its_dataset_and_its_experiment(folder):
    found = load_study(study(folder), REPOSITORY)
    (experiment,) = found.experiments
    assert [pair.id for pair in experiment.pairs] == [
        "sub-01_T2w__sub-02_T1w",
        "sub-02_T2w__sub-01_T1w",
    ]
    same = load_study(study(folder, experiment={"persons": "same"}), REPOSITORY)
    assert [pair.id for pair in same.experiments[0].pairs] == [
        "sub-01_T2w__sub-01_T1w",
        "sub-02_T2w__sub-02_T1w",
    ]


def test_a_label_table_may_be_any_file(folder):
    table = folder / "labels.tsv"
    found = load_study(study(folder, dataset={"labels": str(table)}), REPOSITORY)
    assert found.experiments[0].labels == table
    assert all(scan.labels for scan in found.scans().values())
    with pytest.raises(InputError, match=r"There is no label table .*absent\.tsv"):
        load_study(study(folder, dataset={"labels": str(folder / "absent.tsv")}), REPOSITORY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {"kind": "listed"}}, "table"),
        ({"dataset": {"table": "scans.tsv"}}, "table"),
        ({"experiment": {"persons": "some"}}, "persons"),
        ({"own": {"runs": {}}}, "own"),
        ({"own": {"datasets": {"../mine": {}}}}, "cannot be the name of a dataset"),
        ({"own": {"experiments": {"a/b": {}}}}, "cannot be the name of a experiment"),
        ({"experiments": ["yours"]}, "There is no experiment 'yours'"),
        ({"experiments": ["virtual-atrophy"]}, "'mine' .own., which nothing in the study names"),
    ],
)
def test_blocks_are_checked_as_files_are(change, message, folder):
    with pytest.raises(InputError, match=message):
        load_study(study(folder, **change), REPOSITORY)


def test_a_table_of_scans_holds_all_that_a_folder_tells(folder):
    root = folder / "scans"
    scans = list_scans("mine", root)
    write_list(folder / "scans.tsv", root, scans)
    assert read_list("mine", root, folder / "scans.tsv", ("T1w", "T2w")) == scans
    assert [scan.age for scan in scans] == [71.5, 71.5, None, None]
    bare = read_list("mine", root, folder / "scans.tsv", ("T2w",), label_maps=False)
    assert [(scan.id, scan.labels) for scan in bare] == [("sub-01_T2w", None), ("sub-02_T2w", None)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sub-01/anat/sub-01_T1w",
            "sub-01/anat/sub-09_T1w",
            "as image, which is not there; put the file there",
        ),
        ("01\t\tT1w", "../1\t\tT1w", "the subject '../1'"),
        ("02\t\tT1w", "01\t\tT1w", "two scans named sub-01_T1w"),
        ("sub-02/anat/sub-02_T1w", "sub-01/anat/sub-01_T1w", "two names, sub-01_T1w and sub-02_"),
        ("T1w\t", "FLAIR\t", "lists no scan of T1w"),
    ],
)
def test_a_table_of_scans_that_cannot_be(old, new, message, folder):
    table = folder / "scans.tsv"
    write_list(table, folder / "scans", list_scans("mine", folder / "scans", label_maps=False))
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_list("mine", folder / "scans", table, ("T1w",))
