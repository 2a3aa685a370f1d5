"""Everything that this workflow uses of Snakemake beyond its documented interface.

When a new version of Snakemake breaks the workflow, this is the file to look at.
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
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry


class Internals:
    """Access to the state and the actions of the Snakemake process that runs a study.

    Args:
        workflow: the object of that name in every rules' file.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    # --------------------------------------------------------------------------- how it was started

    @property
    def decides(self) -> bool:
        """Whether this process plans the study.

        A process that runs a single job does not, nor one that only updates times of files.
        """
        return self._workflow.is_main_process and not self._workflow.touch

    @property
    def only_looks(self) -> bool:
        """Whether this process runs no jobs, as for a report or a graph.

        Snakemake knows it from the first call of an input function on.
        """
        return self._workflow.executor_plugin is None

    @property
    def is_dry(self) -> bool:
        """Whether this is a dry run."""
        return self._workflow.dryrun

    @property
    def is_at_work_elsewhere(self) -> bool:
        """Whether another Snakemake process works in this folder."""
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
        """Return the paths of the inputs and the parameters of the rule that makes ``file``.

        They have the values that the script of the rule will find.
        """
        (rule,) = self._makers.match_producers(file)
        wildcards = Wildcards(fromdict=rule.get_wildcards(file))
        inputs = [_value(rule, item, wildcards) for _, item in rule.input._allitems()]
        parameters = {name: _value(rule, item, wildcards) for name, item in rule.params._allitems()}
        return [path for value in inputs for path in _paths(value)], parameters

    def is_forced(self, file: Path | str) -> bool:
        """Whether a file is made again in any case.

        The reason is --force, --forcerun, --forceall, or :meth:`force`.
        """
        dag = self._workflow.dag
        if str(file) in dag.forcefiles:
            return True
        return bool(dag.forcerules) and not dag.forcerules.isdisjoint(
            self._makers.match_producers(str(file))
        )

    def force(self, file: Path) -> None:
        """Make Snakemake plan a file again."""
        self._workflow.dag.forcefiles.add(str(file))

    def forget_interruptions(self) -> None:
        """Remove Snakemake's notes about jobs that were killed."""
        for note in Path(".snakemake/incomplete").rglob("*"):
            if note.is_file():
                note.unlink()

    def forget_files(self) -> None:
        """Empty Snakemake's memory of which files exist, after some were removed."""
        self._workflow.iocache.clear()

    @cached_property
    def _makers(self) -> OutputIndex:
        """Index of the rules by the files that they make."""
        return OutputIndex(list(self._workflow.rules))

    # ------------------------------------------------------------------------------------ its rules

    def complete_rules(self, environment: str, given: Callable[[Any], Callable]) -> None:
        """Complete every rule that has a script.

        A rule that names no environment gets ``environment``. Each of its input functions is
        replaced by what ``given`` makes of it.

        Args:
            environment: path of the environment's file.
            given: function that takes an input function and returns another one.
        """
        for rule in self._workflow.rules:
            if rule.script:
                rule.conda_env = rule.conda_env or environment
                for index, item in enumerate(rule.input):
                    rule.input[index] = _replaced(item, given)
                # a name keeps the item itself, not its place
                for name, (first, end) in rule.input._get_names():
                    rule.input._set_name(name, first, end)

    def show_one_line_per_job(self) -> OneLinePerJob | None:
        """Show one line for each finished job, where the profile asks for a quiet console (``quiet:
        [..., reason]``).

        Return what shows these lines, or None.
        """
        settings = self._workflow.output_settings
        if (
            Quietness.REASON not in (settings.quiet or ())
            or settings.dryrun
            or not self._workflow.is_main_process
        ):
            return None
        lines = OneLinePerJob()
        for handler in logger.handlers:
            if handler.name == "DefaultStreamHandler":
                handler.filters.insert(0, lines)
                handler.formatter.format_progress = lines.progress
                handler.formatter.format_job_error = lines.error
        return lines

    def submit_as(self, study: str, results: Path, console: OneLinePerJob | None) -> None:
        """Let jobs that go to Slurm be the study's (:mod:`slurm_executor`)."""
        if self._workflow.is_main_process and ExecutorPluginRegistry().is_installed("slurm"):
            import slurm_executor

            slurm_executor.use_for(slurm_executor.Study(study, results, console))


def ancient_unless(is_made_again: Callable[[str], bool], value: Any) -> Any:
    """Return ``value`` (a path, or a list or mapping of paths) with its paths marked as ancient.

    Snakemake ignores the times of such files. Paths that are made again are not marked.
    """
    if isinstance(value, dict):
        return {name: ancient_unless(is_made_again, part) for name, part in value.items()}
    if isinstance(value, list):
        return [ancient_unless(is_made_again, part) for part in value]
    return value if is_made_again(value) else ancient(value)


def _replaced(item: Any, given: Callable[[Any], Callable]) -> Any:
    """Return an item of a rule's input with its function replaced; flags (``unpack``) are kept."""
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
    """The plan of a study, made as ``snakemake --dry-run`` makes it, but without its messages.

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
        """Return the variable or function ``name`` of the rule files."""
        return self._workflow.globals[name]

    def jobs(self) -> Iterator[Job]:
        """Yield every job that makes files."""
        dag = self._workflow.dag
        for job in dag.jobs:
            if job.output and not job.rule.norun:
                log = Path(job.log[0]) if job.log else None
                wildcards, outputs = tuple(job.wildcards_dict.values()), tuple(map(str, job.output))
                yield Job(job.rule.name, wildcards, outputs, log, bool(dag.needrun(job)))
