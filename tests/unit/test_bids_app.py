"""``diffeode study``: which scans and pairs of a BIDS folder are taken, what is said of the others,
and under which names results lie.

Nothing is registered here; ``tests/workflow/test_bids_study.py`` runs a study to its end.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from bids_folders import AFFINE, describe, write_visit

from diffeode.bids_app import derivatives, running
from diffeode.bids_app.folders import link_to_source
from diffeode.bids_app.names import desc_of
from diffeode.bids_app.plan import plan_of
from diffeode.bids_app.repository import find_repository, profile_folder
from diffeode.bids_app.request import NONE, Request
from diffeode.bids_app.running import LEVELS, How
from diffeode.bids_app.tasks import TASKS
from diffeode.cli import main
from diffeode.errors import InputError
from diffeode.provenance.receipt import write_receipt
from diffeode.registration.runs import run_names
from diffeode.study.files import load_study, parts_of_study
from diffeode.units.registration import RegistrationUnit

REPOSITORY = Path(__file__).resolve().parents[2]
BEP014 = re.compile(
    r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?"
    r"(_from-[A-Za-z0-9]+_to-[A-Za-z0-9]+_mode-image_desc-[A-Za-z0-9]+_xfm"
    r"|_space-[A-Za-z0-9]+_desc-[A-Za-z0-9]+_(T1w|T2w))\.nii\.gz"
)
"""Names of derivatives by BIDS and BEP014, entities in their order."""


@pytest.fixture
def source(tmp_path) -> Path:
    """Three persons; sub-02 has two sessions and a T1w in a third, sub-03 has no T2w."""
    root = tmp_path / "folder"
    describe(root, Name="Little heads")
    write_visit(root, "01", "2", radius=4)
    write_visit(root, "02", "2", radius=5)
    write_visit(root, "02", "9", radius=5.5)
    write_visit(root, "02", "10", radius=6, suffixes=("T1w", "dseg"))
    write_visit(root, "03", "2", radius=6, suffixes=("T1w", "dseg"))
    return root


def asked(source: Path, task: str = "same-person", **other) -> Request:
    chosen = TASKS[task]
    wanted = {"moving": "T1w", "fixed": chosen.fixed or "T1w", "runs": ("node",), **other}
    return Request(source=source, out=source.parent / "out", task=chosen, **wanted)


def plan(source: Path, task: str = "same-person", **other):
    return plan_of(asked(source, task, **other), REPOSITORY)


def content_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }


# ------------------------------------------------------------------------------ pairs of each task

PAIRS = {
    "same-person": [
        "sub-01_ses-2_T2w__sub-01_ses-2_T1w",
        "sub-02_ses-2_T2w__sub-02_ses-2_T1w",
        "sub-02_ses-9_T2w__sub-02_ses-9_T1w",
    ],
    "other-persons": [
        "sub-01_ses-2_T2w__sub-02_ses-2_T1w",
        "sub-02_ses-2_T2w__sub-01_ses-2_T1w",
    ],
    "longitudinal": [
        "sub-02_ses-2_T1w__sub-02_ses-10_T1w",
        "sub-02_ses-2_T1w__sub-02_ses-9_T1w",
    ],
    "template": [
        "sub-mine_T1w__sub-01_ses-2_T1w",
        "sub-mine_T1w__sub-02_ses-10_T1w",
        "sub-mine_T1w__sub-02_ses-2_T1w",
        "sub-mine_T1w__sub-02_ses-9_T1w",
        "sub-mine_T1w__sub-03_ses-2_T1w",
    ],
}
NAMES = {
    "same-person": "sub-01/ses-2/anat/sub-01_ses-2_from-T1w_to-T2w_mode-image_desc-node_xfm.nii.gz",
    "other-persons": "sub-02/ses-2/anat/"
    "sub-02_ses-2_from-T1w_to-sub01ses2T2w_mode-image_desc-node_xfm.nii.gz",
    "longitudinal": "sub-02/ses-10/anat/"
    "sub-02_ses-10_from-T1w_to-ses2T1w_mode-image_desc-node_xfm.nii.gz",
    "template": "sub-01/ses-2/anat/sub-01_ses-2_from-T1w_to-mine_mode-image_desc-node_xfm.nii.gz",
}


def template_of(source: Path) -> Path:
    """A template: the T1w of somebody else, in a file of its own."""
    anat = write_visit(source.parent / "elsewhere", "09", suffixes=("T1w",))
    return (anat / "sub-09_T1w.nii.gz").rename(source.parent / "mine.nii.gz")


def labels_of_template(source: Path, change=lambda ids: ids) -> Path:
    """The label map of that template, whose ids and grid ``change`` may change, in a file of its
    own; the template is there, too.
    """
    template_of(source)
    anat = write_visit(source.parent / "atlas", "09", suffixes=("dseg",))
    ids = np.asarray(nib.load(anat / "sub-09_dseg.nii.gz").dataobj)
    file = source.parent / "mine_dseg.nii.gz"
    nib.save(nib.Nifti1Image(change(ids).astype(np.int16), AFFINE), file)
    return file


@pytest.mark.parametrize("task", TASKS)
def test_the_pairs_of_a_task_and_the_names_of_its_results(task, source):
    template = template_of(source) if task == "template" else None
    planned = plan(source, task, template=template, runs=("node", "ants-syn"))
    assert [pair.id for pair in planned.pairs] == PAIRS[task]
    names = derivatives.names_of(planned)
    assert len(set(names)) == len(names) == 3 * 2 * len(planned.pairs)
    for name in names:
        assert BEP014.fullmatch(name.name), name
        visit = [part for part in name.name.split("_") if part.startswith(("sub-", "ses-"))]
        assert name.parent == planned.request.out.joinpath(*visit, "anat")
    assert planned.request.out / NAMES[task] in names
    assert not planned.request.out.exists()
    about = "The template has no label map" if template else "scans have a label map for Dice"
    assert about in planned.summary()[1]


@pytest.mark.parametrize("task", TASKS)
def test_the_study_s_file_says_the_same_as_the_plan(task, source, tmp_path):
    template = template_of(source) if task == "template" else None
    planned = plan(source, task, template=template)
    file = planned.write(tmp_path / "code", "diffeode study")
    study = load_study(file, REPOSITORY)
    assert [pair.id for pair in study.experiments[0].pairs] == PAIRS[task]
    assert study.name == task
    assert {scan.labels is None for scan in study.scans().values()} == (
        {False} if template is None else {False, True}
    )
    assert [dataset.name for dataset in parts_of_study(file, REPOSITORY)[0]] == list(
        dict.fromkeys(["template" if template else "bids", "bids"])
    )


def test_a_session_that_is_asked_for_takes_part_with_other_persons(source):
    planned = plan(source, "other-persons", sessions=("2", "9"))
    assert [pair.id for pair in planned.pairs] == [
        "sub-01_ses-2_T2w__sub-02_ses-2_T1w",
        "sub-01_ses-2_T2w__sub-02_ses-9_T1w",
        "sub-02_ses-2_T2w__sub-01_ses-2_T1w",
        "sub-02_ses-9_T2w__sub-01_ses-2_T1w",
    ]


def test_pairs_that_were_drawn_stay_when_persons_come(source):
    for number in range(4, 9):
        write_visit(source, f"0{number}", "2")
    drawn = plan(source, "other-persons", pairs=3)
    names = {pair.id for pair in drawn.pairs}
    assert len(names) == 3
    drawn.write(drawn.request.code, "diffeode study")
    derivatives.describe(drawn)
    for number in range(10, 30):
        write_visit(source, str(number), "2")
    assert {pair.id for pair in plan(source, "other-persons", pairs=3).pairs} == names
    more = plan(source, "other-persons", pairs=5)
    assert names < {pair.id for pair in more.pairs}
    shutil.rmtree(drawn.request.out)
    assert {pair.id for pair in plan(source, "other-persons", pairs=3).pairs} != names


# ------------------------------------------------------------------------ who is left out, and why


def test_who_lacks_a_scan_is_left_out_by_name(source):
    (source / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\nsub-03\nsub-77\n")
    planned = plan(source)
    assert planned.left_out == {
        "sub-02_ses-10": "has no T2w",
        "sub-03_ses-2": "has no T2w",
        "sub-77": "is in participants.tsv and has no folder",
    }
    said = "\n".join(planned.summary())
    assert all(f"Left out: {name}: {why}" in said for name, why in planned.left_out.items())


def dangle(anat: Path) -> None:
    scan = anat / "sub-01_ses-2_T1w.nii.gz"
    scan.unlink()
    scan.symlink_to("../../../.git/annex/objects/XY/SHA256E-s1.nii.gz")


def truncate(anat: Path) -> None:
    (anat / "sub-01_ses-2_T1w.nii.gz").write_bytes(b"")


def double(anat: Path) -> None:
    for acquisition in ("fast", "slow"):
        shutil.copy(
            anat / "sub-01_ses-2_T1w.nii.gz", anat / f"sub-01_ses-2_acq-{acquisition}_T1w.nii.gz"
        )
    (anat / "sub-01_ses-2_T1w.nii.gz").unlink()


def misname(anat: Path) -> None:
    (anat / "sub-01_ses-2_T1w.nii.gz").rename(anat / "sub-02_ses-2_T1w.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (dangle, "whose content is not here; fetch it first"),
        (truncate, "empty"),
        (double, "two scans named sub-01_ses-2_T1w"),
        (misname, "lies in the folder of sub-01_ses-2 but is named otherwise"),
    ],
)
def test_a_scan_that_cannot_be_used_costs_its_visit_alone(spoil, why, source):
    spoil(source / "sub-01" / "ses-2" / "anat")
    planned = plan(source)
    assert [pair.id for pair in planned.pairs] == PAIRS["same-person"][1:]
    assert why in planned.left_out["sub-01_ses-2"]
    assert planned.unusable == ["sub-01_ses-2"]  # the others only lack a scan
    with pytest.raises(InputError, match=f"Nothing is left .*sub-01_ses-2: .*{why}"):
        plan(source, participants=("01",))


def test_a_scan_whose_data_are_cut_off_stays_and_stops_no_plan(source, monkeypatch):
    """Only its preparation can tell; whether scans show heads is seen in the first one that can be
    read.
    """
    monkeypatch.setattr("diffeode.bids_app.plan.missing", lambda step, choice: None)
    noise = np.random.default_rng(0).uniform(1, 9, (16, 16, 16)).astype(np.float32)
    for scan in source.rglob("*_T1w.nii.gz"):
        nib.save(nib.Nifti1Image(noise, AFFINE), scan)
    scan = source / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_T1w.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-2000])
    planned = plan(source)
    assert [pair.id for pair in planned.pairs] == PAIRS["same-person"]
    assert planned.recipe["brain"] == "mindgrab"
    assert any("sub-02_ses-2_T1w shows a whole head" in note for note in planned.notes)


@pytest.mark.parametrize("filters", [("acq-slwo",), ("acq-slow", "run-02"), ("T1w",), ("slow",)])
def test_a_filter_that_fits_no_scan_is_refused(source, filters):
    """Before, the scan was taken that would be taken without a filter."""
    anat = source / "sub-01" / "ses-2" / "anat"
    (anat / "sub-01_ses-2_T1w.nii.gz").rename(anat / "sub-01_ses-2_acq-slow_run-1_T1w.nii.gz")
    sentence = rf"^No T[12]w or T[12]w of .*folder has '{filters[-1]}' \(--filter\) in its name"
    with pytest.raises(InputError, match=sentence):
        plan(source, filters=filters)
    assert plan(source, filters=("acq-slow", "run-1")).pairs


@pytest.mark.parametrize(
    ("dseg", "sentence"),
    [
        (
            "auto",
            r"^Neither .*folder nor its derivatives .* desc-aprac in its name; correct --dseg",
        ),
        (NONE, "^--dseg none leaves label maps out, and --dseg-desc chooses among them"),
    ],
)
def test_a_description_of_label_maps_that_none_has_is_refused(source, dseg, sentence):
    """Before, the study had no Dice."""
    for path in source.rglob("*_dseg.nii.gz"):
        anat = source / "derivatives" / "surfer" / path.relative_to(source).parent
        anat.mkdir(parents=True)
        path.rename(anat / path.name.replace("dseg", "desc-aparc_dseg"))
    with pytest.raises(InputError, match=sentence):
        plan(source, dseg=dseg, dseg_desc="aprac")
    assert plan(source, dseg_desc="aparc").structures


def test_a_filter_chooses_among_acquisitions(source):
    double(source / "sub-01" / "ses-2" / "anat")
    planned = plan(source, filters=("acq-slow",))
    assert [pair.id for pair in planned.pairs] == PAIRS["same-person"]
    assert planned.scans[0].image.name == "sub-01_ses-2_acq-slow_T1w.nii.gz"


def test_a_name_that_bids_does_not_allow(source):
    write_visit(source, "a-b", "2")
    assert "letters and digits only" in plan(source).left_out["sub-a-b_ses-2"]


# -------------------------------------------------------------------------------------- label maps


def labels_of(planned) -> dict[str, str | None]:
    return {scan.id: scan.labels.name if scan.labels else None for scan in planned.scans}


def test_label_maps_beside_the_scans_and_the_structures_in_them(source):
    planned = plan(source)
    assert set(labels_of(planned).values()) == {
        f"sub-0{visit}_dseg.nii.gz" for visit in ("1_ses-2", "2_ses-2", "2_ses-9")
    }
    assert [row["id"] for row in planned.structures] == [1, 7]
    assert {row["name"] for row in planned.structures} == {"structure 1", "structure 7"}
    (source / "dseg.tsv").write_text(
        "index\tname\tabbreviation\n7\tLeft-Thalamus\tLT\n1\trh cortex\tRC\n9\tcsf\tF\n"
    )
    rows = {row["id"]: row for row in plan(source).structures}
    assert rows[7] == {
        "id": 7,
        "name": "Left-Thalamus",
        "abbreviation": "LT",
        "hemisphere": "left",
        "group": "all",
    }
    assert rows[1]["hemisphere"] == "right"
    assert plan(source, dseg=NONE).structures == ()


def test_label_maps_of_derivatives(source):
    for anat in source.rglob("anat"):
        for labels in anat.glob("*_dseg.nii.gz"):
            labels.unlink()
    assert plan(source).structures == ()
    surfer = source / "derivatives" / "surfer"
    write_visit(surfer, "01", "2", suffixes=("dseg",), desc="_desc-aseg")
    assert labels_of(plan(source))["sub-01_ses-2_T1w"] == "sub-01_ses-2_desc-aseg_dseg.nii.gz"
    write_visit(surfer, "01", "2", suffixes=("dseg",), desc="_desc-aparc")
    with pytest.raises(InputError, match=r"several label maps of sub-01_ses-2_.* --dseg-desc"):
        plan(source)
    chosen = plan(source, dseg_desc="aparc")
    assert labels_of(chosen)["sub-01_ses-2_T2w"] == "sub-01_ses-2_desc-aparc_dseg.nii.gz"
    with pytest.raises(InputError, match=r"desc-other"):
        plan(source, dseg=Path("surfer"), dseg_desc="other")
    write_visit(source / "derivatives" / "fast", "01", "2", suffixes=("dseg",))
    with pytest.raises(InputError, match=r"Several folders .* \(fast, surfer\)"):
        plan(source)
    assert labels_of(plan(source, dseg=Path("fast")))["sub-01_ses-2_T1w"] == (
        "sub-01_ses-2_dseg.nii.gz"
    )
    elsewhere = shutil.move(source / "derivatives" / "fast", source.parent / "moved")
    assert labels_of(plan(source, dseg=Path(elsewhere)))["sub-01_ses-2_T1w"] is not None
    with pytest.raises(InputError, match="no folder absent of label maps"):
        plan(source, dseg=Path("absent"))


def test_a_label_map_of_another_space_or_grid_is_no_label_map_of_the_scan(source):
    anat = source / "sub-01" / "ses-2" / "anat"
    labels = anat / "sub-01_ses-2_dseg.nii.gz"
    labels.rename(anat / "sub-01_ses-2_space-T1w_dseg.nii.gz")
    found = labels_of(plan(source))
    assert found["sub-01_ses-2_T1w"] == "sub-01_ses-2_space-T1w_dseg.nii.gz"
    assert found["sub-01_ses-2_T2w"] is None
    (anat / "sub-01_ses-2_space-T1w_dseg.nii.gz").rename(
        anat / "sub-01_ses-2_space-MNI152Lin_dseg.nii.gz"
    )
    assert labels_of(plan(source))["sub-01_ses-2_T1w"] is None
    data = np.ones((4, 4, 4), np.uint8)
    nib.save(nib.Nifti1Image(data, AFFINE), labels)
    planned = plan(source)
    assert labels_of(planned)["sub-01_ses-2_T1w"] is None
    assert any(
        "sub-01_ses-2_T1w: sub-01_ses-2_dseg.nii.gz lies on another grid" in note
        for note in planned.notes
    )


@pytest.mark.parametrize("fault", ["cut off", "empty", "without content"])
def test_a_label_map_that_cannot_be_used_stays_with_its_scan_and_costs_dice_alone(fault, source):
    """The workflow registers the scan without it and names it; the plan says so before."""
    labels = source / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_dseg.nii.gz"
    if fault == "cut off":
        labels.write_bytes(labels.read_bytes()[:60])
    elif fault == "empty":
        nib.save(nib.Nifti1Image(np.zeros((16, 16, 16), np.uint8), AFFINE), labels)
    else:
        labels.unlink()
        labels.symlink_to("../../../.git/annex/objects/XY/SHA256E-s1.nii.gz")
    planned = plan(source)
    assert [pair.id for pair in planned.pairs] == PAIRS["same-person"]
    assert labels_of(planned)["sub-01_ses-2_T1w"] == labels.name
    assert planned.faulty_labels.keys() == {"sub-01_ses-2_T1w", "sub-01_ses-2_T2w"}
    assert [row["id"] for row in planned.structures] == [1, 7]
    said = planned.summary()
    assert said[1] == "4 of 6 scans have a label map for Dice."
    assert sum("Without Dice for sub-01_ses-2_T1w: " in line for line in said) == 1
    shutil.copy(
        labels.parent.parent.parent.parent / "sub-02/ses-2/anat/sub-02_ses-2_dseg.nii.gz",
        labels.with_name("sub-01_ses-2_desc-drawn_dseg.nii.gz"),
    )
    assert labels_of(plan(source))["sub-01_ses-2_T1w"] == "sub-01_ses-2_desc-drawn_dseg.nii.gz"
    assert plan(source).faulty_labels == {}


# ----------------------------------------------------------------------- label map of the template


def template_plan(source: Path, change=lambda ids: ids, **other):
    labels = labels_of_template(source, change)
    files = {"template": source.parent / "mine.nii.gz", "template_labels": labels}
    return plan(source, "template", **{**files, **other})


def test_the_label_map_of_a_template_gives_its_task_what_is_measured_by_labels(source, tmp_path):
    """Both sides have one label table, without which the workflow measures no Dice."""
    planned = template_plan(source)
    assert planned.summary()[1] == "The template and 5 of 5 scans have a label map for Dice."
    study = load_study(planned.write(tmp_path / "code", "a test"), REPOSITORY)
    (experiment,) = study.experiments
    assert experiment.labels == tmp_path / "code" / "labels.tsv"
    assert {pair.fixed.labels for pair in experiment.pairs} == {source.parent / "mine_dseg.nii.gz"}
    assert {pair.moving.labels.name for pair in experiment.pairs} == set(
        labels_of(planned).values()
    )
    planned = template_plan(source, template_labels=None)
    study = load_study(planned.write(tmp_path / "other", "a test"), REPOSITORY)
    assert study.experiments[0].labels is None
    assert "--template-labels" in planned.summary()[1]


def test_structures_are_those_that_the_template_and_the_scans_have(source):
    def with_others(ids):
        ids = np.where(ids == 1, 5, ids)
        ids[0, 0, :2] = 12, 30
        return ids

    planned = template_plan(source, with_others)
    assert [row["id"] for row in planned.structures] == [7]
    assert planned.notes == (
        "Not measured, because only the label map of the template has them: ids 5, 12, 30.",
        "Not measured, because only label maps of scans have them: ids 1.",
    )


@pytest.mark.parametrize(
    ("of_template", "of_scans", "name", "note"),
    [
        ("Thalamus", None, "Thalamus", None),
        (None, "Putamen", "Putamen", None),
        ("thalamus", "Thalamus", "Thalamus", None),
        (
            *("Thalamus", "Putamen", "Putamen"),
            "Ids 7 have another name in the table of the template than in that of the scans (7 is "
            "'Thalamus' and 'Putamen'); Dice means nothing where they are other structures.",
        ),
    ],
)
def test_names_are_those_of_either_table_and_are_compared(
    of_template, of_scans, name, note, source
):
    for folder, given in ((source.parent, of_template), (source, of_scans)):
        if given:
            (folder / "dseg.tsv").write_text(f"index\tname\n7\t{given}\n")
    planned = template_plan(source)
    assert [row["name"] for row in planned.structures] == ["structure 1", name]
    assert planned.notes == ((note,) if note else ())


def test_a_template_that_is_named_like_a_person_is_no_scan_of_that_person(source):
    write_visit(source, "mine")
    planned = template_plan(source)
    assert "sub-mine_T1w__sub-mine_T1w" in {pair.id for pair in planned.pairs}
    assert {pair.fixed.dataset for pair in planned.pairs} == {"template"}
    assert {pair.moving.dataset for pair in planned.pairs} == {"bids"}


@pytest.mark.parametrize(("ids", "is_refused"), [([1, 2], False), ([2, 7], False), ([2, 3], True)])
def test_a_table_without_any_structure_of_the_template_is_refused(ids, is_refused, source):
    table = source.parent / "table.tsv"
    rows = "".join(f"{i}\tname {i}\tn{i}\tnone\tall\n" for i in ids)
    table.write_text(f"id\tname\tabbreviation\themisphere\tgroup\n{rows}")
    if is_refused:
        with pytest.raises(InputError, match=r"holds none of the structures of .*table.tsv \(--l"):
            template_plan(source, labels=str(table))
        return
    planned = template_plan(source, labels=str(table))
    content = planned.content(source.parent)["own"]["datasets"]
    assert [content[name]["labels"] for name in ("bids", "template")] == [str(table)] * 2


# ------------------------------------------------------------------------------------- preparation


def test_whole_heads_are_stripped_and_brains_are_not(source, monkeypatch):
    monkeypatch.setattr("diffeode.bids_app.plan.missing", lambda step, choice: None)
    assert plan(source).recipe == {"brain": "nonzero"}
    assert plan(source, brain="synthstrip").recipe == {"brain": "synthstrip", "bias": "n4"}
    for scan in source.rglob("*_T2w.nii.gz"):
        noise = np.random.default_rng(0).uniform(1, 9, (16, 16, 16)).astype(np.float32)
        nib.save(nib.Nifti1Image(noise, AFFINE), scan)
    planned = plan(source, spacing_mm=4.0)
    assert planned.recipe == {"brain": "mindgrab", "bias": "n4", "spacing_mm": 4.0}
    assert any("sub-01_ses-2_T2w shows a whole head" in note for note in planned.notes)


# --------------------------------------------------------------------------------------- the doors


def other_folder(source: Path) -> None:
    other = source.parent / "other"
    write_visit(other, "01")
    derivatives.describe(plan_of(replace(asked(other), out=source.parent / "out"), REPOSITORY))


def filled(source: Path) -> None:
    (source.parent / "out").mkdir()
    (source.parent / "out" / "thesis.txt").write_text("mine")


def one_session(source: Path) -> None:
    for person in ("02", "03"):
        shutil.rmtree(source / f"sub-{person}")


def without_persons(source: Path) -> None:
    one_session(source)
    shutil.rmtree(source / "sub-01")


def broken_description(source: Path) -> None:
    (source / "dataset_description.json").write_text("{")


def broken_participants(source: Path) -> None:
    (source / "participants.tsv").write_text("name\n01\n")


def out_is_a_file(source: Path) -> None:
    (source.parent / "out").write_text("a file")


def nothing(source: Path) -> None:
    """Leave the folder as it is."""


def without_label_maps(source: Path) -> None:
    for labels in source.rglob("*_dseg.nii.gz"):
        labels.unlink()
    labels_of_template(source)


def with_empty_label_maps(source: Path) -> None:
    labels_of_template(source)
    for labels in source.rglob("*_dseg.nii.gz"):
        nib.save(nib.Nifti1Image(np.zeros((16, 16, 16), np.uint8), AFFINE), labels)


TO_TEMPLATE = "{bids} {out} --task template --template {tmp}/mine.nii.gz --template-labels "

DOORS = {
    "no folder": (nothing, "{tmp}/absent {out}", "absent does not exist"),
    "a file": (nothing, "{bids}/dataset_description.json {out}", "is a file"),
    "no persons": (without_persons, "{bids} {out}", "is no BIDS folder: it has no folder sub-"),
    "description": (broken_description, "{bids} {out}", "dataset_description.json is not valid"),
    "participants": (broken_participants, "{bids} {out}", "no column participant_id"),
    "participant": (
        *(nothing, "{bids} {out} --participant-label 01 011"),
        "no participant '011' .*did you mean '01'",
    ),
    "session": (
        *(nothing, "{bids} {out} --session-label 3"),
        "in session '3' .known: 10, 2, 9",
    ),
    "session without contrast": (
        *(nothing, "{bids} {out} --session-label ses-10"),
        "Nothing is left .*sub-02_ses-10: has no T2w",
    ),
    "one participant": (
        *(nothing, "{bids} {out} --task other-persons --participant-label sub-01"),
        "needs two participants or more, and only sub-01 is left",
    ),
    "one session": (
        *(one_session, "{bids} {out} --task longitudinal"),
        "Nothing is left .*sub-01: has no two sessions with T1w",
    ),
    "out is the folder": (nothing, "{bids} {bids}", "lies in the raw data"),
    "out in the folder": (nothing, "{bids} {bids}/sub-01/new", "lies in the raw data"),
    "out is derivatives": (nothing, "{bids} {bids}/derivatives", "lies in the raw data"),
    "out by a link": (
        *(lambda source: (source.parent / "link").symlink_to(source), "{bids} {tmp}/link/out"),
        "lies in the raw data",
    ),
    "out around the folder": (nothing, "{bids} {tmp}", "is not empty and holds no results"),
    "out of others": (filled, "{bids} {out}", "is not empty and holds no results"),
    "out of another folder": (other_folder, "{bids} {out}", "results of another BIDS folder"),
    "out is a file": (out_is_a_file, "{bids} {out}", "Cannot write results to"),
    "braces": (nothing, "{bids} {out}{{x}}", "has braces"),
    "method": (nothing, "{bids} {out} --method ants-sny", "no run 'ants-sny'; did you mean"),
    "trained method": (nothing, "{bids} {out} --method voxelmorph", "is trained before"),
    "task": (nothing, "{bids} {out} --task longitudnal", "no task .*did you mean 'longitudinal'"),
    "profile": (nothing, "{bids} {out} --profile slrum", "no profile .*did you mean 'slurm"),
    "contrast": (
        *(nothing, "{bids} {out} --fixed-modality T2"),
        "no scan of contrast T2 .*did you mean 'T2w'",
    ),
    "contrast of no name": (nothing, "{bids} {out} --fixed-modality ../T2w", "is no contrast"),
    "one contrast": (nothing, "{bids} {out} --fixed-modality T1w", "both sides are T1w"),
    "template absent": (
        *(nothing, "{bids} {out} --task template --template {tmp}/t.nii.gz"),
        "There is no template",
    ),
    "template that is a label map": (
        lambda root: write_visit(root.parent / "elsewhere", "09", suffixes=("dseg",)),
        "{bids} {out} --task template --template {tmp}/elsewhere/sub-09/anat/sub-09_dseg.nii.gz",
        "sub-09_dseg.nii.gz looks like a label map or a mask",
    ),
    "template of another contrast": (
        *(nothing, "{bids} {out} --task template --fixed-modality T2w"),
        "ICBM152 comes as T1w only",
    ),
    "template of another task": (
        *(nothing, "{bids} {out} --template {bids}/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"),
        "--template is for the task template",
    ),
    "label map of a template of another task": (
        *(labels_of_template, "{bids} {out} --template-labels {tmp}/mine_dseg.nii.gz"),
        "--template-labels is for the task template",
    ),
    "label map of the template that comes here": (
        labels_of_template,
        "{bids} {out} --task template --template-labels {tmp}/mine_dseg.nii.gz",
        "ICBM152 comes without one; name the template that it lies on by --template, too",
    ),
    "label map of a template absent": (
        *(template_of, f"{TO_TEMPLATE} {{tmp}}/l.nii.gz"),
        "There is no label map of the template .*l.nii.gz",
    ),
    "label map of a template on another grid": (
        lambda root: labels_of_template(root, lambda ids: ids[1:]),
        f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz",
        "mine_dseg.nii.gz does not lie on the grid of its scan .*mine.nii.gz; resample it there",
    ),
    "label map of a template that is empty": (
        lambda root: labels_of_template(root, lambda ids: 0 * ids),
        f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz",
        "mine_dseg.nii.gz is empty",
    ),
    "label map of a template that is a scan": (
        *(template_of, f"{TO_TEMPLATE} {{tmp}}/mine.nii.gz"),
        "mine.nii.gz is not a label map: .*give the label map",
    ),
    "label map of a template and none of scans": (
        *(without_label_maps, f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz"),
        "and no scan has one that can be used; add them",
    ),
    "label map of a template and none of scans wanted": (
        *(labels_of_template, f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz --dseg none"),
        "and no scan has one that can be used; add them",
    ),
    "label map of a template and empty ones of scans": (
        *(with_empty_label_maps, f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz"),
        r"used \(sub-01_ses-2_T1w: .*_dseg.nii.gz is empty \(0 everywhere\)\); add them",
    ),
    "label map of a template with other ids": (
        lambda root: labels_of_template(root, lambda ids: 10 * ids),
        f"{TO_TEMPLATE} {{tmp}}/mine_dseg.nii.gz",
        r"share no id \(it has 10, 70; they have 1, 7\)",
    ),
    "pairs": (nothing, "{bids} {out} --pairs 9", "9 pairs are asked for, but there are 3"),
    "brain": (nothing, "{bids} {out} --brain mindgrap", "no tool 'mindgrap' .*'mindgrab'"),
    "brain by labels": (
        *(nothing, "{bids} {out} --brain labels --dseg none"),
        "has none; add it",
    ),
    "labels": (nothing, "{bids} {out} --labels albrt", "label table 'albrt'.*'albert'"),
    "labels file": (nothing, "{bids} {out} --labels {tmp}/l.tsv", "There is no label table"),
    "dseg": (nothing, "{bids} {out} --dseg absent", "no folder absent of label maps"),
}


@pytest.mark.parametrize("door", DOORS)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    door, source, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(running, "_run", lambda *_: pytest.fail("the study has begun"))
    spoil, line, message = DOORS[door]
    spoil(source)
    before = content_of(tmp_path)
    words = line.format(tmp=tmp_path, bids=source, out=tmp_path / "out").split()
    assert main(["study", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("diffeode: ")
    assert re.search(message, said)
    assert content_of(tmp_path) == before


def test_what_looks_like_a_label_map_is_a_scan_where_that_is_said(source, tmp_path):
    """Its dataset says so to the workflow, which otherwise looks at every scan but the template,
    that was looked at here.
    """
    anat = write_visit(tmp_path / "elsewhere", "09", suffixes=("dseg",))
    template = anat / "sub-09_dseg.nii.gz"
    planned = plan(source, "template", template=template, are_scans=True)
    datasets = planned.content(tmp_path)["own"]["datasets"]
    assert [datasets[name].get("are_scans") for name in ("bids", "template")] == [True, True]
    planned = plan(source, "template", template=template_of(source))
    datasets = planned.content(tmp_path)["own"]["datasets"]
    assert [datasets[name].get("are_scans") for name in ("bids", "template")] == [None, True]
    planned.write(tmp_path, "a test")
    read = load_study(planned.content(tmp_path), REPOSITORY).datasets()
    assert [read[name].is_looked_at for name in ("bids", "template")] == [True, False]


def test_runs_whose_results_would_have_one_name_are_refused(source, monkeypatch):
    assert len({desc_of(name) for name in run_names()}) == len(run_names())
    monkeypatch.setattr("diffeode.bids_app.names.desc_of", lambda run: "one")
    with pytest.raises(InputError, match="runs node and identity would have one name"):
        plan(source, runs=("node", "identity"))


def test_results_may_lie_in_a_folder_of_derivatives(source):
    out = source / "derivatives" / "diffeode"
    planned = plan_of(replace(asked(source), out=out), REPOSITORY)
    derivatives.describe(planned)
    assert link_to_source(source, out) == "../.."
    assert plan_of(replace(asked(source), out=out), REPOSITORY).pairs == planned.pairs


# --------------------------------------------------------------------------- results by BIDS names


def finish(planned, failing: int | None = None) -> list[RegistrationUnit]:
    """Write what the workflow writes for each pair; the pair number ``failing`` fails."""
    units = []
    for number, pair in enumerate(planned.pairs):
        task = planned.request.task.name
        folder = planned.request.out / "work" / "registrations" / task / pair.id / "node"
        unit = RegistrationUnit(folder)
        if number == failing:
            write_receipt(folder, [], {"status": "failed", "reason": "It failed."})
        else:
            folder.mkdir(parents=True, exist_ok=True)
            files = (unit.warp_file, unit.inverse_warp_file, unit.warped_file)
            for file in files:
                file.write_text(f"{pair.id} {file.name}")
            about = {"status": "done", "suspect": number == 0, "verdict": "Look at it."}
            write_receipt(folder, [file.name for file in files], about)
        units.append(unit)
    return units


def test_finished_registrations_lie_under_their_bids_names_with_sidecars(source):
    planned = plan(source)
    derivatives.describe(planned)
    first, *_ = finish(planned, failing=2)
    assert derivatives.deliver(planned) == (
        2,
        ["sub-02_ses-9_T2w__sub-02_ses-9_T1w by node: It failed."],
    )
    anat = planned.request.out / "sub-01" / "ses-2" / "anat"
    there = anat / "sub-01_ses-2_from-T1w_to-T2w_mode-image_desc-node_xfm.nii.gz"
    back = anat / "sub-01_ses-2_from-T2w_to-T1w_mode-image_desc-node_xfm.nii.gz"
    warped = anat / "sub-01_ses-2_space-T2w_desc-node_T1w.nii.gz"
    assert there.samefile(first.warp_file)
    assert back.samefile(first.inverse_warp_file)
    assert warped.samefile(first.warped_file)
    about = json.loads(warped.with_name("sub-01_ses-2_space-T2w_desc-node_T1w.json").read_text())
    assert about["SpatialReference"] == "bids:raw:sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz"
    assert about["Sources"] == ["bids:raw:sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"]
    assert about["Suspect"] == "Look at it."
    images = {path for path in planned.request.out.rglob("*.nii.gz") if "work" not in path.parts}
    assert len(images) == 6
    assert {path.with_name(f"{path.name[:-7]}.json") for path in images} == {
        path for path in planned.request.out.rglob("sub-*.json")
    }
    dataset = json.loads((planned.request.out / "dataset_description.json").read_text())
    assert dataset["DatasetType"] == "derivative"
    assert dataset["GeneratedBy"][0]["Name"] == "diffeode"
    assert dataset["SourceDatasets"][0]["URL"] == dataset["DatasetLinks"]["raw"] == source.as_uri()


def test_a_sidecar_says_which_way_its_map_leads(source):
    """Points go against the images, for which files are named."""
    planned = plan(source)
    finish(planned)
    derivatives.deliver(planned)
    visit = "sub-01_ses-2"
    anat = planned.request.out / "sub-01" / "ses-2" / "anat"
    for moving, fixed in (("T1w", "T2w"), ("T2w", "T1w")):
        file = anat / f"{visit}_from-{moving}_to-{fixed}_mode-image_desc-node_xfm.json"
        said = json.loads(file.read_text())["Description"]
        assert f"points of {visit}_{fixed} go to points of {visit}_{moving}" in said
        assert f"images of {visit}_{moving} are resampled to {visit}_{fixed}" in said


def test_a_sidecar_says_on_which_voxels_a_scan_was_resampled(source):
    planned = plan(source, spacing_mm=4.0)
    finish(planned)
    derivatives.deliver(planned)
    anat = planned.request.out / "sub-01" / "ses-2" / "anat"
    about = json.loads((anat / "sub-01_ses-2_space-T2w_desc-node_T1w.json").read_text())
    assert "resampled once to sub-01_ses-2_T2w, on voxels of 4 mm by " in about["Description"]


def test_a_result_that_is_made_again_replaces_the_one_before_and_a_failed_one_goes(source):
    planned = plan(source)
    first, *_ = finish(planned)
    derivatives.deliver(planned)
    (there, *_), text = derivatives.names_of(planned), "made again"
    first.warp_file.unlink()
    first.warp_file.write_text(text)
    derivatives.deliver(planned)
    assert there.read_text() == text
    finish(planned, failing=0)
    derivatives.deliver(planned)
    assert not there.exists()
    assert not there.with_name(f"{there.name[:-7]}.json").exists()


def test_results_are_copied_where_the_disk_has_no_hard_links(source, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    planned = plan(source)
    first, *_ = finish(planned)
    derivatives.deliver(planned)
    there, *_ = derivatives.names_of(planned)
    assert there.read_text() == first.warp_file.read_text()
    assert not there.samefile(first.warp_file)
    before = there.stat().st_ino
    derivatives.deliver(planned)
    assert there.stat().st_ino == before


# ----------------------------------------------------------------------------------------- running


def test_the_workflow_of_this_clone_is_found():
    assert find_repository() == REPOSITORY
    assert profile_folder(REPOSITORY, "slurm") == REPOSITORY / "workflow" / "profiles" / "slurm"


@pytest.mark.parametrize(
    ("profile", "cores", "given"),
    [("default", None, "all"), ("default", 3, "3"), ("slurm", None, None), ("slurm", 3, "3")],
)
def test_a_profile_of_a_cluster_says_itself_what_a_job_asks_for(profile, cores, given):
    line = How(REPOSITORY, profile, cores).command(Path("/out"), Path("/out/study.yaml"))
    assert (line[line.index("--cores") + 1] if "--cores" in line else None) == given
    assert line[line.index("--directory") + 1] == "/out"


@pytest.mark.parametrize(
    ("level", "calls"),
    [("participant", ["metrics.tsv"]), ("group", ["", "--report"]), (None, ["", "--report"])],
)
def test_a_level_ends_with_its_results(level, calls, source, monkeypatch):
    """What is called, by the last words of the command line; and a job that fails is told."""
    planned = plan(source)
    lines = []

    def run(command, said=None):
        lines.append(list(command))
        finish(planned, failing=2)
        metrics = planned.request.out / "work" / "studies" / "same-person" / "metrics.tsv"
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.touch()
        return len(lines) == 1

    monkeypatch.setattr(running, "_run", run)
    with pytest.raises(running.RegistrationError, match=r"2 of 3 registrations .* It failed"):
        running.run_plan(planned, How(REPOSITORY, level=level))
    for line, end in zip(lines, calls, strict=True):
        assert end in " ".join(line[-2:])
    study = yaml.safe_load((planned.request.code / "study.yaml").read_text())
    assert study["results"] == "work"
    assert (planned.request.out / "sub-01").is_dir()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("what", ["nothing", "a pair", "a visit", "a scan", "labels"])
def test_the_end_names_what_could_not_be_used_and_then_is_no_success(
    what, level, source, monkeypatch
):
    if what == "a visit":
        truncate(source / "sub-01" / "ses-2" / "anat")
    if what == "labels":
        (source / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_dseg.nii.gz").write_bytes(b"")
    planned = plan(source)

    def run(command, said=None):
        finish(planned, failing=1 if what == "a pair" else None)
        if what in ("a scan", "labels"):
            tables = planned.request.out / "work" / "studies" / "same-person" / "tables"
            tables.mkdir(parents=True, exist_ok=True)
            (tables / "unusable_scans.tsv").write_text(
                "scan\tstep\tpairs\treason\n"
                f"sub-01_ses-2_T1w\t{'labels' if what == 'labels' else 'prepare'}\t1\t"
                f"sub-01_ses-2_dseg.nii.gz is empty.\n"
            )
        return 0

    monkeypatch.setattr(running, "_run", run)
    how = How(REPOSITORY, level=level)
    if what == "nothing" or (what, level) == ("a scan", "participant"):  # it makes no tables
        assert running.run_plan(planned, how)[0].startswith("3 of 3 registrations are in ")
        return
    said = {
        "a pair": r"Failed registrations: 1: sub-02_ses-2_T2w__sub-02_ses-2_T1w by node: It failed",
        "a visit": r"Left out, because a scan cannot be used: sub-01_ses-2: .* is empty",
        "a scan": r"Scans that cannot be used, .*: sub-01_ses-2_T1w \(1\): .* is empty",
        "labels": r"[Ll]abel maps (that )?cannot be used.*: sub-01_ses-2_T1w.* is empty",
    }
    with pytest.raises(running.RegistrationError, match=f"{said[what]}.* it makes only what is"):
        running.run_plan(planned, how)


@pytest.mark.parametrize("code", [130, -9])
def test_a_run_that_was_interrupted_says_so_beside_what_failed_before(code, source, monkeypatch):
    planned = plan(source)
    finish(planned, failing=1)
    monkeypatch.setattr(running, "_run", lambda command, said=None: code)
    said = r"interrupted or killed before its end\. Failed registrations: 1"
    with pytest.raises(running.RegistrationError, match=said):
        running.run_plan(planned, How(REPOSITORY))


def test_a_job_that_failed_is_told_where_a_visit_was_left_out(source, monkeypatch):
    truncate(source / "sub-01" / "ses-2" / "anat")
    planned = plan(source)
    monkeypatch.setattr(running, "_run", lambda command, said=None: 1)
    with pytest.raises(running.RegistrationError, match=r"A job failed; .* Left out, because"):
        running.run_plan(planned, How(REPOSITORY))
