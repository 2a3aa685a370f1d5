"""A study in a folder of any name, and jobs on a cluster, which see their own part of the study."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clones import EXPERIMENT, tiny_dataset

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ANY_NAME = 'it\'s a "test"; $(touch pwned) & `touch pwned` ünï 名 %s *?[a]'
NAME_FOR_A_CLUSTER = "it's; a & test ünï 名 *?[a]"
_STUDY = """\
study: tiny
title: Tiny study
experiments: [tiny]
runs: [identity]
ours: identity
seed: 1
results: results
panels: 1
pairs_per_job: 1
"""
_QSUB = """\
#!/bin/sh
for script; do :; done
echo "$script" >> submitted
sh "$script" > /dev/null 2>&1 &
echo $!
"""
"""A stand-in for Grid Engine, which runs the script at once."""
_NOTING = """\
import json, os, sys

if "--target-jobs" in sys.orig_argv:
    os.environ["OF_JOB"] = " ".join(sys.orig_argv)
LOOKS = ("open", "os.listdir", "os.scandir", "study.described", "study.listed")
note_in = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(event, arguments):
    if event in LOOKS and "OF_JOB" in os.environ and isinstance(arguments[0], str):
        line = json.dumps([os.environ["OF_JOB"], event, arguments[0]])
        os.write(note_in, f"{line}\\n".encode())


sys.addaudithook(note)
"""
"""A module that every Python imports at its start; it notes what the process of a job, and its
children, open and list.
"""


@pytest.fixture(scope="module")
def clone(copied, cohort, tmp_path_factory):
    """A clone in such a folder, in which two pairs are registered and evaluated."""
    made = copied(tmp_path_factory.mktemp("any") / ANY_NAME / "clone")
    made.write("config/datasets/tiny.yaml", tiny_dataset(persons=2))
    made.write("config/experiments/tiny.yaml", EXPERIMENT.replace("pairs: 1", "pairs: 2"))
    made.write("config/config.yaml", _STUDY)
    shutil.copytree(cohort, made.path("results/sources/tiny"))
    profile = yaml.safe_load(
        made.path("workflow/profiles/cluster-generic/config.yaml").read_text(encoding="utf-8")
    ) | {"latency-wait": 5, "seconds-between-status-checks": 1}
    made.path("workflow/profiles/here").mkdir()
    made.write("workflow/profiles/here/config.yaml", yaml.safe_dump(profile))
    made.path("bin").mkdir()
    made.write("bin/qsub", _QSUB)
    made.path("bin/qsub").chmod(0o755)
    return made


def on_a_cluster(clone, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake with a profile for a cluster."""
    options = clone.options()
    path = f"{clone.path('bin')}{os.pathsep}{os.environ['PATH']}"
    options["env"] |= {"PATH": path, **environment}
    command = [sys.executable, "-m", "snakemake", *arguments]
    profile = ["--workflow-profile", "workflow/profiles/here"]
    return subprocess.run([*command, *profile], **options, timeout=600, check=False)


def require_nobody_obeyed(clone) -> None:
    assert [path for path in clone.root.parents[1].rglob("*") if path.name == "pwned"] == []


def test_a_study_runs_in_a_folder_of_any_name(clone):
    planned = clone.planned()
    assert (planned["align"], planned["register"], planned["evaluate"]) == (2, 2, 2)
    run = clone.snakemake("results/studies/tiny/metrics.tsv")
    assert run.returncode == 0, run.stdout
    table = clone.path("results/studies/tiny/metrics.tsv").read_text(encoding="utf-8")
    assert len({tuple(line.split("\t")[:3]) for line in table.splitlines()[1:]}) == 2
    assert "  registrations " in clone.status()
    require_nobody_obeyed(clone)


def test_a_cluster_refuses_such_a_folder_before_any_job(clone):
    run = on_a_cluster(clone, "results/studies/tiny/tables/experiments.tsv")
    assert run.returncode != 0
    assert f'The path {clone.root} has one of " $ ` \\ %, which a cluster takes for' in run.stdout
    assert "Traceback" not in run.stdout
    assert not clone.path("submitted").exists()
    require_nobody_obeyed(clone)


@pytest.fixture(scope="module")
def looks(clone, tmp_path_factory):
    """The clone in a folder whose name a cluster takes, and what the job of each pair looked at: a
    list of kinds and paths.
    """
    units = clone.path("results/registrations/tiny")
    receipts = sorted(units.glob("*/identity/receipt.json"))
    for receipt in receipts:
        receipt.unlink()
    targets = [str(receipt.relative_to(clone.root)) for receipt in receipts]
    root = tmp_path_factory.mktemp("cluster") / NAME_FOR_A_CLUSTER
    clone.root.rename(root)
    clone = type(clone)(root)
    note_what_is_described(clone)
    file = root / "looks.jsonl"
    clone.write("bin/sitecustomize.py", _NOTING.replace("{file!r}", repr(str(file))))
    run = on_a_cluster(clone, *targets, PYTHONPATH=str(clone.path("bin")))
    assert run.returncode == 0, run.stdout
    assert len(clone.path("submitted").read_text(encoding="utf-8").splitlines()) == 2
    require_nobody_obeyed(clone)
    found: dict[str, list[tuple[str, str]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        job, event, what = json.loads(line)
        found.setdefault(job, []).append((event, what))
    described = {
        job: {w for e, w in of_job if e == "study.described"} for job, of_job in found.items()
    }
    assert sorted(map(len, described.values())) == [1, 1], described
    return {pair: found[job] for job, pairs in described.items() for pair in pairs}


def note_what_is_described(clone) -> None:
    rules = "workflow/rules/functions"
    for file, name in (
        (f"{rules}/register.smk", "registration_of"),
        (f"{rules}/register.smk", "evaluation_of"),
        (f"{rules}/pairs.smk", "alignment_of"),
    ):
        head = f"def {name}(unit):\n"
        clone.replace(file, head, f'{head}    sys.audit("study.described", unit.pair)\n')
    for name in ("pair_units", "run_units"):
        head = f"def {name}():\n"
        clone.replace(
            "workflow/rules/common.smk", head, f'{head}    sys.audit("study.listed", "{name}")\n'
        )


def test_a_job_describes_its_own_pair_and_lists_no_others(looks):
    assert len(looks) == 2
    for of_job in looks.values():
        assert [what for event, what in of_job if event == "study.listed"] == []


def test_a_job_reads_nothing_of_another_pair(looks):
    """The two pairs of two persons have no scan in common."""
    for pair, of_job in looks.items():
        (other,) = looks.keys() - {pair}
        paths = [what for event, what in of_job if not event.startswith("study.")]
        parts = [set(Path(path).parts) for path in paths]
        for mine in (pair, *pair.split("__")):
            assert any(mine in of_path for of_path in parts), mine
        for name in (other, *other.split("__")):
            assert [path for path in paths if name in path] == []
