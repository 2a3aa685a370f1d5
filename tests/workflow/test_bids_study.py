"""``diffeode study`` on a tiny BIDS folder, from the command line to delivered results."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from bids_folders import AFFINE, describe, write_visit
from warm import python_for_jobs, warm_python

import diffeode as de
from diffeode.bids_app import running
from diffeode.bids_app.plan import plan_of
from diffeode.bids_app.request import Request
from diffeode.bids_app.tasks import TEMPLATE
from diffeode.cli import main

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SAID: list[str] = []
"""What Snakemake said, one text for each time it was started."""


def run_warm(command, said=None) -> int:
    """Stand for ``running._run``: the same command without the seconds of imports."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    folder = Path(command[command.index("--directory") + 1])
    run = warm_python().run(command[1:], folder, environment, python_for_jobs())
    SAID.append(run.stdout)
    return run.returncode


@pytest.fixture(scope="module")
def studied(tmp_path_factory) -> tuple[Path, Path]:
    """The BIDS folder of two persons, one of whom lacks a scan, and the results of its study."""
    root = tmp_path_factory.mktemp("bids")
    source, out = root / "source", root / "out"
    describe(source)
    write_visit(source, "01", radius=4)
    write_visit(source, "02", radius=5, suffixes=("T1w", "dseg"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_run", run_warm)
        code = main(["study", str(source), str(out), "--method", "identity", "-c", "2"])
    assert code == 0, SAID
    return source, out


def delivered(out: Path) -> dict[str, Path]:
    return {path.name: path for path in out.glob("sub-*/**/*.nii.gz")}


def test_results_lie_in_the_folder_and_nowhere_else(studied):
    source, out = studied
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        *("README", "dataset_description.json", "code", "report-same-person.html", "sub-01"),
        "work",
    }
    assert {path.name for path in source.rglob("*") if path.is_file()} == {
        *("dataset_description.json", "sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz"),
        *("sub-01_dseg.nii.gz", "sub-02_T1w.nii.gz", "sub-02_dseg.nii.gz"),
    }
    ways = [f"from-{a}_to-{b}_mode-image" for a, b in (("T1w", "T2w"), ("T2w", "T1w"))]
    assert set(delivered(out)) == {
        *(f"sub-01_{way}_desc-{run}_xfm.nii.gz" for way in ways for run in ("node", "identity")),
        *(f"sub-01_space-T2w_desc-{run}_T1w.nii.gz" for run in ("node", "identity")),
    }
    left_out = pd.read_csv(out / "code" / "same-person" / "left_out.tsv", sep="\t")
    assert left_out.values.tolist() == [["sub-02", "has no T2w"]]


@pytest.mark.parametrize("run", ["node", "identity"])
def test_the_delivered_map_gives_the_dice_of_the_table(run, studied):
    """The map, applied to the folder's own label maps, gives the number that the tables hold."""
    source, out = studied
    anat = source / "sub-01" / "anat"
    name = f"sub-01_from-T1w_to-T2w_mode-image_desc-{run}_xfm.nii.gz"
    labels = nib.load(anat / "sub-01_dseg.nii.gz")
    transform = de.load_transform(delivered(out)[name])
    warped = np.asarray(transform.apply(labels, reference=labels, order=0, labels=True).dataobj)
    fixed = np.asarray(labels.dataobj)
    overlaps = [
        2 * np.sum((fixed == i) & (warped == i)) / (np.sum(fixed == i) + np.sum(warped == i))
        for i in (1, 7)
    ]
    rows = pd.read_csv(out / "work" / "studies" / "same-person" / "metrics.tsv", sep="\t")
    mine = rows[(rows["run"] == run) & (rows["metric"] == "dice")]
    found = mine[mine["label"].isna()]["value"]
    assert np.isclose(found.item(), np.mean(overlaps), atol=1e-6)
    assert found.item() > 0.01  # the labels meet, so that another map would give another number


def test_the_same_command_again_makes_nothing_again(studied, monkeypatch):
    source, out = studied
    monkeypatch.setattr(running, "_run", run_warm)
    assert main(["study", str(source), str(out), "--method", "identity", "--dry-run"]) == 0
    assert "Nothing to be done" in SAID[-1]
    write_visit(source, "02", radius=5)
    assert main(["study", str(source), str(out), "--method", "identity", "--dry-run"]) == 0
    assert "Ahead: alignments: 1, registrations: 2, evaluations: 2" in SAID[-1]


def test_a_study_without_labels_plans_nothing_about_dice(studied, tmp_path, monkeypatch):
    source, _ = studied
    monkeypatch.setattr(running, "_run", run_warm)
    assert main(["study", str(source), str(tmp_path / "out"), "--dseg", "none", "--dry-run"]) == 0
    planned = set(SAID[-1].split())
    assert {"summarise", "beside", "panel", "methods_section"} <= planned
    of_dice = {"dice_boxplot", "dice_by_structure", "regularity", "significance", "wilcoxon"}
    assert not of_dice & planned


def test_the_study_s_file_can_be_run_by_snakemake_itself(studied):
    _, out = studied
    study = yaml.safe_load((out / "code" / "same-person" / "study.yaml").read_text())
    assert study["runs"] == ["node", "identity"]
    line = running.How(running_repository()).command(out, out / "code/same-person/study.yaml", "-n")
    assert run_warm(line) == 0
    assert "Nothing to be done" in SAID[-1]


def running_repository() -> Path:
    return Path(__file__).resolve().parents[2]


# ----------------------------------------------------------------------- label map of the template


def test_the_label_map_of_a_template_gives_exact_numbers(tmp_path, monkeypatch):
    """All show the same brain, so nothing moves: equal label maps overlap wholly, and one that lies
    a voxel beside the template's by what both have in common.
    """
    monkeypatch.setattr(running, "_run", run_warm)
    source, out = tmp_path / "source", tmp_path / "out"
    describe(source)
    for person in ("01", "02"):
        anat = write_visit(source, person, suffixes=("T1w", "dseg"))
    template = write_visit(tmp_path, "09", suffixes=("T1w", "dseg"))
    image, labels = (template / f"sub-09_{suffix}.nii.gz" for suffix in ("T1w", "dseg"))
    ids = np.asarray(nib.load(labels).dataobj)
    beside = np.roll(ids, 1, axis=0)
    nib.save(nib.Nifti1Image(beside, AFFINE), anat / "sub-02_dseg.nii.gz")
    request = Request(
        *(source, out, TEMPLATE, "T1w", "T1w"),
        runs=("identity",),
        template=image,
        template_labels=labels,
    )
    how = running.How(running_repository(), cores=2, level="participant")
    running.run_plan(plan_of(request, how.repository), how)

    rows = pd.read_csv(out / "work" / "studies" / "template" / "metrics.tsv", sep="\t")
    means = rows[rows["label"].isna()].pivot(index="moving", columns="metric", values="value")
    overlaps = [
        2 * np.sum((ids == i) & (beside == i)) / (np.sum(ids == i) + np.sum(beside == i))
        for i in (1, 7)
    ]
    expected = [1, np.mean(overlaps)]
    assert np.allclose(means.loc[["sub-01_T1w", "sub-02_T1w"], "dice"], expected, rtol=0, atol=1e-9)
    assert means.loc["sub-01_T1w", "hd95_mm"] == 0
    assert 0 < means.loc["sub-02_T1w", "hd95_mm"] <= 8
