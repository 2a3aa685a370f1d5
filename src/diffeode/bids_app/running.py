"""Run the study of a plan by Snakemake, and deliver its results."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

from diffeode.bids_app.derivatives import deliver, describe
from diffeode.bids_app.plan import WORK, Plan
from diffeode.bids_app.repository import profile_folder, takes_processors
from diffeode.errors import RegistrationError
from diffeode.study.unusable import UnusableScans

LEVELS = ("participant", "group")
"""The levels of analysis of a BIDS App: ``participant`` ends with the registrations and their
numbers; ``group``, like no level, goes on to tables, figures and the report.
"""

_SIGNALLED = 128
"""Exit codes above it stand for signals."""
_SHOWN = 5
"""Number of cases of one kind that the message of a run tells."""


@final
@dataclass(frozen=True)
class How:
    """How the workflow is run.

    Attributes:
        repository: the folder of the workflow.
        profile: the profile of Snakemake, by its name or its folder.
        cores: number of processors; None for all, or for what the profile says.
        level: one of :data:`LEVELS`; None for everything.
        typed: the command line, which the study's file tells.
    """

    repository: Path
    profile: str = "default"
    cores: int | None = None
    level: str | None = None
    typed: Sequence[str] = ()

    def command(self, folder: Path, study: Path, *arguments: str) -> list[str]:
        """Return the command that starts Snakemake in ``folder`` with a study's file."""
        takes = self.cores is not None or takes_processors(self.profile)
        return [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(self.repository / "Snakefile")),
            *("--directory", str(folder), "--configfile", str(study)),
            *("--workflow-profile", str(profile_folder(self.repository, self.profile))),
            *(("--cores", str(self.cores or "all")) if takes else ()),
            *arguments,
        ]


def show_plan(plan: Plan, how: How) -> None:
    """Print which jobs a run would start. Nothing is written to the folder of the results.

    Raises:
        RegistrationError: Snakemake could not plan the study.
    """
    with tempfile.TemporaryDirectory() as temporary:
        study = plan.write(Path(temporary), shlex.join(how.typed))
        begun = (plan.request.out / WORK).is_dir()
        folder = plan.request.out if begun else Path(temporary)
        if _run(how.command(folder, study, "--dry-run", *_targets(plan, how))):
            raise RegistrationError("Snakemake could not plan the study; see its message above.")


def run_plan(plan: Plan, how: How) -> list[str]:
    """Run the study, deliver its results, write the report, and return lines about them.

    What an earlier run has finished stays; only what has changed is made again.

    Raises:
        RegistrationError: a job or a registration failed, or a scan of the folder cannot be used.
            What was finished has been delivered.
    """
    out, task = plan.request.out, plan.request.task.name
    out.mkdir(parents=True, exist_ok=True)
    describe(plan)
    study = plan.write(plan.request.code, shlex.join(how.typed))
    code = _run(how.command(out, study, *_targets(plan, how)))
    finished, failed = deliver(plan)
    lines = [f"{finished} of {len(plan.pairs) * len(plan.runs)} registrations are in {out}."]
    if how.level != LEVELS[0] and (out / _metrics(plan)).is_file():
        lines += _report(how, out, study, task)
    unusable, failures = _unusable_scans(plan, how), _failures(failed)
    ending = _ending(code, is_explained=bool(unusable or failures))
    wrong = [*ending, *unusable, *_left_out(plan), *failures]
    if wrong:
        again = "Give the same command again once it is mended: it makes only what is missing."
        raise RegistrationError(" ".join([*lines, *wrong, again]))
    return lines


def _ending(code: int, is_explained: bool) -> list[str]:
    """Return a sentence about how Snakemake ended; none where it ended well, or where it failed
    only for what is told besides.

    Args:
        code: its exit code; a negative one is that of a signal, too.
    """
    if code > _SIGNALLED or code < 0:
        return ["The run was interrupted or killed before its end."]
    if code and not is_explained:
        return ["A job failed; the messages of Snakemake above name its log."]
    return []


def _unusable_scans(plan: Plan, how: How) -> list[str]:
    """Return sentences about the scans that could not be prepared and about those without usable
    labels; none where there are none.

    The level that makes no tables tells the former by the registrations that fail.
    """
    studies = plan.request.out / WORK / "studies"
    path = studies / plan.request.task.name / "tables" / "unusable_scans.tsv"
    if how.level == LEVELS[0]:
        faults = [f"{scan}: {why}" for scan, why in sorted(plan.faulty_labels.items())]
        return _told("Label maps that cannot be used, so that Dice is missing", faults)
    if not path.is_file():
        return []
    table = UnusableScans(path)
    return [
        *_told(
            "Scans that cannot be used, and the number of pairs that need them", _rows(table.scans)
        ),
        *_told(
            "Scans whose label maps cannot be used, and the number of pairs without Dice",
            _rows(table.without_metrics),
        ),
    ]


def _rows(rows: Sequence[Any]) -> list[str]:
    return [f"{row.scan} ({row.pairs}): {row.reason}" for row in rows]


def _left_out(plan: Plan) -> list[str]:
    """Return a sentence about what was left out because a scan cannot be used; none where nothing
    was.
    """
    reasons = [f"{name}: {plan.left_out[name]}" for name in sorted(plan.unusable)]
    return _told("Left out, because a scan cannot be used", reasons)


def _failures(failed: Sequence[str]) -> list[str]:
    """Return a sentence about registrations that failed; none where there are none."""
    return _told(f"Failed registrations: {len(failed)}", failed)


def _told(what: str, cases: Sequence[str]) -> list[str]:
    """Return a sentence about the first cases, in a list that is empty where there are none."""
    if not cases:
        return []
    shown = "; ".join(case.rstrip(".") for case in cases[:_SHOWN])
    more = f"; and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
    return [f"{what}: {shown}{more}."]


def _metrics(plan: Plan) -> str:
    return f"{WORK}/studies/{plan.request.task.name}/metrics.tsv"


def _targets(plan: Plan, how: How) -> list[str]:
    return [_metrics(plan)] if how.level == LEVELS[0] else []


def _report(how: How, out: Path, study: Path, task: str) -> list[str]:
    """Write the report, and return a line that says where it is, or why it is not there."""
    report = out / f"report-{task}.html"
    log = out / WORK / "logs" / "report" / f"{task}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as said:
        code = _run(how.command(out, study, "--report", str(report)), said)
    if code:
        return [f"The report could not be written: see {log}."]
    return [f"Report: {report}", f"Tables and figures: {out / WORK / 'studies' / task}"]


def _run(command: Sequence[str], said: IO[str] | None = None) -> int:
    """Run ``command``, and return its exit code. An interruption waits until it has ended."""
    with subprocess.Popen(
        command, stdout=said, stderr=subprocess.STDOUT if said else None
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has interrupted the process, too
            process.wait()
            raise
        except BaseException:
            process.terminate()
            process.wait()
            raise
