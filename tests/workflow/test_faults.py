"""Faults of a machine, on the tiny study: kills at random moments, losses of power, damaged files,
a full disk, wrong clocks, two runs at once, a registration that always fails. After each, the next
run ends with what an undisturbed run makes.

``make test-faults`` runs this file; ``make test`` leaves it out, because it takes minutes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from clones import without_costs

from diffeode.provenance.receipt import failure_in, read_receipt, require_intact
from diffeode.units.registration import RegistrationUnit

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.faults]

_KILLS = 20
_LONGEST_S = 14.0
_GRACE_S = 15.0
_SLEEPING = '''
import time
from dataclasses import dataclass

from diffeode.geometry.transform import Affine
from diffeode.registration.base import Method, Registration


@dataclass(frozen=True)
class Sleeping(Method):
    """It takes a quarter of an hour."""

    title = "Sleeping"
    citation = "none"

    def register(self, pair, machine):
        time.sleep(900)
        return Registration(Affine(), Affine())
'''
_FAILING = '''
from dataclasses import dataclass

from diffeode.errors import InputError
from diffeode.geometry.transform import Affine
from diffeode.registration.base import Method, Registration


@dataclass(frozen=True)
class Failing(Method):
    """It registers no pair."""

    title = "Failing"
    citation = "none"

    def register(self, pair, machine):
        raise InputError("This pair cannot be registered.")
'''
# Python imports this by itself. The process group is the whole run with all of its jobs.
_POWER_CUT = """
import os
import pathlib
import signal

_replace = pathlib.Path.replace


def replace_unless_power_fails(self, target):
    if str(target).endswith(os.environ["POWER_FAILS_BEFORE"]):
        os.killpg(0, signal.SIGKILL)
    return _replace(self, target)


pathlib.Path.replace = replace_unless_power_fails
"""


# ------------------------------------------------------------------------------------------ helpers


def begin(clone) -> subprocess.Popen:
    """Start the study in a Python of its own, as a user does."""
    options = clone.options() | {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(clone.command(), **options, start_new_session=True)


def run_to_the_end(clone) -> str:
    run = clone.snakemake_apart()
    assert run.returncode == 0, run.stdout
    assert "Traceback" not in run.stdout
    return run.stdout


def left_behind(clone) -> list[psutil.Process]:
    """Return the processes that work in the clone."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(clone.root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def require_no_orphan(clone) -> None:
    until = time.monotonic() + _GRACE_S
    while left_behind(clone) and time.monotonic() < until:
        time.sleep(0.1)
    assert [process.cmdline() for process in left_behind(clone)] == []


def finished_files(clone) -> dict[str, tuple[int, bytes]]:
    """Return the receipts of finished units and their files, with times and contents; those that
    failed are made again.
    """
    found = {}
    for receipt in clone.path("results").rglob("receipt.json"):
        content = json.loads(receipt.read_text(encoding="utf-8"))
        if "made_from" in content and content.get("status") != "failed":
            for file in (receipt, *(receipt.parent / name for name in content["outputs"])):
                found[str(file)] = file.stat().st_mtime_ns, file.read_bytes()
    return found


def require_no_half_written_unit(clone) -> None:
    """Every file that a receipt lists is the one that it was written for."""
    for receipt in clone.path("results").rglob("receipt.json"):
        require_intact(receipt)


def require_as_undisturbed(clone, untouched) -> None:
    """Maps are the same bytes and tables the same numbers, apart from what time and memory cost."""
    for warp in untouched.path("results").rglob("*warp.nii.gz"):
        there = clone.path(str(warp.relative_to(untouched.root)))
        assert there.read_bytes() == warp.read_bytes()
    for name in ("results/studies/tiny/metrics.tsv", "results/studies/tiny/tables/summary.tsv"):
        assert without_costs(clone.path(name)) == without_costs(untouched.path(name))
    assert clone.planned() == {}
    assert "Every file is as it was made." in clone.status("--verify")


def emptied(clone) -> None:
    for name in ("results", ".snakemake"):
        shutil.rmtree(clone.path(name), ignore_errors=True)


# -------------------------------------------------------------------------------------------- kills


