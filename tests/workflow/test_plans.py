"""Dry runs of every study and profile, and what a wrong configuration says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml"))
PROFILES = sorted(path.name for path in (REPOSITORY / "workflow" / "profiles").iterdir() if path.is_dir())


def snakemake(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", *arguments]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    given = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    return subprocess.run(command, env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_planned(study, tmp_path, request):
    root = {} if study == "config.yaml" else {"DIFFEODE_DATA": str(request.getfixturevalue("data_root"))}
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(REPOSITORY / "config" / study), **root)
    assert run.returncode == 0, run.stdout
    assert "register " in run.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_understood(profile, tmp_path):
    if profile == "slurm":
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra 'slurm' is not installed")
    folder = REPOSITORY / "workflow" / "profiles" / profile
    run = snakemake(tmp_path, "--dry-run", "--workflow-profile", str(folder))
    assert run.returncode == 0, run.stdout


def test_the_demo_makes_these_files(tmp_path):
    expected = (Path(__file__).parent / "expected_outputs.txt").read_text(encoding="utf-8").splitlines()
    run = snakemake(tmp_path, "--summary")
    rows = run.stdout.splitlines()
    start = next(n for n, row in enumerate(rows) if row.startswith("output_file"))
    assert sorted(row.split("\t")[0] for row in rows[start + 1 :]) == expected


SENTENCES = {
    "stduy=x": "has an unknown key 'stduy'; did you mean 'study'",
    "runs=[node-mnd]": "There is no run 'node-mnd'; did you mean 'node-mind'",
    "experiments=[virtual-helthy]": "There is no experiment 'virtual-helthy'; did you mean 'virtual-healthy'",
    "seed=many": "has seed: 'many', which is not a whole number",
}


@pytest.mark.parametrize(("setting", "sentence"), SENTENCES.items())
def test_a_wrong_setting_stops_with_one_sentence(setting, sentence, tmp_path):
    run = snakemake(tmp_path, "--config", setting)
    assert run.returncode == 1
    (said,) = [line for line in run.stdout.splitlines() if sentence in line]
    assert said.endswith(".")
    assert "Traceback" not in run.stdout
    assert "Error" not in run.stdout


def test_results_that_cannot_be_written_stop_with_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    run = snakemake(tmp_path)
    assert run.returncode == 1
    assert "Cannot write results to results" in run.stdout
    assert "Traceback" not in run.stdout


def test_runs_and_experiments_can_be_chosen(tmp_path):
    run = snakemake(tmp_path, "--dry-run", "--config", "runs=[identity]", "experiments=[virtual-healthy]")
    assert run.returncode == 0, run.stdout
    stats = dict(line.split() for line in run.stdout.splitlines() if len(line.split()) == 2)
    assert (stats["register"], stats["align"]) == ("5", "5")
