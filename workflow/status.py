"""Report which parts of a study are done, missing, stale or failed, and what the next run would
make and why.

    python workflow/status.py [--verify] [--configfile config/albert.yaml] [--config key=value ...]

With --verify every file of the study is read and compared with its checksum, even where its size
and time have not changed; the exit code is 1 where a file differs. All other options are
Snakemake's. No job runs: Snakemake plans the study as for a dry run, and this script reads the
plan.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
# A clone works without installation, and with its own code where another one is installed.
sys.path[:0] = [str(REPOSITORY / "src"), str(REPOSITORY / "workflow" / "lib")]

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
    "align": "aligned pairs",
    "registration": "registrations",
    "evaluation": "metrics",
}
STATES = ("done", "missing", "stale", "failed")
_VERIFY = "--verify"
_DERIVED = "what they are made of is made again"
_SHOWN = 3


@dataclass(frozen=True)
class Unit:
    """One job of the study's plan: its stage, its name, its state, and why it would run."""

    stage: str
    name: str
    state: str
    why: str


def main(arguments: list[str]) -> int:
    """Print the report of the study that ``arguments`` choose; return the exit code."""
    verifies = _VERIFY in arguments
    logging.disable(logging.WARNING)
    options = [argument for argument in arguments if argument != _VERIFY]
    plan = DryRun(REPOSITORY / "Snakefile", [*_settings_of_profile(), *options])
    found = plan.named("judged")(thorough=verifies)
    print("\n".join(report(plan.named("STUDY"), units(plan, found), plan.jobs_ahead())))
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


def units(plan: DryRun, found: dict[Path, Any]) -> list[Unit]:
    """Return every unit, table and figure of the plan, whether it would be made or not.

    Args:
        found: the complaints about files that exist.
    """
    complaints = {str(file): complaint for file, complaint in found.items()}
    jobs = [*plan.jobs(), *_registrations(plan)]
    return [_unit(job, plan.named("STUDIED"), complaints) for job in jobs]


def _registrations(plan: DryRun) -> Iterator[Job]:
    """Yield the registration and the evaluation of every pair with every run.

    One job of Snakemake makes many of them.
    """
    at_work = plan.named("AT_WORK")
    for unit in plan.named("UNITS"):
        log = Path(plan.named("unit_log")(unit))
        for name in ("registration", "evaluation"):
            file = plan.named(f"{name}_of")(unit)["file"]
            yield Job(name, tuple(unit), (file,), log, file in at_work)


def _unit(job: Job, studied: str, complaints: dict[str, Any]) -> Unit:
    of_study = job.outputs[0].startswith(studied)
    stage = STAGES.get(job.rule, "tables and figures" if of_study else job.rule)
    name = " ".join(job.wildcards)
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
    return [
        head,
        "",
        *_table(everything),
        "",
        *_failures(everything),
        *_next_run(everything, jobs_ahead),
    ]


def _table(everything: list[Unit]) -> list[str]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for unit in everything:
        counts[unit.stage][unit.state] += 1
    known = [*STAGES.values()]
    stages = sorted(counts, key=lambda stage: known.index(stage) if stage in known else len(known))
    rows = [("", "of", *STATES)]
    for stage in stages:
        in_state = [str(counts[stage][state] or "-") for state in STATES]
        rows.append((stage, str(counts[stage].total()), *in_state))
    width = max(len(row[0]) for row in rows)
    lines = []
    for name, *cells in rows:
        lines.append("  " + name.ljust(width) + "".join(cell.rjust(9) for cell in cells))
    return lines


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