def test_kills_at_random_moments_repeat_no_finished_job(finished, untouched):
    """Every other kill is of the workflow, whose jobs must follow it; the others are of a job."""
    draw = random.Random(22)
    emptied(finished)
    killed = 0
    before: dict[str, tuple[int, bytes]] = {}
    while killed < _KILLS:
        running = begin(finished)
        time.sleep(draw.uniform(1, _LONGEST_S))
        if running.poll() is not None:  # all was made before the kill came
            require_kept(before, finished)
            require_as_undisturbed(finished, untouched)
            emptied(finished)
            before = {}
            continue
        if killed % 2 == 0 or not kill_a_job(running, draw):
            os.kill(running.pid, signal.SIGKILL)
        running.wait()
        killed += 1
        require_no_orphan(finished)
        require_no_half_written_unit(finished)
        require_kept(before, finished)
        before = finished_files(finished)
    run_to_the_end(finished)
    require_kept(before, finished)
    require_as_undisturbed(finished, untouched)


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("brief/warp.nii.gz", "registrations"),
        ("brief/receipt.json", "registrations"),
        ("brief.tsv", "metrics"),
        ("tiny/metrics.tsv", "studies"),
    ],
)
def test_power_lost_between_write_and_rename(finished, untouched, tmp_path, written, what):
    """The file is written under its temporary name, and everything ends before it is renamed."""
    shutil.rmtree(finished.path(f"results/{what}"))
    before = finished_files(finished)
    (tmp_path / "sitecustomize.py").write_text(_POWER_CUT, encoding="utf-8")
    options = finished.options() | {"start_new_session": True}
    options["env"] |= {"PYTHONPATH": str(tmp_path), "POWER_FAILS_BEFORE": written}
    run = subprocess.run(finished.command(), **options, check=False)
    assert run.returncode == -signal.SIGKILL, run.stdout
    require_no_orphan(finished)
    name = Path(written).name
    assert list(finished.path("results").rglob(f".writing-*-{name}"))
    assert not list(finished.path(f"results/{what}").rglob(written))
    require_no_half_written_unit(finished)
    require_kept(before, finished)
    run_to_the_end(finished)
    require_kept(before, finished)
    require_as_undisturbed(finished, untouched)


def kill_a_job(running: subprocess.Popen, draw: random.Random) -> bool:
    """Kill one of the processes that do a job; return whether there was one."""
    children = [
        process
        for process in psutil.Process(running.pid).children(recursive=True)
        if process.is_running() and "python" in process.name()
    ]
    if not children:
        return False
    try:
        draw.choice(children).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def require_kept(before: dict[str, tuple[int, bytes]], clone) -> None:
    now = finished_files(clone)
    assert {name for name, state in before.items() if now.get(name) != state} == set()


@pytest.fixture
def asleep(finished):
    """A clone with a registration more, which takes a quarter of an hour."""
    finished.write("src/diffeode/methods/sleeping.py", _SLEEPING)
    finished.write("config/methods/sleepy.yaml", "method: sleeping\n")
    finished.replace("config/config.yaml", "affine, brief]", "affine, brief, sleepy]")
    return finished


def wait_for_the_sleeper(clone, running: subprocess.Popen) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until and running.poll() is None:
        logs = list(clone.path("results/logs/register/tiny").glob("*/sleepy.log"))
        if logs and "threads: 1" in logs[0].read_text(encoding="utf-8"):
            time.sleep(1)
            return
        time.sleep(0.1)
    raise AssertionError("the registration did not begin")


def test_a_second_run_is_refused_and_a_killed_one_leaves_no_lock(asleep):
    running = begin(asleep)
    try:
        wait_for_the_sleeper(asleep, running)
        before = finished_files(asleep)
        second = asleep.snakemake_apart()
        assert second.returncode != 0
        sentence = f"Another run works on files of this study (process {running.pid}); wait until"
        assert sentence in second.stdout
        assert "Traceback" not in second.stdout
        assert "LockException" not in second.stdout
        assert finished_files(asleep) == before
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
    require_no_orphan(asleep)
    asleep.replace("config/config.yaml", "affine, brief, sleepy]", "affine, brief]")
    told = run_to_the_end(asleep)
    assert f"Removed the lock of a run that was killed (process {running.pid})." in told


def test_a_registration_that_always_fails_repeats_no_other_job(finished):
    """It alone is tried again by each run, until its method is mended."""
    finished.write("src/diffeode/methods/failing.py", _FAILING)
    finished.write("config/methods/hopeless.yaml", "method: failing\n")
    finished.replace("config/config.yaml", "affine, brief]", "affine, brief, hopeless]")
    before = finished_files(finished)
    for _ in range(2):
        run = finished.snakemake()
        assert run.returncode != 0
        assert "This pair cannot be registered." in run.stdout
        assert "Traceback" not in run.stdout
        require_kept(before, finished)
        assert failure_in(finished.unit("hopeless") / "receipt.json")
        assert finished.planned()["register"] == 1
    mended = "return Registration(Affine(), Affine())"
    raising = 'raise InputError("This pair cannot be registered.")'
    finished.replace("src/diffeode/methods/failing.py", raising, mended)
    run_to_the_end(finished)
    require_kept(before, finished)
    assert finished.planned() == {}


