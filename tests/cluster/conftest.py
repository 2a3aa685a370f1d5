"""A cluster on this machine, and one study that runs there through every kind of trouble."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import Loopback, obstacle
from tiny import TABLES, Clone

SCANS = ("sub-01_T1w", "sub-02_T2w")
"""The scans of the one pair; they are prepared on this machine, which saves a minute."""
TARGETS = tuple(f"results/studies/tiny/{table}" for table in TABLES)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Loopback]:
    """A Slurm cluster of two nodes; tests are skipped where none can be set up."""
    if reason := obstacle():
        pytest.skip(f"no cluster can be set up here: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    loopback = Loopback(folder)
    try:
        loopback.start()
        yield loopback
    finally:
        loopback.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def clone(cluster: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone with the tiny study, before any run, in a folder whose name a shell could obey."""
    made = Clone(tmp_path_factory.mktemp("cluster") / "it's; a clone ünï", cluster)
    yield made
    made.close()


@pytest.fixture(scope="session")
def local(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that clone with the scans prepared, in which this machine makes the tables."""
    root = tmp_path_factory.mktemp("local") / "clone"
    make_here(clone.root, *(f"results/prepared/tiny/{scan}/receipt.json" for scan in SCANS))
    shutil.copytree(clone.root, root)
    return root


@pytest.fixture(scope="session")
def clone_of_arrays(
    cluster: Loopback, local: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clone]:
    """A clone with the scans prepared, in which one registration alone gets into trouble."""
    root = tmp_path_factory.mktemp("arrays") / "clone"
    made = Clone(root, cluster, troubled=["hungry"])
    made.write_profile_of_arrays("arrays")
    later = shutil.ignore_patterns("alignments", "registrations", "studies", "pairs")
    shutil.copytree(local / "results", root / "results", ignore=later)
    yield made
    made.close()


@dataclass(frozen=True)
class Story:
    """What was seen on the way; each part is what a run said, or the jobs that were left."""

    after_first_interrupt: list[list[str]]
    after_second_interrupt: list[list[str]]
    left_by_kill: list[list[str]]
    waiting: str
    gated_while_waiting: int
    status: str
    lost_node: str
    final: str
    exit_code: int


@pytest.fixture(scope="session")
def story(clone: Clone, local: Path, cluster: Loopback) -> Story:
    """The study: interrupted twice, killed, gone on with, and finished on one node less."""
    two = (clone.unit("affine"), clone.unit("gated"))

    run = clone.start(*two)
    run.wait_until(lambda: "total" in run.said, "the first job is submitted")
    run.interrupt()
    time.sleep(7)  # the plugin waits five seconds before it submits a job
    first = cluster.queue()

    run = clone.start(*two)
    run.wait_until(lambda: clone.starts("gated"), "a registration runs")
    run.interrupt()
    time.sleep(2)
    second = cluster.queue()

    run = clone.start(*two)
    run.wait_until(lambda: len(clone.starts("gated")) == 2, "that registration runs again")
    run.kill()
    left = cluster.queue()

    run = clone.start()
    run.wait_until(lambda: "Jobs of an earlier run" in run.said, "it has seen the earlier jobs")
    time.sleep(3)
    waiting, gated = run.said, len(clone.starts("gated"))
    (clone.root / "gate").touch()
    run.wait_until(lambda: clone.starts("lost") and clone.starts("slow"), "the others run")
    # the shortest limit that Slurm knows is a minute, in which no job is done on a busy machine
    cluster.ask("scontrol", "update", f"JobId={clone.starts('slow')[0].job}", "TimeLimit=1")
    status = said(clone, "workflow/status.py")
    make_tables(local)
    node = clone.starts("lost")[0].node
    run.wait_until(lambda: cluster.runs_on(node) == 1, "that job is alone on its node")
    cluster.lose(node)
    code = run.end()
    return Story(first, second, left, waiting, gated, status, node, run.said, code)


@dataclass(frozen=True)
class StoryOfArrays:
    """What was seen while registrations ran as an array.

    Attributes:
        looked_up: the options of each task, in the files that were there while the tasks ran.
    """

    looked_up: list[list[list[str]]]
    of_other_study: Path
    final: str
    exit_code: int


@pytest.fixture(scope="session")
def story_of_arrays(clone_of_arrays: Clone, local: Path) -> StoryOfArrays:
    """The study with its registrations as an array, beside one that shares its results.

    It makes the tables and no figures, each of which would take seconds.
    """
    clone = clone_of_arrays
    other = clone.path("results/.slurm-arrays/other/1.json")
    other.parent.mkdir(parents=True)
    other.write_text("[]", encoding="utf-8")
    run = clone.start(*TARGETS, profile="arrays")
    make_tables(local)
    run.wait_until(lambda: clone.starts("hungry"), "the registrations run")
    files = sorted(clone.path("results/.slurm-arrays/tiny").iterdir())
    looked_up = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    code = run.end()
    return StoryOfArrays(looked_up, other, run.said, code)


def said(clone: Clone, script: str) -> str:
    command = [sys.executable, script]
    return subprocess.run(
        command,
        cwd=clone.root,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout


def make_tables(local: Path) -> None:
    make_here(local, *TARGETS)


def make_here(root: Path, *files: str) -> None:
    """Make files of the study with the default profile."""
    profile = ["--workflow-profile", "workflow/profiles/default", "--cores", "2"]
    command = [sys.executable, "-m", "snakemake", *files, *profile]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
