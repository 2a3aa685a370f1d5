"""What the report on a study says about jobs of Slurm and about the time that is left."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "lib"))
import slurm
import status
from snakemake_internals import Job
from status import Unit

RUNNING_SINCE = "2026-03-04T05:06:07"
BEGAN = slurm.Queued("1", "", "RUNNING", "n1", RUNNING_SINCE, "None").began


def job(number: str, state: str = "RUNNING") -> slurm.Queued:
    """A job of Slurm; one that waits is expected to start at a time that has not come yet."""
    return slurm.Queued(number, "diffeode-a", state, "n1", RUNNING_SINCE, "Resources")


@pytest.fixture
def unit(tmp_path):
    """A function that makes a unit; one that is done took ``seconds``, as its receipt says."""
    made = []

    def make(stage, state, in_slurm=None, seconds=None, written=BEGAN + 1):
        costs = tmp_path / f"{len(made)}" / "receipt.json"
        if seconds is not None:
            costs.parent.mkdir()
            costs.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
            os.utime(costs, (written, written))
        made.append(Unit(stage, f"{len(made)}", state, "", costs, in_slurm))
        return made[-1]

    return make


def left(units, seconds_after_start=0.0):
    """What the report says about the time that is left, or nothing."""
    said = status._time_left(units, BEGAN + seconds_after_start)
    return said[0].removesuffix(" left, with as many jobs at once as now.") if said else ""


def test_every_stage_counts_by_its_own_mean(unit):
    """Two pairs of 10 and 20 s and a registration of 40 s: 15 + 40 are left in the one job."""
    done = [unit("pairs", "done", seconds=s) for s in (10, 20)]
    done.append(unit("registrations", "done", seconds=40))
    ahead = [unit("pairs", "running", job("1")), unit("registrations", "missing")]
    assert left([*done, *ahead]) == "About 55 s"


@pytest.mark.parametrize("state", ["missing", "stale", "failed", "queued"])
def test_all_that_is_not_done_counts(unit, state):
    waits = job("2", "PENDING") if state == "queued" else None
    units = [unit("a", "done", seconds=30), unit("a", "running", job("1")), unit("a", state, waits)]
    assert left(units) == "About 60 s"


def test_a_stage_of_which_nothing_is_done_counts_as_the_median_stage(unit):
    done = [unit(name, "done", seconds=s) for name, s in (("a", 1), ("b", 7), ("c", 100))]
    assert left([*done, unit("d", "running", job("1"))]) == "About 7 s"
    even = [*done, unit("e", "done", seconds=9)]
    assert left([*even, unit("d", "running", job("1"))]) == "About 8 s"


def test_the_time_is_that_of_the_jobs_which_run_side_by_side(unit):
    """Ten registrations of 60 s in two jobs, each a chunk of five: 300 s and not 60 s."""
    done = unit("registrations", "done", seconds=60)
    chunks = [unit("registrations", "running", job(number)) for number in "12" for _ in range(5)]
    assert left([done, *chunks]) == "About 5 min"


def test_what_a_job_has_worked_since_its_start_counts(unit):
    units = [unit("a", "done", seconds=60), unit("a", "running", job("1")), unit("a", "missing")]
    assert left(units, seconds_after_start=45) == "About 75 s"
    assert left(units, seconds_after_start=1000) == "About 60 s"


def test_what_a_chunk_has_finished_does_not_count_twice(unit):
    """After 100 s a job has finished one of three pairs in 70 s, and 30 s of the next one are over;
    what an earlier run made is no work of this job.
    """
    chunk = [unit("a", "done", job("1"), seconds=70)]
    chunk += [unit("a", "running", job("1")) for _ in range(2)]
    assert left(chunk, seconds_after_start=100) == "About 2 min"
    earlier = unit("a", "done", job("1"), seconds=70, written=BEGAN - 1)
    assert left([earlier, unit("a", "running", job("1"))], seconds_after_start=30) == "About 40 s"


def test_what_writes_no_costs_counts_nothing(unit):
    evaluation = Unit("metrics", "", "running", "", None, job("1"))
    done = unit("registrations", "done", seconds=60)
    registration = unit("registrations", "running", job("1"))
    assert left([done, registration, evaluation]) == "About 60 s"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seconds": null}', '{"seconds": "long"}'])
def test_damaged_costs_are_no_zero(unit, text):
    damaged = unit("a", "done", seconds=1)
    damaged.costs.write_text(text, encoding="utf-8")
    units = [damaged, unit("a", "done", seconds=30), unit("a", "running", job("1"))]
    assert left(units) == "About 30 s"


def test_costs_of_snakemake_are_the_first_column_of_the_last_line(unit, tmp_path):
    costs = tmp_path / "costs.tsv"
    costs.write_text("s\th:m:s\tmax_rss\n3.0\t0:00:03\t1\n12.5\t0:00:12\t9\n", encoding="utf-8")
    done = Unit("a", "", "done", "", costs)
    assert left([done, *(unit("a", "running", job("1")) for _ in range(2))]) == "About 25 s"


def test_nothing_is_said_where_nothing_runs_or_nothing_is_done(unit):
    done, ahead = unit("a", "done", seconds=5), unit("a", "missing")
    assert left([done, ahead]) == ""
    assert left([ahead, unit("a", "running", job("1"))]) == ""
    assert left([done, unit("a", "queued", job("1", "PENDING"))]) == ""


def planned(unit, number, state):
    """What the report makes of a unit of the plan whose file a job of Slurm makes."""
    of_plan = Job(unit.stage, (), ("file",), None, True)
    return status._in_slurm(of_plan, unit, unit.costs, {"file": job(number, state)})


def test_a_unit_is_queued_or_runs_as_its_job_does(unit):
    waits = planned(unit("registrations", "missing"), "7", "PENDING")
    runs = planned(unit("registrations", "stale"), "8", "RUNNING")
    done = planned(unit("registrations", "done", seconds=1), "8", "RUNNING")
    assert [made.state for made in (waits, runs, done)] == ["queued", "running", "done"]
    assert waits.where == "Slurm job 7 (Resources)"
    assert runs.where == "Slurm job 8 on n1 since 2026-03-04 05:06:07"
    assert done.where == ""
    assert status._running([waits, runs, done]) == [
        "In Slurm's queue:",
        "  registrations: 1: Slurm job 8 on n1 since 2026-03-04 05:06:07",
        "  registrations: 0: Slurm job 7 (Resources)",
        "",
    ]
    head, row = status._table([waits, runs, done])
    assert head.split() == ["of", "done", "missing", "stale", "failed", "queued", "running"]
    assert row.split() == ["registrations", "3", "1", "-", "-", "-", "1", "1"]


def test_a_long_queue_is_cut_short_after_what_runs(unit):
    units = [planned(unit("a", "missing"), f"{n}", "PENDING") for n in range(25)]
    lines = status._running([*units, planned(unit("a", "missing"), "99", "RUNNING")])
    assert lines[1].endswith(" Slurm job 99 on n1 since 2026-03-04 05:06:07")
    assert lines[-2:] == ["  and 6 more", ""]
    assert len(lines) == 1 + 20 + 2
