"""A small clone with a finished study, copied for each test: two virtual persons, one pair, three
quick runs.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import plans
import pytest
from clones import EXPERIMENT, copy_files, tiny_dataset
from plans import Plan
from rich_study import running_scripts, write_rich_study
from warm import cool, python_for_jobs, warm_python

_LEFT_OUT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # a clone is read by dozens of processes

_STUDY = """\
study: tiny
title: Tiny study
experiments: [tiny]
runs: [identity, affine, brief]
ours: brief
seed: 1
results: results
panels: 1
"""
_RUN = """\
method: neural-ode
title: Brief
parameters: {levels: {factors: [2], iterations: [2]}}
"""


@pytest.fixture(scope="session", autouse=True)
def _cooled() -> Iterator[None]:
    yield
    cool()


@dataclass(frozen=True)
class Clone:
    """A copy of the repository's files and, where a study was run there, its results."""

    root: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here with the default profile; its standard output and error together are
        ``stdout``.
        """
        return self.python(*self.command(*arguments)[1:])

    def snakemake_apart(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in a Python of its own, as a user starts it."""
        return subprocess.run(self.command(*arguments), **self.options(), check=False)

    def python(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a script, or ``-m`` and a module, here; standard output and error together are
        ``stdout``.
        """
        return warm_python().run(command, self.root, self.options()["env"], python_for_jobs())

    def command(self, *arguments: str) -> list[str]:
        profile = ["--workflow-profile", "workflow/profiles/default", "--cores", "2"]
        return [sys.executable, "-m", "snakemake", *arguments, *profile]

    def options(self) -> dict:
        environment = {key: value for key, value in os.environ.items() if key not in _LEFT_OUT}
        return {
            "cwd": self.root,
            "env": environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule Snakemake would start; of registrations and
        evaluations, how many it would make.
        """
        run = self.snakemake("--dry-run", *arguments)
        assert run.returncode == 0, run.stdout
        if "Nothing to be done" in run.stdout:
            return {}
        return {rule: count for rule, count in plans.counts(run.stdout).items() if rule != "all"}

    def status(self, *arguments: str, fails: bool = False) -> str:
        """Return the report on the study."""
        return self._said(self.python("workflow/status.py", *arguments), fails)

    def status_apart(self, *arguments: str) -> str:
        """The same in a Python of its own, as a user starts it."""
        command = [sys.executable, "workflow/status.py", *arguments]
        return self._said(subprocess.run(command, **self.options(), check=False), fails=False)

    def _said(self, run: subprocess.CompletedProcess[str], fails: bool) -> str:
        assert (run.returncode != 0) == fails, run.stdout
        return run.stdout

    def plan(self) -> Plan:
        """Return every job of the study, with the inputs and parameters of its script."""
        with tempfile.NamedTemporaryFile() as out:
            run = self.python(plans.__file__, out.name)
            assert run.returncode == 0, run.stdout
            return pickle.loads(Path(out.name).read_bytes())

    def path(self, relative: str) -> Path:
        return self.root / relative

    def write(self, relative: str, text: str) -> None:
        self.path(relative).write_text(text, encoding="utf-8")

    def replace(self, relative: str, old: str, new: str) -> None:
        """Replace ``old``, which must be there, in a file."""
        text = self.path(relative).read_text(encoding="utf-8")
        assert old in text
        self.write(relative, text.replace(old, new))

    def unit(self, run: str) -> Path:
        """The folder of a run's registration of the one pair."""
        (folder,) = self.path("results/registrations/tiny").glob(f"*/{run}")
        return folder


def copy_repository(to: Path) -> Clone:
    """Copy the files of the repository that a study needs to ``to``, with what was compiled of
    them: kernels take minutes.
    """
    copy_files(to, compiled=True)
    return Clone(to)


@pytest.fixture(scope="session")
def copied() -> Callable[[Path], Clone]:
    """A function that copies the repository's files to a folder that is not there yet."""
    return copy_repository


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the tiny study is finished, for tests that only read.

    It was killed on the way and resumed, in a Python of its own for Snakemake and for every job;
    what the second run said is in ``console.txt``. It is made once for all workers of a test
    session, each of which has a copy.
    """
    with one_worker_at_a_time(tmp_path_factory, "finished-study") as made:
        if not made.is_dir():
            finish_the_tiny_study(tmp_path_factory.mktemp("study") / "clone").root.rename(made)
    return copied_clone(made, tmp_path_factory.mktemp("untouched") / "clone")


@contextmanager
def one_worker_at_a_time(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Yield the path of something that all workers of a test session use and the first one makes;
    no other worker is in this block meanwhile.
    """
    here = factory.getbasetemp()
    of_all_workers = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    with (of_all_workers / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield of_all_workers / name


def finish_the_tiny_study(root: Path) -> Clone:
    clone = copy_repository(root)
    clone.write("config/datasets/tiny.yaml", tiny_dataset(persons=2))
    clone.write("config/experiments/tiny.yaml", EXPERIMENT)
    clone.write("config/config.yaml", _STUDY)
    clone.write("config/methods/brief.yaml", _RUN)
    kill_at_the_first_registration(clone)
    run = clone.snakemake_apart()
    assert run.returncode == 0, run.stdout
    clone.path("console.txt").write_text(run.stdout, encoding="utf-8")
    return clone


def kill_at_the_first_registration(clone: Clone) -> None:
    """Begin the study of ``clone``, and kill everything once a registration is finished."""
    options = clone.options() | {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(clone.command(), **options, start_new_session=True)
    registrations = clone.path("results/registrations")
    while running.poll() is None and not list(registrations.rglob("receipt.json")):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not clone.path("results/studies/tiny/verdict.txt").exists()
    assert clone.snakemake("--unlock").returncode == 0


def copied_clone(root: Path, to: Path) -> Clone:
    """A copy of a clone with its results; files keep their times."""
    shutil.copytree(root, to)
    return Clone(to)


@pytest.fixture(scope="session")
def cohort(untouched: Clone) -> Path:
    """The folder of the tiny study's virtual cohort, with its receipt, for tests that copy it: to
    draw two persons takes ten seconds.
    """
    return untouched.path("results/sources/tiny")


@pytest.fixture
def finished(untouched: Clone, tmp_path: Path) -> Clone:
    """A clone for one test, in which the tiny study is finished."""
    return copied_clone(untouched.root, tmp_path / "clone")


@pytest.fixture
def fresh(tmp_path: Path) -> Clone:
    """A clone for one test, without results."""
    return copy_repository(tmp_path / "clone")


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The clone of the study of ``rich_study.py``, one for all workers, which only read."""
    with one_worker_at_a_time(tmp_path_factory, "rich-study") as made:
        if not made.is_dir():
            clone = copy_repository(tmp_path_factory.mktemp("rich") / "clone")
            write_rich_study(clone)
            clone.root.rename(made)
    return Clone(made)


@pytest.fixture(scope="session")
def _rich_plan(rich: Clone, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with one_worker_at_a_time(tmp_path_factory, "rich-plan") as made:
        if not made.is_file():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DIFFEODE_DATA", str(rich.path("data")))
                made.write_bytes(pickle.dumps(rich.plan()))
        return made.read_bytes()


@pytest.fixture
def rich_plan(_rich_plan: bytes) -> Plan:
    """The plan of the study of ``rich_study.py``, a copy for one test."""
    return pickle.loads(_rich_plan)


@pytest.fixture
def run_script(rich: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """A function that runs the script of a job of ``rich_plan`` in this process, in a folder of its
    own.
    """
    monkeypatch.chdir(tmp_path)
    with running_scripts(rich.path("workflow/scripts")) as run:
        yield run