# ------------------------------------------------------------------------------------ damaged files


def one_of_every_kind(clone) -> list[Path]:
    """Return a file of every kind of output: of every name in units, of every suffix elsewhere."""
    kinds: dict[tuple, Path] = {}
    results = clone.path("results")
    for file in sorted(results.rglob("*")):
        inside = file.relative_to(results)
        is_output = inside.parts[0] not in ("logs", "benchmarks", ".seals")
        if is_output and file.is_file() and not file.name.startswith("."):
            kinds.setdefault((inside.parts[0], file.name, file.suffix), file)
    return list(kinds.values())


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied_content(content: bytes) -> bytes:
    return b""


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def random_bytes(content: bytes) -> bytes:
    return random.Random(0).randbytes(len(content))


@pytest.mark.parametrize("damage", [halved, emptied_content, flipped, random_bytes])
def test_every_kind_of_file_is_made_again_where_it_is_damaged(finished, untouched, damage):
    """An empty file is also what a loss of power leaves of one that was renamed too early."""
    files = one_of_every_kind(finished)
    assert len(files) > 25
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    run = finished.snakemake()
    assert run.returncode == 0, run.stdout
    assert "Traceback" not in run.stdout
    require_as_undisturbed(finished, untouched)


def test_what_a_loss_of_power_leaves_beside_is_no_file_of_the_study(finished):
    for folder in {file.parent for file in one_of_every_kind(finished)}:
        (folder / ".writing-0123abcd-warp.nii.gz").write_bytes(b"half")
        (folder / ".writing-0123abcd-receipt.json").write_bytes(b"")
    assert finished.planned() == {}
    assert "Every file is as it was made." in finished.status("--verify")


@pytest.mark.parametrize("years", [-20, 20])
def test_clocks_that_are_wrong_make_nothing_again(finished, years):
    then = time.time() + years * 365 * 86400
    for file in finished.path("results").rglob("*"):
        os.utime(file, (then, then))
    assert finished.planned() == {}
    shutil.rmtree(finished.unit("brief"))
    run = finished.snakemake()
    assert run.returncode == 0, run.stdout
    assert finished.planned() == {}


# ---------------------------------------------------------------------------------- disk and folder


# 12 is more than Snakemake needs to copy the largest file of rules
@pytest.mark.parametrize("kib", [12, 64])
def test_a_full_disk_leaves_no_half_written_unit(finished, untouched, kib):
    """The system refuses files beyond some kilobytes, as it does where the disk is full: the lists
    that a run writes before its first job, or maps.
    """
    shutil.rmtree(finished.path("results/registrations"))
    limited = ["bash", "-c", f'ulimit -f {kib}; exec "$@"', "bash", *finished.command()]
    run = subprocess.run(limited, **finished.options(), check=False)
    assert run.returncode != 0
    assert "Cannot write results/" in run.stdout
    assert "Traceback" not in run.stdout
    for folder in finished.path("results/registrations").glob("*/*/*"):
        receipt = folder / "receipt.json"
        if receipt.exists() and read_receipt(receipt)["status"] != "failed":
            RegistrationUnit(folder).require_intact()
        assert list(folder.glob(".writing-*")) == []
    run_to_the_end(finished)
    require_as_undisturbed(finished, untouched)


@pytest.fixture
def mounted(finished):
    """Mount the results for reading alone, and unmount them afterwards."""
    results = str(finished.path("results"))
    for arguments in (["--bind", results, results], ["-o", "remount,ro,bind", results]):
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            subprocess.run(["umount", results], capture_output=True, check=False)
            pytest.skip("nothing can be mounted here (root and its capabilities are needed)")
    yield SimpleNamespace(clone=finished)
    subprocess.run(["umount", results], check=True)


def test_results_that_can_only_be_read_are_said(mounted):
    mounted.clone.replace("config/config.yaml", "affine, brief]", "affine]")
    run = mounted.clone.snakemake()
    assert run.returncode != 0
    assert "Cannot write" in run.stdout or "Read-only file system" in run.stdout
    assert "Traceback" not in run.stdout
