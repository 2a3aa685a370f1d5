"""A scan that cannot be used costs its own pairs: the study goes to its end, tells what is wrong,
and makes only what is missing once the file is replaced.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from ellipsoids import DATASET, LABELS, write_person

from diffeode.files.io import read_image, read_labels
from diffeode.prepare.scan import prepare_image
from diffeode.provenance.receipt import failure_in, left_out_in

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

_EXPERIMENT = """\
title: Ellipsoids
fixed: {dataset: folder, modality: T2w}
moving: {dataset: folder, modality: T1w}
persons: same
alignment: none
pairs: all
seed: 2
"""
_STUDY = """\
study: doors
title: A study with scans that cannot be used
experiments: [doors]
runs: [identity, quick]
ours: identity
seed: 1
results: results
panels: 1
figures: {models: [quick]}
"""
_QUICK = """\
method: neural-ode
title: Quick
parameters: {levels: {factors: [2], iterations: [1]}}
"""


def t1w(anat: Path) -> Path:
    (scan,) = anat.glob("*_T1w.nii.gz")
    return scan


def labels(anat: Path) -> Path:
    (scan,) = anat.glob("*_dseg.nii.gz")
    return scan


def with_data(change):
    """Return a fault that changes the voxels of the T1w."""

    def spoil(anat: Path) -> None:
        scan = nib.load(t1w(anat))
        nib.save(nib.Nifti1Image(change(scan.get_fdata(dtype=np.float32)), scan.affine), t1w(anat))

    return spoil


def cut_off(anat: Path) -> None:
    content = t1w(anat).read_bytes()
    t1w(anat).write_bytes(content[: len(content) // 2])


def emptied(anat: Path) -> None:
    t1w(anat).write_bytes(b"")


def with_noise_for_an_image(anat: Path) -> None:
    t1w(anat).write_bytes(b"not an image" * 100)


def without_target(anat: Path) -> None:
    scan = t1w(anat)
    scan.unlink()
    scan.symlink_to("../../nowhere.nii.gz")


def labels_elsewhere(anat: Path) -> None:
    drawn = nib.load(labels(anat))
    elsewhere = drawn.affine + np.array([[0, 0, 0, 100], *[[0] * 4] * 3])
    nib.save(nib.Nifti1Image(np.asarray(drawn.dataobj), elsewhere), labels(anat))


def labels_of_others(anat: Path) -> None:
    drawn = nib.load(labels(anat))
    nib.save(nib.Nifti1Image(np.asarray(drawn.dataobj) * 9, drawn.affine), labels(anat))


def labels_cut_off(anat: Path) -> None:
    content = labels(anat).read_bytes()
    labels(anat).write_bytes(content[: len(content) // 2])


def labels_without_target(anat: Path) -> None:
    drawn = labels(anat)
    drawn.unlink()
    drawn.symlink_to("../../nowhere.nii.gz")


def landmarks_of_no_form(anat: Path) -> None:
    (anat / f"{anat.parent.name}_landmarks.tsv").write_text("no landmarks\n", encoding="utf-8")


def unaligned(anat: Path) -> None:
    scan = nib.load(t1w(anat))
    elsewhere = scan.affine + np.array([[0, 0, 0, 400], *[[0] * 4] * 3])
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj), elsewhere), t1w(anat))
    labels(anat).unlink()


FAULTS = {
    "01": (cut_off, "truncated"),
    "02": (emptied, "is empty"),
    "03": (with_data(np.zeros_like), "constant"),
    "04": (with_data(lambda data: data * np.nan), "NaN"),
    "05": (with_data(lambda data: np.stack([data] * 3, axis=-1)), "is 4-D"),
    "06": (with_noise_for_an_image, "image"),
    "08": (without_target, "nowhere.nii.gz"),
    "09": (unaligned, "wholly outside the fixed scan's grid"),
}
"""The fault by person, and what is said of it."""
LABEL_FAULTS = {
    "07": (labels_elsewhere, "labels", "does not lie on the grid of its scan"),
    "13": (labels_cut_off, "labels", "truncated"),
    "14": (labels_without_target, "labels", "nowhere.nii.gz"),
    "15": (landmarks_of_no_form, "landmarks", "landmarks.tsv"),
}
"""The fault by person of what metrics alone need, what it is, and what is said of it."""
UNKNOWN = "10"
"""The person whose label map holds no structure of the table."""
NOT_PREPARED = ("01", "02", "03", "04", "05", "06", "08")
GOOD = ("11", "12")


def begin(clone):
    """Write the study, and break files of all persons except :data:`GOOD`."""
    for number in range(1, 16):
        write_person(clone.path("scans"), f"{number:02d}", 4 + number / 6)
    for person, (spoil, *_) in (FAULTS | LABEL_FAULTS).items():
        spoil(clone.path(f"scans/sub-{person}/anat"))
    labels_of_others(clone.path(f"scans/sub-{UNKNOWN}/anat"))
    clone.write("config/datasets/folder.yaml", DATASET)
    clone.write("config/labels/ellipsoid.tsv", LABELS)
    clone.write("config/experiments/doors.yaml", _EXPERIMENT)
    clone.write("config/config.yaml", _STUDY)
    clone.write("config/methods/quick.yaml", _QUICK)


@pytest.fixture(scope="module")
def ended(copied, tmp_path_factory):
    """The study at its end, and what it said."""
    clone = copied(tmp_path_factory.mktemp("doors") / "clone")
    begin(clone)
    return clone, clone.snakemake()


def table(clone, name: str) -> pd.DataFrame:
    return pd.read_csv(clone.path(f"results/studies/doors/{name}.tsv"), sep="\t", dtype=str)


def person_of(name: str) -> str:
    return name.split("sub-")[1][:2]


def test_the_study_goes_to_its_end_and_fails_there_with_one_summary(ended):
    clone, run = ended
    assert run.returncode == 1
    said = run.stdout
    assert "verdict: 7 scans could not be used: the reasons are in results/studies/doors/" in said
    assert "unusable_scans.tsv; 10 scans had no usable labels or landmarks: the reasons" in said
    assert "unusable_scans.tsv; 16 of 30 registrations failed: the reasons are in" in said
    assert "Traceback" not in said
    assert "Failed: " not in said  # no job of Snakemake failed besides the verdict
    for figure in ("dice_boxplot.svg", "coronal_overview/doors.png"):
        assert clone.path(f"results/studies/doors/figures/{figure}").is_file()


@pytest.mark.parametrize("person", FAULTS)
def test_what_is_wrong_is_named_once_and_costs_its_own_pair(person, ended):
    clone, run = ended
    _, why = FAULTS[person]
    failures = table(clone, "tables/failures")
    mine = failures[failures["pair"].map(person_of) == person]
    assert sorted(mine["run"]) == ["identity", "quick"]
    assert mine["reason"].str.contains(why, regex=False).all(), list(mine["reason"])
    scans = table(clone, "tables/unusable_scans")
    named = scans[scans["scan"].map(person_of) == person]
    assert bool(len(named)) == (person in NOT_PREPARED)
    assert named["reason"].str.contains(why, regex=False).all()
    assert set(named["pairs"]) <= {"1"}
    assert all(clone.path(log).is_file() for log in (*named["log"], *mine["log"]))
    for scan in named["scan"]:
        assert run.stdout.count(f"prepare folder {scan}: failed") == 1


@pytest.mark.parametrize("person", LABEL_FAULTS)
def test_labels_that_cannot_be_used_cost_their_metrics_alone(person, ended):
    clone, run = ended
    _, what, why = LABEL_FAULTS[person]
    assert person not in set(table(clone, "tables/failures")["pair"].map(person_of))
    scans = table(clone, "tables/unusable_scans")
    named = scans[scans["scan"].map(person_of) == person]
    assert named[["step", "pairs"]].values.tolist() == [[what, "1"]] * 2
    assert named["reason"].str.contains(why, regex=False).all(), list(named["reason"])
    assert all(clone.path(log).is_file() for log in named["log"])
    for scan in named["scan"]:
        assert run.stdout.count(f"prepare folder {scan}: prepared without its ") == 1
        assert left_out_in(clone.path(f"results/prepared/folder/{scan}/receipt.json")).keys() == {
            what
        }
    metrics = table(clone, "metrics")
    mine = metrics[metrics["pair"].map(person_of) == person]
    assert {"nmi", "sdlogj"} <= set(mine["metric"])
    assert ("dice" in set(mine["metric"])) == (what != "labels")


def test_a_label_map_of_other_structures_costs_the_metrics_of_labels_alone(ended):
    """The scans are prepared with it, as the table of structures is asked for by the evaluation."""
    clone, _ = ended
    assert UNKNOWN not in set(table(clone, "tables/failures")["pair"].map(person_of))
    scans = table(clone, "tables/unusable_scans")
    named = scans[scans["scan"].map(person_of) == UNKNOWN]
    assert named[["step", "pairs"]].values.tolist() == [["labels", "1"]] * 2
    assert named["reason"].str.contains("holds none of the ids of label table").all()
    assert all(clone.path(log).is_file() for log in named["log"])
    metrics = table(clone, "metrics")
    mine = metrics[metrics["pair"].map(person_of) == UNKNOWN]
    assert {"nmi", "sdlogj"} <= set(mine["metric"])
    assert not {"dice", "failed"} & set(mine["metric"])


def test_a_scan_without_its_labels_is_prepared_as_any_other(ended):
    """Its image and its brain are those of the scan alone."""
    clone, _ = ended
    for suffix in ("T1w", "T2w"):
        spoilt = clone.path(f"results/prepared/folder/sub-07_{suffix}")
        assert not (spoilt / "labels.nii.gz").exists()
        write_person(clone.path("whole"), "07", 4 + 7 / 6)
        whole = read_image(clone.path(f"whole/sub-07/anat/sub-07_{suffix}.nii.gz"))
        image, brain = prepare_image(whole, "the scan", modality=suffix)
        assert np.array_equal(read_image(spoilt / "image.nii.gz").data, image.data)
        assert np.array_equal(read_labels(spoilt / "mask.nii.gz").data > 0, brain)


def test_the_other_pairs_are_in_the_tables_and_all_are_counted(ended):
    clone, _ = ended
    summary = table(clone, "tables/summary")
    assert summary[["pairs", "n", "failed"]].values.tolist() == [["15", "7", "8"]] * 2
    metrics = table(clone, "metrics")
    dice = metrics[(metrics["metric"] == "dice") & metrics["label"].isna()]
    assert set(dice["pair"].map(person_of)) == {*GOOD, "15"}
    page = clone.path("results/studies/doors/tables/unusable_scans.html").read_text()
    assert page.count("<tr>") == 1 + 7 + 10


def test_once_a_file_is_replaced_only_what_failed_is_made(ended):
    """A label map that is taken away leaves nothing of itself either."""
    clone, _ = ended
    replaced, withdrawn = ("01", "07", "08", "10", "13"), "11"
    done = {
        file: file.stat().st_mtime_ns
        for file in clone.path("results").rglob("receipt.json")
        if failure_in(file) is None and person_of(str(file)) not in (*replaced, withdrawn)
    }
    for person in replaced:
        anat = clone.path(f"scans/sub-{person}/anat")
        t1w(anat).unlink()
        write_person(clone.path("scans"), person, 4 + int(person) / 6)
    labels(clone.path(f"scans/sub-{withdrawn}/anat")).unlink()
    run = clone.snakemake()
    assert run.returncode == 1
    assert "5 scans could not be used" in run.stdout
    assert "4 scans had no usable labels or landmarks" in run.stdout
    assert "12 of 30 registrations failed" in run.stdout
    assert {file: file.stat().st_mtime_ns for file in done} == done
    prepared = clone.path("results/prepared/folder")
    for person in replaced:
        assert (prepared / f"sub-{person}_T1w" / "image.nii.gz").is_file()
        assert (prepared / f"sub-{person}_T1w" / "labels.nii.gz").is_file()
    assert not (prepared / f"sub-{withdrawn}_T1w" / "labels.nii.gz").exists()
    metrics = table(clone, "metrics")
    dice = metrics[(metrics["metric"] == "dice") & metrics["label"].isna()]
    assert set(dice["pair"].map(person_of)) == {*replaced, "12", "15"}
    planned = clone.planned()
    assert (planned["prepare"], planned["align"], planned["register"]) == (5, 6, 12)
