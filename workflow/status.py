"""Report which parts of a study are done, missing, stale or failed, and what the next run would
make and why.

    python workflow/status.py [--verify] [--configfile config/albert.yaml] [--config key=value ...]

With --verify every file of the study is read and compared with its checksum, even where its size
and time have not changed; the exit code is 1 where a file differs. All other options are
Snakemake's. No job runs: Snakemake plans the study as for a dry run, and this script reads the
plan.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
# A clone works without installation, and with its own code where another one is installed.
sys.path[:0] = [str(REPOSITORY / "src"), str(REPOSITORY / "workflow" / "lib")]

import slurm  # noqa: E402
from progress import duration  # noqa: E402
from snakemake_internals import DryRun, Job  # noqa: E402

from diffeode.files.checked_yaml import read_mapping  # noqa: E402

PROFILE = REPOSITORY / "workflow" / "profiles" / "default" / "config.yaml"
STAGES = {
    "cohort": "cohorts",
    "strip": "brains",
    "correct": "corrected scans",
    "place": "placed scans",
    "prepare": "prepared scans",
    "segment": "label maps",
    "draw_pairs": "lists of pairs",
    "alignment": "aligned pairs",
    "registration": "registrations",
    "evaluation": "metrics",
}
STATES = ("done", "missing", "stale", "failed")
IN_SLURM = ("queued", "running")
"""The states of a job that Slurm has; they are shown where it has one."""
_VERIFY = "--verify"
_DERIVED = "their inputs are made again"
_SHOWN = 3
_LISTED = 20


@dataclass(frozen=True)
class Unit:
    """One job of the study's plan: its stage, its name, its state, and why it would run.

    Attributes:
        costs: where its costs are written once it has ended; None where they are written nowhere.
        in_slurm: the job of Slurm that makes it or, where it is done, that may have made it.
    """

    stage: str
    name: str
    state: str
    why: str
    costs: Path | None = None
    in_slurm: slurm.Queued | None = None

    @property
    def where(self) -> str:
        """The job of Slurm that is to make it, with its node and its start where it runs; empty
        where there is none.
        """
        if self.in_slurm is None or self.state not in IN_SLURM:
            return ""
        number, since = self.in_slurm.number, self.in_slurm.start.replace("T", " ")
        if not self.in_slurm.runs:
            return f"Slurm job {number} ({self.in_slurm.reason})"
        return f"Slurm job {number} on {self.in_slurm.node} since {since}"


def main(arguments: list[str]) -> int:
    """Print the report of the study that ``arguments`` choose; return the exit code."""
    verifies = _VERIFY in arguments
    logging.disable(logging.WARNING)
    options = [argument for argument in arguments if argument != _VERIFY]
    plan = DryRun(REPOSITORY / "Snakefile", [*_settings_of_profile(), *options])
    found = plan.named("judged")(thorough=verifies)
    study = plan.named("STUDY")
    everything = units(plan, found, made_in_slurm(study.results))
    print("\n".join(report(study, everything, plan.jobs_ahead())))
    if not verifies:
        return 0
    damaged = [
        f"  {file}: {complaint.reason}"
        for file, complaint in found.items()
        if complaint.kind.name == "DAMAGED"
    ]
    lines = (
        ["Files that are not as they were made:", *damaged]
        if damaged
        else ["Every file is as it was made."]
    )
    print("", *lines, sep="\n")
    return 1 if damaged else 0


def _settings_of_profile() -> list[str]:
    """Return the options of the default profile that decide which results are up to date."""
    profile = read_mapping(PROFILE)
    return ["--rerun-triggers", *profile["rerun-triggers"]]


# --------------------------------------------------------------------------------- how things stand


def units(plan: DryRun, found: dict[Path, Any], in_slurm: dict[str, slurm.Queued]) -> list[Unit]:
    """Return every unit, table and figure of the plan, whether it would be made or not.

    Args:
        found: the complaints about files that exist.
        in_slurm: the job of Slurm that makes a file, by the file's path.
    """
    complaints = {str(file): complaint for file, complaint in found.items()}
    chunks = plan.named("made_in_chunks")()
    in_slurm |= {file: in_slurm[step.job] for file, step in chunks.items() if step.job in in_slurm}
    return [
        _in_slurm(job, _unit(job, plan.named("STUDIED"), complaints), costs, in_slurm)
        for job, costs in (*_jobs(plan), *_steps_in_chunks(plan))
    ]


def _jobs(plan: DryRun) -> Iterator[tuple[Job, Path | None]]:
    """Yield every job of Snakemake that works on no chunk, and the file that says how long it
    took.
    """
    of_chunks = {step.job for step in plan.named("made_in_chunks")().values()}
    for job in plan.jobs():
        if of_chunks.isdisjoint(job.outputs):
            yield job, _costs(job.log) if job.log else None


def _steps_in_chunks(plan: DryRun) -> Iterator[tuple[Job, Path | None]]:
    """Yield the alignment of every pair and its registration and evaluation with every run, and the
    file that says how long it took.

    One job of Snakemake makes many of them.
    """
    at_work = plan.named("AT_WORK")
    for file, step in plan.named("made_in_chunks")().items():
        costs = Path(step.costs) if step.costs else None
        is_needed = file in at_work
        yield Job(step.stage, tuple(step.unit), (file,), Path(step.log), is_needed), costs


def made_in_slurm(results: Path) -> dict[str, slurm.Queued]:
    """Return the job of Slurm that is to make a file, for each file that is queued or made."""
    jobs = {job.number: job for job in slurm.jobs_that_write_to(results)}
    journal = results / slurm.JOURNAL
    if not jobs or not journal.is_file():
        return {}
    rows = [line.split("\t", 1) for line in journal.read_text(encoding="utf-8").splitlines()]
    return {file: jobs[number] for number, file in rows if number in jobs}


def _in_slurm(job: Job, unit: Unit, costs: Path | None, in_slurm: dict[str, slurm.Queued]) -> Unit:
    """Return a unit with its costs, and with the state of its job in Slurm where it has one."""
    queued = next((in_slurm[file] for file in job.outputs if file in in_slurm), None)
    state = unit.state
    if queued is not None and state != "done":
        state = "running" if queued.runs else "queued"
    return replace(unit, costs=costs, state=state, in_slurm=queued)


def _costs(log: Path) -> Path:
    """Return the file of a job's costs; its name is that of the log in another folder."""
    return Path(str(log).replace("/logs/", "/benchmarks/", 1).removesuffix(".log") + ".tsv")


