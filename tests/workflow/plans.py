"""The plan of a study as plain objects: every job with the inputs and parameters of its script.

Run as a program in a clone, ``plans.py OUT [option=value ...]`` writes a pickled :class:`Plan` to
``OUT``.
"""

from __future__ import annotations

import logging
import pickle
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_RETRIES = 2
"""Retries of the profiles of clusters."""


class Resources(dict):
    """A job's resources, which scripts read by key or as attributes; those that are not settled yet
    are left out.
    """

    def __init__(self, items: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__((name, value) for name, value in items if isinstance(value, int | str))

    def __getattr__(self, name: str) -> int | str:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Job:
    """One job, with the attributes that its script finds in the object ``snakemake``."""

    rule: str
    script: Path | None
    wildcards: dict[str, str]
    handed: SimpleNamespace
    environment: str
    priority: int
    in_report: dict[str, dict[str, Any]]
    """The category and labels of each output with ``report()``, as the rules have them."""
    times_count: tuple[str, ...]
    """Inputs that Snakemake judges by their times."""
    asked: tuple[Resources, ...]
    """What it asks for at its first, second and third attempt, where a job that fails is tried
    again twice, as on a cluster."""


@dataclass(frozen=True)
class Plan:
    """Every job of a study, whether it would run or not.

    Attributes:
        covered: for each job's parameter ``code``, the definitions behind it, as ``module:name``.
        modules: the modules that were imported for the plan.
    """

    jobs: tuple[Job, ...]
    covered: dict[str, frozenset[str]]
    modules: frozenset[str]

    def of(self, rule: str, **wildcards: str) -> list[Job]:
        """Return the jobs of ``rule`` with these wildcards."""
        return [
            job
            for job in self.jobs
            if job.rule == rule and wildcards.items() <= job.wildcards.items()
        ]

    def units(self, rule: str = "register", **wildcards: str) -> list[dict[str, Any]]:
        """Return what the jobs of a rule that works on chunks know about each pair."""
        return [entry for job in self.of(rule, **wildcards) for entry in job.handed.params.work]

    def the(self, rule: str, **wildcards: str) -> Job:
        """Return the only such job."""
        (job,) = self.of(rule, **wildcards)
        return job


def counts(said: str) -> dict[str, int]:
    """Return how many jobs of each rule a dry run, which printed ``said``, would start.

    One job makes many alignments, registrations and evaluations, so these are counted one by one.
    """
    table = said.split("Job stats:")[1].split("total")[0]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE))
    units = re.search(r"Ahead: alignments: (\d+), registrations: (\d+), evaluations: (\d+)", said)
    assert bool(units) == bool({"align", "register"} & jobs.keys())
    if units:
        jobs |= dict(zip(("align", "register", "evaluate"), units.groups(), strict=True))
    return {rule: int(count) for rule, count in jobs.items() if count != "0"}


def plan(options: list[str]) -> Plan:
    """Return the plan of the study in the working directory."""
    logging.disable(logging.WARNING)
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        ResourceSettings,
    )

    covered = _recorded_code_hashes()
    config = dict(option.split("=", 1) for option in options)
    with SnakemakeApi(
        OutputSettings(dryrun=True, quiet={Quietness.ALL}, enable_file_logging=False)
    ) as snakemake:
        workflow = snakemake.workflow(
            ResourceSettings(cores=2, nodes=None),
            ConfigSettings(config=config),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(force_incomplete=True)).execute_workflow(executor="dryrun")
        jobs = tuple(_job(job) for job in workflow._workflow.dag.jobs)
    return Plan(jobs, dict(covered), frozenset(sys.modules))


def _recorded_code_hashes() -> dict[str, frozenset[str]]:
    """Return a mapping that is filled, while the study is planned, with the definitions behind each
    hash of code.
    """
    sys.path.insert(0, str(Path("src").resolve()))
    from diffeode.provenance import source

    covered, hashed = {}, source.code_hash

    def recording(*sources, **named):
        found = hashed(*sources, **named)
        covered[found] = source.definitions_reached(*sources, **named)
        return found

    source.code_hash = recording
    return covered


def _job(job: Any) -> Job:
    handed = SimpleNamespace(
        rule=job.rule.name,
        wildcards=job.wildcards._plainstrings(),
        input=job.input._plainstrings(),
        output=job.output._plainstrings(),
        params=job.params,
        threads=job.threads,
        resources=Resources(job.resources.items()),
        log=job.log._plainstrings(),
        config=dict(job.rule.workflow.config),
    )
    script = Path(job.rule.basedir or ".") / job.rule.script if job.rule.script else None
    in_report = {}
    for file in job.output:
        if file.flags.get("report"):
            about = file.flags["report"]
            in_report[str(file)] = {"category": about.category, "labels": about.labels}
    return Job(
        rule=job.rule.name,
        script=script,
        wildcards=dict(job.wildcards_dict),
        handed=handed,
        environment=Path(str(job.conda_env_spec.file)).name if job.conda_env_spec else "",
        priority=job.priority,
        in_report=in_report,
        times_count=tuple(str(file) for file in job.input if not file.flags.get("ancient")),
        asked=_asked(job),
    )


def _asked(job: Any) -> tuple[Resources, ...]:
    settings = job.rule.workflow.execution_settings
    before, settings.retries = settings.retries, _RETRIES
    asked = []
    for attempt in range(1, _RETRIES + 2):
        job.attempt = attempt  # Snakemake then asks the rule's functions again
        asked.append(Resources(job.resources.items()))
    job.attempt, settings.retries = 1, before
    return tuple(asked)


if __name__ == "__main__":
    import plans  # so that what is pickled here is found under this name

    out, *options = sys.argv[1:]
    Path(out).write_bytes(pickle.dumps(plans.plan(options)))
