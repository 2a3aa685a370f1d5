"""Everything that this workflow uses of Snakemake beyond its documented interface.

When a new version of Snakemake breaks the workflow, this is the file to look at.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import locks
from docutils.core import publish_parts
from progress import OneLinePerJob, without_noise
from snakemake import report
from snakemake.api import SnakemakeApi
from snakemake.caching.rule import RuleCache
from snakemake.cli import parse_args, parse_config
from snakemake.dag import DAG
from snakemake.io import AnnotatedString, _IOFile, ancient, apply_wildcards
from snakemake.logging import logger
from snakemake.output_index import OutputIndex
from snakemake.persistence.file import FilePersistence
from snakemake.report import html_reporter
from snakemake.report.html_reporter import data as report_data
from snakemake.rules import Rule, Wildcards, is_callable
from snakemake.scheduling.job_scheduler import JobScheduler
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
from snakemake_interface_executor_plugins.settings import ExecMode

from diffeode.process.holder import RUN, this_process
from diffeode.provenance.receipt import RECEIPT, failure_in
from diffeode.provenance.upkeep import flat

_WRITE_LOCKS, _DELETE_LOCKS = FilePersistence._write_locks, FilePersistence._delete_locks
_RUNNING_LINK = re.compile(r'="\s*(?:javascript|data|vbscript):[^"]*"', re.IGNORECASE)
UNITS_READ = "units"
"""The name of the parameter in which a rule has the files of registrations that it reads."""
_RETRIES = "DIFFEODE_RETRIES"
_FIRST_CONTENT, _OUR_CONTENT = 'this.content = "rulegraph";', 'this.content = "opening";'
"""What a report shows first: in Snakemake's page, and with our script."""


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
    def plans(self) -> bool:
        """Whether this process plans all jobs, and is not one that runs some of them."""
        return self._workflow.is_main_process

    @property
    def given_on_command_line(self) -> set[str]:
        """The keys of the configuration that the command line gives by ``--config``."""
        return set(self._workflow.config_settings.config)

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
        return any(True for _ in locks.holders())

    @property
    def runs_jobs_here(self) -> bool:
        """Whether jobs run on this machine."""
        return self._workflow.local_exec and not self._workflow.remote_exec

    @property
    def submits_jobs(self) -> bool:
        """Whether this process sends jobs to a cluster; known from the first call of an input
        function on.
        """
        return self._workflow.is_main_process and not self._workflow.local_exec

    @property
    def makes_environments(self) -> bool:
        """Whether jobs run in the environments that their rules name."""
        return bool(self._workflow.deployment_settings.deployment_method)

    @property
    def retries(self) -> int:
        """How often Snakemake tries a job again that failed.

        The process that plans tells it to the processes of jobs by the environment.
        """
        if self._workflow.is_main_process:
            os.environ[_RETRIES] = str(self._workflow.execution_settings.retries)
        return int(os.environ.get(_RETRIES, "0"))

    # ------------------------------------------------------------------------------------ its locks

    def guard_locks(self, refuse: Callable[[str], NoReturn]) -> None:
        """Sign the locks of this run, remove those of runs that were killed, and refuse in a
        sentence where another run works on the same files.

        Snakemake's own locks do not tell whether their process lives, and where a run ends, it
        removes the locks of all runs in the folder.

        Args:
            refuse: prints a sentence and ends this process.
        """
        for holder in locks.remove_stale():
            logger.warning(f"Removed the lock of a run that was killed (process {holder.pid}).")
        FilePersistence._write_locks = _write_signed_locks
        FilePersistence._delete_locks = _delete_own_locks
        FilePersistence.lock = _refusing(FilePersistence.lock, refuse)

    def name_this_run(self) -> None:
        """Tell the jobs which process they must not outlive.

        A job that another process of Snakemake runs, such as one of a group, belongs to the first
        process; a job on another computer belongs to the process that was started there.
        """
        if self._workflow.exec_mode != ExecMode.SUBPROCESS or RUN not in os.environ:
            os.environ[RUN] = str(this_process())

    # ------------------------------------------------------------------------------------- its plan

    def ignore_clocks(self) -> None:
        """Let a job succeed though its outputs are older than its inputs.

        That happens where the clock of one computer is wrong. Snakemake would remove the outputs,
        but this workflow compares contents and never times.
        """
        DAG.check_output_mtime = _pass_times

    def keep_failures_out_of_the_cache(self) -> None:
        """Store no failed unit in Snakemake's cache between workflows, which would hand it out for
        ever.
        """
        RuleCache.store = _unless_it_failed(RuleCache.store)

    @staticmethod
    def wildcards(**names: str) -> Wildcards:
        """Return wildcards as the functions of rules get them."""
        return Wildcards(fromdict=names)

    def made_from(self, file: str) -> tuple[list[str], dict[str, Any]]:
        """Return the paths of the inputs and the parameters of the rule that makes ``file``.

        They have the values that the script of the rule will find. The files that the rule reads
        without naming them as inputs (its parameter ``units``) stand last among the inputs.
        """
        (rule,) = self._makers.match_producers(file)
        wildcards = Wildcards(fromdict=rule.get_wildcards(file))
        inputs = [_value(rule, item, wildcards) for _, item in rule.input._allitems()]
        parameters = {name: _value(rule, item, wildcards) for name, item in rule.params._allitems()}
        return flat([inputs, parameters.pop(UNITS_READ, ())]), parameters

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

    # ----------------------------------------------------------------------------------- its report

    def keep_reports_harmless(self) -> None:
        """Let no title or name, which may come from a table of somebody else, run as code in a
        report or read a file into it.

        Snakemake writes texts into a script of the page as they are, and takes captions for
        reStructuredText with everything that docutils offers.
        """
        for name in dir(report_data):
            if name.startswith("render_"):
                setattr(report_data, name, _without_tags(getattr(report_data, name)))
        report.publish_parts = _harmless_parts

    def open_reports_on_results(self, script: Path) -> None:
        """Let reports open on results, with captions beside figures and tables.

        Snakemake's reports open on the graph of rules, and show captions and, with them, every
        parameter of a rule behind an icon.

        Args:
            script: what is added to the components of the page (``workflow/report/opening.js``).
        """
        html_reporter.get_resource_as_string = _with_script(
            script, html_reporter.get_resource_as_string
        )
        report_data.render_results = _without_parameters(report_data.render_results)

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

        Return what shows these lines, or None. A dry run has no such lines; its messages that tell
        nothing about the study are left out.
        """
        settings = self._workflow.output_settings
        if Quietness.REASON not in (settings.quiet or ()) or not self._workflow.is_main_process:
            return None
        if settings.dryrun:
            for handler in logger.handlers:
                if handler.name == "DefaultStreamHandler":
                    handler.filters.insert(0, without_noise)
            return None
        lines = OneLinePerJob()
        for handler in logger.handlers:
            if handler.name == "DefaultStreamHandler":
                handler.filters.insert(0, lines)
                handler.formatter.format_progress = lines.progress
                handler.formatter.format_job_error = lines.error
        return lines

    def outlive_the_console(self) -> None:
        """Let this process go on where nobody reads what it says any more.

        Ctrl-C also ends a ``tee`` that reads it. Snakemake would then fail while it says that it
        ends, before it has cancelled its jobs.
        """
        for handler in logger.handlers:
            handler.emit = unless_nobody_reads(handler.emit)

    def end_as_interrupted(self) -> None:
        """Let this process end with the exit code 128 and the number of the signal where SIGINT or
        SIGTERM ended the run.

        Snakemake ends with 1, as it does where a job failed, so that whoever runs several studies
        could not tell that no other one is wanted.
        """
        if not self.decides or threading.current_thread() is not threading.main_thread():
            return
        seen: list[int] = []
        interrupted = signal.getsignal(signal.SIGINT)
        if callable(interrupted):
            signal.signal(signal.SIGINT, _noting(seen, signal.SIGINT, interrupted))
        JobScheduler.exit_gracefully = _noting(seen, signal.SIGTERM, JobScheduler.exit_gracefully)
        atexit.register(_end_with, seen)

    def look_for_jobs_when_one_may_start(self) -> None:
        """Let Snakemake look again for jobs to start where its limit of jobs per second kept some
        back, and not after every look.

        Snakemake looks again a second after every look, and whenever a job ends. So each job that
        ends adds one more look per second until the run ends (snakemake/snakemake#3744), and after
        some hundred jobs these looks fill a processor.
        """
        JobScheduler._schedule_reevalutation = _looking_at_the_limit()

    def submit_as(self, study: str, results: Path, console: OneLinePerJob | None) -> None:
        """Let jobs that go to Slurm be the study's (:mod:`slurm_executor`)."""
        if self._workflow.is_main_process and ExecutorPluginRegistry().is_installed("slurm"):
            import slurm_executor

            slurm_executor.use_for(slurm_executor.Study(study, results, console))


def _looking_at_the_limit() -> Callable[[JobScheduler, float], None]:
    """Return the function that takes the place of Snakemake's and asks for a look after some
    seconds. It does so only where the last look started as many jobs as the limit allows, and never
    twice at a time.
    """
    is_waiting = threading.Event()

    def look_again(scheduler: JobScheduler, seconds: float) -> None:
        limit = scheduler.job_rate_limiter
        if is_waiting.is_set() or len(limit._jobs) < limit.max_jobs:
            return

        def look() -> None:
            is_waiting.clear()
            scheduler._open_jobs.release()

        is_waiting.set()
        threading.Timer(seconds, look).start()

    return look_again


def _noting(seen: list[int], number: int, handle: Callable) -> Callable:
    """Return ``handle``, which handles a signal, so that the number of the signal is noted."""

    def noting(*arguments: Any) -> Any:
        seen.append(number)
        return handle(*arguments)

    return noting


def _end_with(seen: Sequence[int]) -> None:
    if seen:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(128 + seen[0])


def _write_signed_locks(persistence: FilePersistence, kind: str, keys: Iterable[str]) -> None:
    found = list(keys)
    if found:
        _WRITE_LOCKS(persistence, kind, [locks.signature(), *found])


def _delete_own_locks(persistence: FilePersistence) -> None:
    if not persistence._lockfile:  # as for --unlock, which removes all
        _DELETE_LOCKS(persistence)
    locks.remove(persistence._lockfile.values())
    persistence._lockfile.clear()


def _refusing(lock: Callable, refuse: Callable[[str], NoReturn]) -> Callable:
    """Return ``lock``, a context manager, so that it refuses in a sentence."""

    @contextmanager
    def locked(persistence: FilePersistence) -> Iterator[None]:
        if persistence.locked:
            refuse(locks.who_works())
        with ExitStack() as held:
            try:
                held.enter_context(lock(persistence))
            except OSError as error:
                refuse(f"Cannot write the locks of this run to .snakemake/locks: {error.strerror}.")
            yield

    return locked


def _unless_it_failed(store: Callable) -> Callable:
    """Return ``store``, which keeps a job's outputs in the cache, so that it leaves out those of a
    unit that failed.
    """

    async def stored(cache: RuleCache, job: Any) -> None:
        receipts = [str(file) for file in job.output if Path(file).name == RECEIPT]
        if not any(failure_in(file) for file in receipts):
            await store(cache, job)

    return stored


async def _pass_times(*arguments: Any) -> None:
    """Take the place of Snakemake's comparison of times."""


def _without_tags(render: Callable[..., str]) -> Callable[..., str]:
    """Return ``render``, which writes JSON, so that no text in it can end the script around it."""

    def harmless(*arguments: Any, **named: Any) -> str:
        return render(*arguments, **named).replace("<", "\\u003c")

    return harmless


def _harmless_parts(source: str, *arguments: Any, **named: Any) -> dict[str, Any]:
    """Return docutils' parts of a text that includes no files, no HTML of its own and no links that
    run code.
    """
    settings = {"raw_enabled": False, "file_insertion_enabled": False}
    parts = publish_parts(source, *arguments, **{**named, "settings_overrides": settings})
    return {name: _RUNNING_LINK.sub('="#"', str(part)) for name, part in parts.items()}


def unless_nobody_reads(emit: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return ``emit``, which writes a message, so that it passes over a closed pipe."""

    def emitted(record: Any) -> None:
        with suppress(BrokenPipeError):
            emit(record)

    return emitted


def _with_script(script: Path, read: Callable[[str], str]) -> Callable[[str], str]:
    """Return ``read``, which reads the parts of Snakemake's page, so that ``script`` stands before
    the part that starts the page, which then begins with what the script shows.
    """

    def reading(part: str) -> str:
        text = read(part)
        if part != "components/app.js" or _FIRST_CONTENT not in text:
            return text
        return script.read_text(encoding="utf-8") + text.replace(_FIRST_CONTENT, _OUR_CONTENT)

    return reading


def _without_parameters(render: Callable[..., str]) -> Callable[..., str]:
    """Return ``render``, which writes results as JSON, so that it leaves out the parameters of
    rules: hashes and long mappings, which are for programs.
    """

    def rendered(*arguments: Any, **named: Any) -> str:
        results = json.loads(render(*arguments, **named))
        for result in results.values():
            result["job_properties"]["params"] = None
        return json.dumps(results)

    return rendered


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

    def jobs_ahead(self) -> int:
        """Return the number of jobs that a run would start."""
        dag = self._workflow.dag
        return sum(bool(dag.needrun(job)) for job in dag.jobs if job.output and not job.rule.norun)

    def jobs(self) -> Iterator[Job]:
        """Yield every job that makes files."""
        dag = self._workflow.dag
        for job in dag.jobs:
            if job.output and not job.rule.norun:
                log = Path(job.log[0]) if job.log else None
                wildcards, outputs = tuple(job.wildcards_dict.values()), tuple(map(str, job.output))
                yield Job(job.rule.name, wildcards, outputs, log, bool(dag.needrun(job)))