def _unit(job: Job, studied: str, complaints: dict[str, Any]) -> Unit:
    of_study = job.outputs[0].startswith(studied)
    stage = STAGES.get(job.rule, "tables and figures" if of_study else job.rule)
    # all tables and figures of a study have one stage, and most have no wildcards
    rule = [job.rule] if of_study and job.rule not in STAGES else []
    name = " ".join([*rule, *job.wildcards])
    complaint = next((complaints[file] for file in job.outputs if file in complaints), None)
    if complaint:
        return Unit(
            stage, name, "failed" if complaint.kind.name == "FAILED" else "stale", complaint.reason
        )
    if not job.is_needed:
        return Unit(stage, name, "done", "")
    if not all(Path(file).exists() for file in job.outputs):
        error = last_error(job.log) if job.log else None
        return Unit(stage, name, "failed" if error else "missing", error or "")
    return Unit(stage, name, "stale", _DERIVED)


def last_error(log: Path) -> str | None:
    """Return the last sentence of a job's log where the log ends in a traceback, else None."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    if "Traceback" not in text:
        return None
    sentence = text.strip().splitlines()[-1]
    return f"{re.sub(r'^diffeode[.]errors[.]', '', sentence)} (log: {log})"


# ----------------------------------------------------------------------------------------- in words


def report(study: Any, everything: list[Unit], jobs_ahead: int) -> list[str]:
    """Return the lines of the report.

    Args:
        jobs_ahead: number of jobs that the next run would start.
    """
    pairs = sum(len(experiment.pairs) for experiment in study.experiments)
    head = f"{study.title}: study {study.name}, {_count(len(study.experiments), 'experiment')}, "
    head += f"{_count(pairs, 'pair')}, {_count(len(study.runs), 'run')}; results in {study.results}"
    now = [*_running(everything), *_time_left(everything, time.time())]
    ahead = [*_failures(everything), *_next_run(everything, jobs_ahead)]
    return [head, "", *_table(everything), "", *now, *ahead]


def _table(everything: list[Unit]) -> list[str]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for unit in everything:
        counts[unit.stage][unit.state] += 1
    known = [*STAGES.values()]
    stages = sorted(counts, key=lambda stage: known.index(stage) if stage in known else len(known))
    states = (*STATES, *IN_SLURM) if any(unit.where for unit in everything) else STATES
    rows = [("", "of", *states)]
    for stage in stages:
        in_state = [str(counts[stage][state] or "-") for state in states]
        rows.append((stage, str(counts[stage].total()), *in_state))
    width = max(len(row[0]) for row in rows)
    lines = []
    for name, *cells in rows:
        lines.append("  " + name.ljust(width) + "".join(cell.rjust(9) for cell in cells))
    return lines


def _running(everything: list[Unit]) -> list[str]:
    lines = [f"  {unit.stage}: {unit.name}: {unit.where}" for unit in everything if unit.where]
    more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    lines.sort(key=lambda line: " since " not in line)
    return ["In Slurm's queue:", *lines[:_LISTED], *more, ""] if lines else []


def _time_left(everything: list[Unit], now: float) -> list[str]:
    """Return the time that the work ahead will take if as many jobs run side by side as now.

    Every stage is judged by its own units that are done, and one of which none is done takes as
    long as the median stage. A unit counts nothing where its costs are written nowhere, as those of
    an evaluation, which takes much less than the registration before it.

    Args:
        now: seconds since 1970.
    """
    took: dict[str, list[float]] = defaultdict(list)
    for unit in everything:
        if unit.state == "done" and (seconds := _seconds(unit)) is not None:
            took[unit.stage].append(seconds)
    at_work: dict[slurm.Queued, list[Unit]] = defaultdict(list)
    for unit in everything:
        if unit.in_slurm and unit.in_slurm.runs:
            at_work[unit.in_slurm].append(unit)
    if not at_work or not took:
        return []
    means = {stage: mean(seconds) for stage, seconds in took.items()}
    usual = median(means.values())

    def expected(units: Iterable[Unit], *states: str) -> float:
        return sum(
            means.get(unit.stage, usual) for unit in units if unit.state in states and unit.costs
        )

    ahead = expected(everything, "missing", "stale", "failed", "queued")
    for job, units in at_work.items():
        ahead += max(expected(units, "running") - _spent_on_the_next(job, units, now), 0.0)
    return [f"About {duration(ahead / len(at_work))} left, with as many jobs at once as now.", ""]


def _spent_on_the_next(job: slurm.Queued, units: Iterable[Unit], now: float) -> float:
    """Return for how many seconds a job has worked on those of its ``units`` that are not done.

    A job makes the units of a chunk one after the other.
    """
    began = job.began
    if began is None:
        return 0.0
    made_now = [unit for unit in units if unit.state == "done" and _written(unit.costs) >= began]
    return max(now - began - sum(_seconds(unit) or 0.0 for unit in made_now), 0.0)


def _written(file: Path | None) -> float:
    return file.stat().st_mtime if file and file.is_file() else 0.0


def _seconds(unit: Unit) -> float | None:
    """Return the seconds that a unit took; None where no file says so, or the file is damaged."""
    if unit.costs is None or not unit.costs.is_file():
        return None
    text = unit.costs.read_text(encoding="utf-8", errors="replace")
    try:
        if unit.costs.suffix == ".json":
            return float(json.loads(text)["seconds"])
        return float(text.splitlines()[-1].split("\t")[0])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _failures(everything: list[Unit]) -> list[str]:
    failed = [unit for unit in everything if unit.state == "failed"]
    lines = [f"  {unit.stage}: {unit.name}: {unit.why}" for unit in failed]
    return ["Failed, and tried again by the next run:", *lines, ""] if failed else []


def _next_run(everything: list[Unit], jobs_ahead: int) -> list[str]:
    needed = [unit for unit in everything if unit.state != "done"]
    if not needed:
        return ["Everything is there and up to date."]
    groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in needed:
        if unit.state == "stale":
            groups[unit.stage, unit.why].append(unit)
    lines = []
    for (stage, reason), of_group in groups.items():
        names = _shortened(unit.name for unit in of_group)
        lines.append(f"  {len(of_group)} {stage} ({names}): {reason}")
    again = ["Made again by the next run, and why:", *lines, ""] if lines else []
    return [*again, f"The next run would start {_count(jobs_ahead, 'job')}."]


def _shortened(names: Iterable[str]) -> str:
    shown = [name for name in names if name]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
