"""Jobs end with their run, and two processes never do one job at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from diffeode.process.holder import RUN, Holder, holder_in, this_process

_SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
_GRACE_S = 15.0
_JOB = """
import sys, time
from types import SimpleNamespace
sys.path.insert(0, {scripts!r})
from _job import job

class Words(list):
    def items(self):
        return ()

    def get(self, name, default=None):
        return default

snakemake = SimpleNamespace(
    threads=1, log=["job.log"], rule="draw", wildcards=Words(), params=Words(), input=Words(),
    output=[], resources=Words(), config={{"results": "."}},
)
with job(snakemake):
    print("begun", flush=True)
    time.sleep({seconds})
"""


def start_job(folder: Path, seconds: float, run: Holder | None = None) -> subprocess.Popen:
    program = _JOB.format(scripts=str(_SCRIPTS), seconds=seconds)
    environment = {**os.environ, RUN: str(run)} if run else os.environ
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_log(folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        log = folder / "job.log"
        if log.is_file() and "begun" in log.read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    raise AssertionError("the job did not begin")


def test_a_job_ends_with_its_run(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    there = Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[19]
    assert there
    mine = this_process()
    started = f"{mine.started.split()[0]} {there}"
    job = start_job(tmp_path, 100, Holder(mine.host, owner.pid, started))
    wait_for_log(tmp_path)
    assert job.poll() is None
    owner.kill()
    owner.wait()
    assert job.wait(timeout=_GRACE_S) == -signal.SIGTERM


def test_a_job_whose_run_has_ended_does_nothing(tmp_path):
    gone = Holder(this_process().host, 2**22 - 7, "never")
    job = start_job(tmp_path, 100, gone)
    assert job.wait(timeout=60) == -signal.SIGTERM


def test_a_job_outlives_a_run_on_another_computer(tmp_path):
    job = start_job(tmp_path, 1, Holder("elsewhere", 1, "1"))
    assert job.wait(timeout=60) == 0


def test_two_processes_do_one_job_one_after_the_other(tmp_path):
    (tmp_path / "job.log").write_text("an orphan writes here\n")
    with (tmp_path / "job.log").open("r+") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        job = start_job(tmp_path, 0)
        assert job.stderr.readline() == (
            "draw: another process still does this job; waiting until it ends\n"
        )
        assert (tmp_path / "job.log").read_text() == "an orphan writes here\n"
    assert job.wait(timeout=60) == 0
    assert "begun" in (tmp_path / "job.log").read_text()


def test_a_process_is_told_from_a_later_one_of_its_number():
    mine = this_process()
    assert holder_in(str(mine)) == mine
    assert not mine.is_gone
    assert Holder(mine.host, mine.pid, "another time").is_gone
    assert not Holder("elsewhere", mine.pid, "another time").is_gone
    assert holder_in("[]") is holder_in("") is holder_in("{" * 10_000) is None
