"""All that we use of Snakemake beyond what it documents: the one file to look at when Snakemake
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from progress import OneLinePerJob
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_args, parse_config
from snakemake.io import AnnotatedString, _IOFile, ancient, apply_wildcards
from snakemake.logging import logger
from snakemake.output_index import OutputIndex
from snakemake.rules import Rule, Wildcards, is_callable
from snakemake.settings.enums import Quietness
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    ResourceSettings,
)
from snakemake.workflow import Workflow


class Internals:
    """What a Snakemake that runs a study knows and does.

    Args:
        workflow: the object of that name in every rules' file.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    # --------------------------------------------------------------------------- how it was started

    @property
    def decides(self) -> bool:
        """Whether this process plans: it is no job's, and was not asked to set times of files
        alone.
        """
        return self._workflow.is_main_process and not self._workflow.touch

    @property
    def only_looks(self) -> bool:
        """Whether it can run no jobs, as for a report or a graph. It is known once inputs are asked
        for.
        """
        return self._workflow.executor_plugin is None

    @property
    def is_dry(self) -> bool:
        """Whether it runs no jobs, but says which it would run."""
        return self._workflow.dryrun

    @property
    def is_at_work_elsewhere(self) -> bool:
        """Whether another Snakemake works in this folder."""
        return any(Path(".snakemake/locks").glob("*"))

    @property
    def runs_jobs_here(self) -> bool:
        """Whether jobs run on this machine."""
        return self._workflow.local_exec and not self._workflow.remote_exec

    @property
    def makes_environments(self) -> bool:
        """Whether jobs run in the environments that their rules name."""
        return bool(self._workflow.deployment_settings.deployment_method)

    # ------------------------------------------------------------------------------------- its plan

    def made_from(self, file: str) -> tuple[list[str], dict[str, Any]]:
        """Paths of all that the rule of ``file`` reads, and its parameters, as its script finds
        them.
        """
        (rule,) = self._makers.match_producers(file)
        wildcards = Wildcards(fromdict=rule.get_wildcards(file))
        inputs = [_value(rule, item, wildcards) for _, item in rule.input._allitems()]
        parameters = {name: _value(rule, item, wildcards) for name, item in rule.params._allitems()}
        return [path for value in inputs for path in _paths(value)], parameters

    def is_forced(self, file: Path | str) -> bool:
        """Whether a file is made again in any case: by --force, --forcerun, --forceall, or
        :meth:`force`.
        """
        dag = self._workflow.dag
        if str(file) in dag.forcefiles:
            return True
        return bool(dag.forcerules) and not dag.forcerules.isdisjoint(
            self._makers.match_producers(str(file))
        )

    def force(self, file: Path) -> None:
        """Have a file made again."""
        self._workflow.dag.forcefiles.add(str(file))

    def forget_interruptions(self) -> None:
        """Forget what was noted of jobs that were killed."""
        for note in Path(".snakemake/incomplete").rglob("*"):
            if note.is_file():
                note.unlink()

    def forget_files(self) -> None:
        """Forget which files are there, because some were removed."""
        self._workflow.iocache.clear()

    @cached_property
    def _makers(self) -> OutputIndex:
        """Rules by what they make."""
        return OutputIndex(list(self._workflow.rules))

    # ------------------------------------------------------------------------------------ its rules

    def complete_rules(self, environment: str, given: Callable[[Any], Callable]) -> None:
        """Give every rule with a script an environment where it names none, and its inputs through
        ``given``.

        Args:
            given: makes of an input function another one.
        """
        for rule in self._workflow.rules:
            if rule.script:
                rule.conda_env = rule.conda_env or environment
                for index, item in enumerate(rule.input):
                    rule.input[index] = _replaced(item, given)
                # a name keeps the item itself, not its place
                for name, (first, end) in rule.input._get_names():
                    rule.input._set_name(name, first, end)

    def show_one_line_per_job(self) -> None:
        """Shorten messages where the profile asks for a quiet console (``quiet: [...,
        reason]``).
        """
        settings = self._workflow.output_settings
        if (
            Quietness.REASON not in (settings.quiet or ())
            or settings.dryrun
            or not self._workflow.is_main_process
        ):
            return
        for handler in logger.handlers:
            if handler.name == "DefaultStreamHandler":
                lines = OneLinePerJob()
                handler.filters.insert(0, lines)
                handler.formatter.format_progress = lines.progress
                handler.formatter.format_job_error = lines.error


def ancient_unless(is_made_again: Callable[[str], bool], value: Any) -> Any:
    """``value`` (a path, or lists or names of some), whose times Snakemake then leaves alone."""
    if isinstance(value, dict):
        return {name: ancient_unless(is_made_again, part) for name, part in value.items()}
    if isinstance(value, list):
        return [ancient_unless(is_made_again, part) for part in value]
    return value if is_made_again(value) else ancient(value)


def _replaced(item: Any, given: Callable[[Any], Callable]) -> Any:
    """An item of a rule's input with another function in the place of its own, its flags
    (``unpack``) kept.
    """
    if not is_callable(item):
        raise TypeError(
            f"The input {item!r} is no function, so nobody looks whether it is up to date; make it "
            "one."
        )
    flagged = item._file if isinstance(item, _IOFile) else item
    if not isinstance(flagged, AnnotatedString):
        return given(item)
    flagged.callable = given(flagged.callable)
    return item


def _value(rule: Rule, item: Any, wildcards: Wildcards) -> Any:
    if is_callable(item):
        return rule.apply_input_function(item, wildcards)[0]
    return apply_wildcards(item, wildcards) if isinstance(item, str) else item


def _paths(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [path for part in value.values() for path in _paths(part)]
    return (
        [str(value)]
        if isinstance(value, str | Path)
        else [path for part in value for path in _paths(part)]
    )


# ------------------------------------------------------------------------------------ a plan to ask


@dataclass(frozen=True)
class Job:
    """One job of a plan, whether it would run or not."""

    rule: str
    wildcards: tuple[str, ...]
    outputs: tuple[str, ...]
    log: Path | None
    is_needed: bool


class DryRun:
    """A study, planned as ``snakemake --dry-run`` does; its words are not shown.

    Args:
        arguments: Snakemake's options.
    """

    def __init__(self, snakefile: Path, arguments: list[str]) -> None:
        _, options = parse_args(["--workflow-profile", "none", *arguments])
        output = OutputSettings(dryrun=True, quiet={Quietness.ALL}, enable_file_logging=False)
        with SnakemakeApi(output) as snakemake:
            workflow = snakemake.workflow(
                ResourceSettings(cores=1),
                ConfigSettings(
                    config=parse_config(options.config), configfiles=options.configfile or ()
                ),
                snakefile=snakefile,
            )
            plan = DAGSettings(rerun_triggers=options.rerun_triggers)
            settings = ExecutionSettings(ignore_incomplete=True)
            workflow.dag(plan).execute_workflow(executor="dryrun", execution_settings=settings)
            self._workflow = workflow._workflow

    def named(self, name: str) -> Any:
        """What the rules' files call ``name``."""
        return self._workflow.globals[name]

    def jobs(self) -> Iterator[Job]:
        """Every job that makes files."""
        dag = self._workflow.dag
        for job in dag.jobs:
            if job.output and not job.rule.norun:
                log = Path(job.log[0]) if job.log else None
                wildcards, outputs = tuple(job.wildcards_dict.values()), tuple(map(str, job.output))
                yield Job(job.rule.name, wildcards, outputs, log, bool(dag.needrun(job)))
