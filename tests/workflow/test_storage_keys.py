"""A finished study that keeps less than before removes files and makes nothing again; one that asks
for more registers again, and says why.
"""

import shutil

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def maps(clone):
    return sorted(file.name for file in clone.unit("brief").glob("*.nii.gz"))


def test_keep_removes_makes_nothing_again_and_asks_back(finished):
    tables = finished.path("results/studies/tiny/tables")
    before = {file: file.read_bytes() for file in tables.rglob("*") if file.is_file()}
    panel = next(finished.path("results/studies/tiny/figures/panels").rglob("brief.png"))
    whole = ["inverse_warp.nii.gz", "warp.nii.gz", "warped.nii.gz"]
    assert maps(finished) == whole
    assert finished.planned("--config", "keep=maps") == {"reduce": 1, "verdict": 1}
    assert maps(finished) == whole, "a dry run removes nothing"

    run = finished.snakemake("--config", "keep=numbers")
    assert run.returncode == 0, run.stdout
    assert list(finished.path("results/registrations").rglob("*.nii.gz")) == []
    assert {file: file.read_bytes() for file in before} == before
    listed = finished.path("results/studies/tiny/storage.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[2:] for line in listed.splitlines()] == [
        ["run", "files", "bytes"],
        *([run, "", "0"] for run in ("identity", "affine", "brief")),
    ]
    assert finished.planned("--config", "keep=numbers") == {}
    status = finished.status("--config", "keep=numbers")
    assert "Made again" not in status

    for keep, lost in (("maps", "the study keeps warp.nii.gz, inverse_warp.nii.gz, trace.tsv"),):
        asked = finished.snakemake("--dry-run", "--config", f"keep={keep}")
        assert f"{lost}, which the unit does not hold" in asked.stdout
        assert finished.planned("--config", f"keep={keep}")["register"] == 3

    shutil.move(panel, panel.with_suffix(".gone"))
    asked = finished.snakemake("--dry-run", "--config", "keep=numbers")
    assert "a table or figure to be made needs warp.nii.gz, warped.nii.gz" in asked.stdout
    # the panel of one run needs the maps of that run; convergence and beside show all runs
    assert finished.planned("--config", "keep=numbers")["register"] == 3
