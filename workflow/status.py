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
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
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
        costs: where its costs are written once it has ended, or None.
        where: the job of Slurm that makes it, with its node and its start where it runs.
    """

    stage: str
    name: str
    state: str
    why: str
    costs: Path | None = None
    where: str = ""


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
    if queued is None or unit.state == "done":
        return replace(unit, costs=costs)
    where = f"Slurm job {queued.number}"
    if not queued.runs:
        return replace(unit, costs=costs, state="queued", where=f"{where} ({queued.reason})")
    since = queued.start.replace("T", " ")
    return replace(
        unit, costs=costs, state="running", where=f"{where} on {queued.node} since {since}"
    )


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
    now = [*_running(everything), *_time_left(everything)]
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


def _time_left(everything: list[Unit]) -> list[str]:
    """Return the time that the jobs ahead will take if as many run side by side as now."""
    at_once = sum(unit.state == "running" for unit in everything)
    took: dict[str, list[float]] = defaultdict(list)
    for unit in everything:
        if unit.state == "done" and unit.costs and unit.costs.is_file():
            took[unit.stage].append(_seconds(unit.costs))
    if not at_once or not took:
        return []
    means = {stage: sum(seconds) / len(seconds) for stage, seconds in took.items()}
    usual = sorted(means.values())[len(means) // 2]
    ahead = sum(means.get(unit.stage, usual) for unit in everything if unit.state != "done")
    return [f"About {duration(ahead / at_once)} left, with as many jobs at once as now.", ""]


def _seconds(costs: Path) -> float:
    """Return the seconds that a job or a registration took; 0 where the file is damaged."""
    text = costs.read_text(encoding="utf-8")
    try:
        if costs.suffix == ".json":
            return float(json.loads(text)["seconds"])
        return float(text.splitlines()[-1].split("\t")[0])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


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
