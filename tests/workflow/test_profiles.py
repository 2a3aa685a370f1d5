"""Every profile can be planned with; what the profiles have in common is the same in all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROFILES = Path(__file__).resolve().parents[2] / "workflow" / "profiles"
NAMES = sorted(folder.name for folder in PROFILES.iterdir() if folder.is_dir())
ARRAYS = {"jobs", "slurm-array-jobs", "slurm-array-limit"}

pytestmark = pytest.mark.workflow


def settings(name: str) -> dict:
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))


def test_the_page_of_profiles_names_each():
    page = (PROFILES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_results_are_judged_alike(name):
    """What is up to date must not depend on the profile."""
    judged = ("rerun-triggers", "ignore-incomplete", "keep-going")
    profile, default = settings(name), settings("default")
    assert [profile[key] for key in judged] == [default[key] for key in judged]


def test_arrays_are_the_only_difference_of_their_profile():
    arrays, alone = settings("slurm-array"), settings("slurm")
    different = {key for key in arrays | alone if arrays.get(key) != alone.get(key)}
    assert different == ARRAYS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_a_study_can_be_planned(fresh, name):
    run = fresh.python(
        *("-m", "snakemake", "--dry-run", "--workflow-profile", f"workflow/profiles/{name}"),
        *("--config", "runs=[identity]", "experiments=[virtual-healthy]"),
    )
    assert run.returncode == 0, run.stdout
    assert "register " in run.stdout.split("Job stats:")[1]


@pytest.mark.slow
def test_another_scheduler_runs_jobs(fresh, tmp_path):
    """A stand-in for ``qsub`` runs the script at once, and notes what it was asked for."""
    qsub = tmp_path / "bin" / "qsub"
    qsub.parent.mkdir()
    qsub.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nfor script; do :; done\n'
        'sh "$script" > /dev/null 2>&1 &\necho $!\n'
    )
    qsub.chmod(0o755)
    profile = settings("cluster-generic") | {"latency-wait": 5, "seconds-between-status-checks": 1}
    fresh.path("workflow/profiles/here").mkdir()
    fresh.write("workflow/profiles/here/config.yaml", yaml.safe_dump(profile))
    table = "results/studies/demo/tables/experiments.tsv"
    command = [sys.executable, "-m", "snakemake", table]
    path = f"{qsub.parent}{os.pathsep}{os.environ['PATH']}"
    options = fresh.options()
    options["env"] = options["env"] | {"PATH": path}
    run = subprocess.run(
        [*command, "--workflow-profile", "workflow/profiles/here"], **options, check=False
    )
    assert run.returncode == 0, run.stdout
    assert fresh.path(table).is_file()
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert "-N diffeode-experiments -pe smp 1 -l h_vmem=2000M -l h_rt=00:30:00" in asked
