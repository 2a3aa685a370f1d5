"""One line on the console for each finished job, with an estimate of the time left."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

_NOISE = (
    "Select jobs to execute...",
    "Workflow defines that rule ",
    "Using shell: ",
    "Provided ",
    "Rules claiming more threads",
    "Complete log",
    "SLURM run ID: ",
    "Cleaning up SLURM log files",
    "Assuming unrestricted shared filesystem",
    "Array job submission does not allow for multiple different wildcard",
)
_SUBMITTED = re.compile(r"(Job|Submitted array job) .*SLURM (jobid|job ID) ")
_HELD = (LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED)
_FAILURES = (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR)


class Estimate:
    """Estimates how long the remaining jobs will take.

    Every rule is judged by its own finished jobs, because a training takes much longer than a
    figure.

    Args:
        clock: function that returns the time in seconds.
    """

    def __init__(self, clock=time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._ended: set[int] = set()
        self._waiting: Counter[str] = Counter()
        self._running: dict[int, tuple[str, float]] = {}
        self._took: defaultdict[str, list[float]] = defaultdict(list)

    def planned(self, jobs: dict[str, int]) -> None:
        """Note how many jobs of every rule will run."""
        self._waiting = Counter({rule: count for rule, count in jobs.items() if rule != "total"})

    def begun(self, job: int, rule: str, seconds_ago: float = 0.0) -> None:
        """Note that a job has started; what is noted already stays."""
        if job in self._running or job in self._ended:
            return
        start = self._clock() - seconds_ago
        self._running[job] = rule, start
        self._began = start if self._began is None else min(self._began, start)
        self._waiting[rule] -= 1

    def ended(self, job: int, seconds_ago: float = 0.0) -> None:
        """Note that a job has ended."""
        if job in self._running:
            rule, began = self._running.pop(job)
            self._ended.add(job)
            self._took[rule].append(self._clock() - seconds_ago - began)

    def failed(self, job: int) -> None:
        """Note that a job has failed, so that it either runs again or never will."""
        self._ended.discard(job)
        if job in self._running:
            rule, _ = self._running.pop(job)
            self._waiting[rule] += 1

    def seconds_left(self) -> float | None:
        """Return the time that the waiting and the running jobs will take.

        As many jobs are assumed to run side by side as since the first one started. A rule of which
        no job has ended yet is assumed to take as long as the median rule. None is returned before
        any job has ended.
        """
        if not self._took or self._began is None:
            return None
        means = {rule: mean(seconds) for rule, seconds in self._took.items()}
        usual = median(means.values())
        now = self._clock()
        ahead = sum(max(count, 0) * means.get(rule, usual) for rule, count in self._waiting.items())
        ahead += sum(
            max(means.get(rule, usual) - (now - began), 0) for rule, began in self._running.values()
        )
        worked = sum(map(sum, self._took.values())) + sum(
            now - began for _, began in self._running.values()
        )
        return ahead * (now - self._began) / worked if worked else 0.0


class OneLinePerJob(logging.Filter):
    """Hides the message that announces a job, and shows it again when the job has ended.

    Attributes:
        starts_are_told: whether somebody else tells :attr:`estimate` when jobs start, because the
            message that announces a job comes when it is submitted.
        failures_are_told: whether somebody else says which job failed and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starts_are_told = self.failures_are_told = False
        self.estimate = Estimate()
        self.messages: dict[int, str] = {}
        self.finished: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.estimate.planned(record.stats)
        elif event == LogEvent.JOB_INFO:
            self.messages[record.jobid] = record.rule_msg or record.rule_name
            if not self.starts_are_told:
                self.estimate.begun(record.jobid, record.rule_name)
        elif event == LogEvent.JOB_FINISHED:
            self.finished.append(self.messages.get(record.job_id, ""))
            self.estimate.ended(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            self.estimate.failed(record.jobid)
        held = event in _HELD or (self.failures_are_told and event in _FAILURES)
        return not (held or _is_noise(record))

    def progress(self, message: dict[str, Any]) -> str:
        """Return a line such as ``[12/80, about 3 min left] registering ...``."""
        names, self.finished = "; ".join(self.finished), []
        done, total = message["done"], message["total"]
        seconds = self.estimate.seconds_left() if done < total else None
        left = "" if seconds is None else f", about {duration(seconds)} left"
        return f"[{done}/{total}{left}] {names}"

    def error(self, message: dict[str, Any]) -> str:
        """Return ``Failed: aligning ... (log: ...)``, or nothing where the script has said it
        itself.
        """
        logs = [Path(log) for log in message["log"]]
        if any(log.is_file() and "Traceback" in log.read_text(errors="replace") for log in logs):
            return ""
        name = self.messages.get(message["jobid"], message["rule_name"])
        return f"Failed: {name}; it was stopped from outside (log: {', '.join(message['log'])})."


def without_noise(record: logging.LogRecord) -> bool:
    """Return whether a message is shown: those are not that tell nothing about the study."""
    return not _is_noise(record)


def _is_noise(record: logging.LogRecord) -> bool:
    # the script has said in a sentence why it failed; its exit status in the rules' file adds
    # nothing
    is_status = (
        getattr(record, "exception", None) == "RuleException"
        and "CalledProcessError" in record.getMessage()
    )
    message = record.getMessage()
    return is_status or message.startswith(_NOISE) or bool(_SUBMITTED.match(message))


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is easily read, such as ``3 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
