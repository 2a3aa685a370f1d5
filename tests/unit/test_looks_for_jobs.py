"""Snakemake looks for jobs to start where one may start, and not ever more often."""

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "lib"))
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan
from snakemake_internals import _looking_at_the_limit

_SNAKEFILE = f"""\
import sys
sys.path.insert(0, {sys.path[0]!r})
from snakemake_internals import Internals
Internals(workflow).look_for_jobs_when_one_may_start()
rule all:
    input: expand("{{number}}.txt", number=range(5))
rule one:
    output: "{{number}}.txt"
    shell: "touch {{output}}"
"""


@pytest.fixture
def scheduler():
    """A stand-in for Snakemake's scheduler, whose limit is two jobs in an hour."""
    limit = JobRateLimiter(MaxJobsPerTimespan(2, "1h"))
    return SimpleNamespace(job_rate_limiter=limit, _open_jobs=threading.Semaphore(0))


def test_snakemake_has_the_timer_that_is_replaced():
    assert callable(JobScheduler._schedule_reevalutation)


def test_a_look_that_the_limit_did_not_cut_asks_for_no_other(scheduler):
    scheduler.job_rate_limiter.register_jobs(1)
    _looking_at_the_limit()(scheduler, 0.01)
    assert not scheduler._open_jobs.acquire(timeout=0.2)


def test_a_look_at_the_limit_asks_for_one_more_however_often_it_is_repeated(scheduler):
    scheduler.job_rate_limiter.register_jobs(2)
    look_again = _looking_at_the_limit()
    for _ in range(2):
        for _ in range(3):
            look_again(scheduler, 0.2)
        assert scheduler._open_jobs.acquire(timeout=5)
        assert not scheduler._open_jobs.acquire(timeout=0.4)


def test_jobs_that_the_limit_kept_back_start_later(tmp_path):
    (tmp_path / "Snakefile").write_text(_SNAKEFILE)
    limit = ["--cores", "4", "--max-jobs-per-timespan", "2/1s"]
    command = [sys.executable, "-m", "snakemake", "--quiet", "all", *limit]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert len(list(tmp_path.glob("*.txt"))) == 5
