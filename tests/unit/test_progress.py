"""The console's estimate of the time left."""

import logging
import sys
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "lib"))
from progress import Estimate, OneLinePerJob


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def estimate(clock):
    return Estimate(lambda: clock[0])


def run(estimate, clock, job, rule, seconds):
    estimate.begun(job, rule)
    clock[0] += seconds
    estimate.ended(job)


def test_every_rule_is_judged_by_its_own_jobs(estimate, clock):
    estimate.planned({"train": 1, "draw": 11, "total": 12})
    run(estimate, clock, 1, "train", 1000)
    run(estimate, clock, 2, "draw", 2)
    assert estimate.seconds_left() == pytest.approx(10 * 2)


def test_a_rule_that_has_not_run_counts_as_a_usual_one(estimate, clock):
    estimate.planned({"a": 1, "b": 1, "c": 1, "d": 3, "total": 6})
    for job, (rule, seconds) in enumerate({"a": 1, "b": 5, "c": 100}.items()):
        run(estimate, clock, job, rule, seconds)
    assert estimate.seconds_left() == pytest.approx(3 * 5)


def test_jobs_side_by_side_halve_the_time(estimate, clock):
    estimate.planned({"draw": 6, "total": 6})
    for pair in ((1, 2), (3, 4)):
        for job in pair:
            estimate.begun(job, "draw")
        clock[0] += 10
        for job in pair:
            estimate.ended(job)
    assert estimate.seconds_left() == pytest.approx(10)


def test_nothing_is_said_before_a_job_has_ended(estimate, clock):
    estimate.planned({"draw": 2, "total": 2})
    assert estimate.seconds_left() is None
    estimate.begun(1, "draw")
    assert estimate.seconds_left() is None


def test_time_in_a_queue_does_not_count(estimate, clock):
    estimate.planned({"draw": 3, "total": 3})
    clock[0] = 1000.0
    estimate.begun(1, "draw", seconds_ago=30)
    estimate.ended(1, seconds_ago=20)
    clock[0] -= 20
    assert estimate.seconds_left() == pytest.approx(2 * 10)


def test_a_job_that_failed_counts_once_more(estimate, clock):
    estimate.planned({"draw": 2, "total": 2})
    run(estimate, clock, 1, "draw", 10)
    estimate.begun(2, "draw")
    estimate.failed(2)
    assert estimate.seconds_left() == pytest.approx(10)
    estimate.begun(2, "draw")
    clock[0] += 10
    estimate.ended(2)
    assert estimate.seconds_left() == 0


def test_what_a_running_job_has_done_counts(estimate, clock):
    estimate.planned({"draw": 2, "total": 2})
    run(estimate, clock, 1, "draw", 10)
    estimate.begun(2, "draw")
    clock[0] += 4
    assert estimate.seconds_left() == pytest.approx(6)


def test_a_line_says_how_many_jobs_are_done_and_which(clock):
    lines = OneLinePerJob()
    lines.estimate = Estimate(lambda: clock[0])
    lines.estimate.planned({"draw": 3, "total": 3})
    said = []
    for job in (1, 2, 3):
        lines.filter(
            record(LogEvent.JOB_INFO, jobid=job, rule_name="draw", rule_msg=f"drawing {job}")
        )
        clock[0] += 10
        lines.filter(record(LogEvent.JOB_FINISHED, job_id=job))
        said.append(lines.progress({"done": job, "total": 3}))
    assert said == [
        "[1/3, about 20 s left] drawing 1",
        "[2/3, about 10 s left] drawing 2",
        "[3/3] drawing 3",
    ]


def record(event, **about):
    """What Snakemake logs."""
    return logging.makeLogRecord({"event": event, "msg": "", **about})
