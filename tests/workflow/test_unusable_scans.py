"""A scan that cannot be used costs its own pairs: the study goes to its end, tells what is wrong,
and makes only what is missing once the file is replaced.
"""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from ellipsoids import DATASET, LABELS, write_person

from diffeode.provenance.receipt import failure_in

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
    "07": (labels_elsewhere, "does not lie on the grid of its scan"),
    "08": (without_target, "nowhere.nii.gz"),
    "09": (unaligned, "wholly outside the fixed scan's grid"),
    "10": (labels_of_others, "could not be evaluated"),
}
"""The fault by person, and what is said of it."""
NOT_PREPARED = ("01", "02", "03", "04", "05", "06", "07", "08")
GOOD = ("11", "12")


def begin(clone):
    """Write the study, and break the scans of all persons except the last two."""
    for number in range(1, 13):
        write_person(clone.path("scans"), f"{number:02d}", 4 + number / 6)
    for person, (spoil, _) in FAULTS.items():
        spoil(clone.path(f"scans/sub-{person}/anat"))
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
    assert "verdict: 9 scans could not be used: the reasons are in results/studies/doors/" in said
    assert "unusable_scans.tsv; 20 of 24 registrations failed: the reasons are in" in said
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


def test_the_other_pairs_are_in_the_tables_and_all_are_counted(ended):
    clone, _ = ended
    summary = table(clone, "tables/summary")
    assert summary[["pairs", "n", "failed"]].values.tolist() == [["12", "2", "10"]] * 2
    metrics = table(clone, "metrics")
    dice = metrics[(metrics["metric"] == "dice") & metrics["label"].isna()]
    assert set(dice["pair"].map(person_of)) == set(GOOD)
    page = clone.path("results/studies/doors/tables/unusable_scans.html").read_text()
    assert page.count("<tr>") == 1 + 9


def test_once_a_file_is_replaced_only_what_failed_is_made(ended):
    clone, _ = ended
    replaced = ("01", "08", "10")
    done = {
        file: file.stat().st_mtime_ns
        for file in clone.path("results").rglob("receipt.json")
        if failure_in(file) is None and person_of(str(file)) not in replaced
    }
    for person in replaced:
        t1w(clone.path(f"scans/sub-{person}/anat")).unlink()
        write_person(clone.path("scans"), person, 4 + int(person) / 6)
    run = clone.snakemake()
    assert run.returncode == 1
    assert "7 scans could not be used" in run.stdout
    assert "14 of 24 registrations failed" in run.stdout
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert os.path.exists(clone.path("results/prepared/folder/sub-01_T1w/image.nii.gz"))
    planned = clone.planned()
    assert (planned["prepare"], planned["align"], planned["register"]) == (7, 7, 14)
