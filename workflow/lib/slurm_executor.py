"""What this workflow adds to Snakemake's executor for Slurm.

The executor names its jobs after the study, asks Slurm before the first job whether what the rules
ask for can be had, sends jobs with a GPU to the partition of the profile, says on the console which
job failed and why, and cancels every job when it is interrupted. A job starts Snakemake once; the
plugin by itself would start it twice, and three times in an array (``slurm_array.py``). Like
``snakemake_internals.py`` this file uses what Snakemake does not document; look here when a new
version of the plugin breaks the workflow.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import slurm
import slurm_array
from progress import OneLinePerJob
from snakemake_executor_plugin_slurm import Executor
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from diffeode.files.io import write_json

_SUBMITTING_AT_ONCE = 8  # the plugin waits five seconds before it submits a job
_SHOWN = 3
_LONGEST_WAIT = 4  # between two looks at the queue, in the profile's waits
_ALL_CORES = "--cores 'all'"
_START = " -m snakemake "


@dataclass(frozen=True)
class Study:
    """The study whose jobs are submitted.

    Attributes:
        name: its name.
        results: the folder of its results.
        console: what shows one line for each job, or None where Snakemake speaks itself.
    """

    name: str
    results: Path
    console: OneLinePerJob | None

    @property
    def journal(self) -> Path:
        """The file that names the outputs of each submitted job."""
        return self.results / slurm.JOURNAL

    @property
    def arrays(self) -> Path:
        """The folder of the options for the tasks of each array, which no other study empties."""
        return self.results / ".slurm-arrays" / self.name


def use_for(study: Study) -> None:
    """Let Snakemake submit the jobs of ``study`` with :class:`StudyExecutor`.

    Nothing happens where the plugin for Slurm is not installed.
    """
    StudyExecutor.study = study
    ExecutorPluginRegistry().get_plugin("slurm").executor = StudyExecutor


class StudyExecutor(Executor):
    """Submits the jobs of one study."""

    study: ClassVar[Study]

    def __post_init__(self, test_mode: bool = False) -> None:
        settings = self.workflow.executor_settings
        settings.jobname_prefix = slurm.job_name(self.study.name, self.study.results)
        self._is_cancelled = threading.Event()
        self._writing = threading.Lock()
        self._array = threading.local()
        super().__post_init__(test_mode)
        self._job_submission_executor = ThreadPoolExecutor(_SUBMITTING_AT_ONCE)
        self._cluster = slurm.Cluster()
        self._complaints: dict[slurm.Request, str | None] = {}
        if self.study.console:
            self.study.console.failures_are_told = True
            self.study.console.starts_are_told = True
        self._require_what_jobs_ask_for()
        self.study.journal.parent.mkdir(parents=True, exist_ok=True)
        self.study.journal.write_text("", encoding="utf-8")
        self._forget_arrays()  # no job of an earlier run is left

    # ----------------------------------------------------------------------------- before any job

    def _require_what_jobs_ask_for(self) -> None:
        """Stop with one sentence where the first request of some rule cannot be had."""
        if not slurm.is_here():
            self._stop(
                "This profile submits jobs to Slurm, but there is no squeue here; log in to "
                "the cluster's login node, or use the profile default."
            )
        for request in dict.fromkeys(map(self._request, self._one_of_each_kind())):
            if complaint := self._complaint(request):
                self._stop(complaint)

    def _stop(self, sentence: str) -> NoReturn:
        self.logger.error(sentence)
        sys.exit(1)

    def _one_of_each_kind(self) -> Iterator[Any]:
        """Yield one job of every rule and run: the others ask for the same."""
        kinds = {}
        for job in self.workflow.dag.needrun_jobs():
            if not job.rule.norun:
                kinds.setdefault((job.rule.name, job.wildcards_dict.get("run")), job)
        yield from kinds.values()

    def _complaint(self, request: slurm.Request) -> str | None:
        if request not in self._complaints:
            self._complaints[request] = self._cluster.complaint(request)
        return self._complaints[request]

    def _request(self, job: Any) -> slurm.Request:
        asked = job.resources
        settings = self.workflow.executor_settings
        more = [f"--constraint={asked.constraint}"] if asked.get("constraint") else []
        more += [f"--reservation={settings.reservation}"] if settings.reservation else []
        return slurm.Request(
            rule=job.groupid if job.is_group() else job.rule.name,
            partition=self._partition(job),
            minutes=_whole(asked.get("runtime")),
            mem_mb=_whole(asked.get("mem_mb")),
            cpus=_whole(asked.get("cpus_per_task")) or job.threads,
            gpus=_whole(asked.get("gpu")) or 0,
            gres=asked.get("gres") or None,
            account=_named(asked.get("slurm_account")),
            qos=_named(asked.get("qos") or settings.qos),
            more=(*more, *shlex.split(asked.get("slurm_extra") or "")),
        )

    def _partition(self, job: Any) -> str | None:
        asked = job.resources
        of_gpus = asked.get("slurm_gpu_partition") if asked.get("gpu") else None
        return _named(of_gpus or asked.get("slurm_partition"))

    # --------------------------------------------------------------------------------- submitting

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs: alike ones of the rules that the profile names as one array, the others
        alone.

        The plugin takes what the first job of an array asks for as what all ask for, so that only
        jobs with the same request may be in one.
        """
        alike = defaultdict(list)
        for job in jobs:
            self.run_job_pre(job)
            alike[self._request(job) if self._is_in_array(job) else job].append(job)
        for same in alike.values():
            # the tasks of each array are counted from 1, because Slurm limits their numbers
            for part in _batched(same, self.max_array_size):
                submit = self._submit_array if len(part) > 1 else self._submit_alone
                self._job_submission_executor.submit(submit, part)

    def _is_in_array(self, job: Any) -> bool:
        return not job.is_group() and bool({job.rule.name, "all"} & self.array_jobs)

    def _submit_alone(self, jobs: list[Any]) -> None:
        self._submit(jobs, lambda: self.run_job(jobs[0]))

    def _submit_array(self, jobs: list[Any]) -> None:
        self._submit(jobs, lambda: self.run_array_jobs(jobs))

    def run_array_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs as one array, each task of which looks up its options in a file.

        The plugin passes the commands of all tasks on the command line, for which those of some
        fifty are too long, and then submits a script in which every task runs the first job.
        """
        name = f"{self.run_uuid}-{jobs[0].jobid}-{jobs[0].attempt}.json"
        file = self.study.arrays.absolute() / name
        parts = [self.format_job_exec(job).partition(_START) for job in jobs]
        write_json(file, [shlex.split(options) for *_, options in parts])
        before, joint, python = parts[0][0].rpartition("&& ")
        # `exec`, so that what the plugin adds on further lines of a script is never run
        start = f"{before}{joint}exec {python}"
        self._array.command = f"{start} {shlex.join([slurm_array.__file__, str(file)])}"
        try:
            super().run_array_jobs(jobs)
        finally:
            del self._array.command

    def format_job_exec(self, job: Any) -> str:
        """Return the shell command of a job, or while an array is submitted that of its tasks."""
        return getattr(self._array, "command", None) or super().format_job_exec(job)

    def get_job_args(self, job: Any) -> str:
        """Return Snakemake's options for a job, which uses the processors that it asks Slurm for.

        The members of a group so work one after the other, as their memory is asked for.
        """
        asked = max(self._request(job).cpus, 1)
        return super().get_job_args(job).replace(_ALL_CORES, f"--cores {asked}", 1)

    def additional_general_args(self) -> str:
        """Let Snakemake in the job run the job itself.

        The plugin's executor in the job (``slurm-jobstep``) would start Snakemake a second time, by
        ``srun``. A job has one task on one node, so a step of its own gives it nothing more.
        """
        return ""

    @property
    def cores(self) -> str:
        """What stands for the processors of a job until :meth:`get_job_args` knows the job."""
        return "all"

    def _submit(self, jobs: list[Any], submit: Callable[[], None]) -> None:
        """Submit jobs, unless the study is cancelled; a job that cannot be submitted has failed."""
        if self._is_cancelled.is_set():
            return
        try:
            for job in jobs:
                self._limit_growth(job)
            if complaint := self._complaint(self._request(jobs[0])):
                raise RuntimeError(complaint)
            submit()
        except Exception as error:
            for job in jobs:
                self.report_job_error(SubmittedJobInfo(job), msg=str(error))

    def _limit_growth(self, job: Any) -> None:
        """Let a job that is tried again, and a group, ask for no more than the partition allows.

        The time of a group is the sum of the times that its members may take at most.
        """
        if job.attempt == 1 and not job.is_group():
            return
        partition = self._cluster.partition_of(self._request(job))
        if partition is None:
            return
        largest = max((memory for _, memory, _ in partition.nodes), default=None)
        for name, limit in (("runtime", partition.minutes), ("mem_mb", largest)):
            if limit and (_whole(job.resources.get(name)) or 0) > limit:
                if job.is_group():  # its property `resources` is a copy
                    job._resources[name] = limit
                else:
                    setattr(job.resources, name, limit)

    def get_partition_arg(self, job: Any) -> str:
        """Return the option of ``sbatch`` for the partition, another one for jobs with a GPU."""
        named = self._partition(job)
        return f" -p {shlex.quote(named)}" if named else super().get_partition_arg(job)

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """Yield the option of ``sbatch`` for the account, or nothing where none is named."""
        if not job.resources.get("slurm_account") and self.workflow.executor_settings.no_account:
            yield ""
        else:
            yield from super().get_account_arg(job)

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Write down which files a submitted job makes, for the report on the study."""
        with self._writing, suppress(OSError):  # a full disk must not make the job a second one
            self.study.journal.parent.mkdir(parents=True, exist_ok=True)
            with self.study.journal.open("a", encoding="utf-8") as journal:
                for member in _members(job_info.job):
                    for file in member.output:
                        journal.write(f"{job_info.external_jobid}\t{file}\n")
        super().report_job_submission(job_info, register_job)

    # ----------------------------------------------------------------------- what becomes of jobs

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> Any:
        """Tell the console which jobs have started; then see which have ended."""
        self._note_times(active_jobs)
        async for job_info in super().check_active_jobs(active_jobs):
            yield job_info
        # the plugin waits ten seconds longer after each look at which no job has ended
        longest = _LONGEST_WAIT * self.workflow.executor_settings.init_seconds_before_status_checks
        wait = min(self.next_seconds_between_status_checks, longest)
        self.next_seconds_between_status_checks = wait

    def _note_times(self, active_jobs: list[SubmittedJobInfo]) -> None:
        if self.study.console is None or not active_jobs:
            return
        times = slurm.times_of_jobs(self.run_uuid)
        now, estimate = time.time(), self.study.console.estimate
        for job_info in active_jobs:
            start, end = times.get(job_info.external_jobid, (None, None))
            for member in _members(job_info.job) if start is not None else ():
                estimate.begun(member.jobid, member.rule.name, seconds_ago=now - start)
                if end is not None:
                    estimate.ended(member.jobid, seconds_ago=now - end)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Repeat on the console what the job's script has said."""
        self._repeat(job_info)
        super().report_job_success(job_info)

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **more) -> None:
        """Say which job failed, why, and whether it is tried again."""
        said = self._repeat(job_info)
        self.logger.error(self._failure(job_info, msg or "", said))
        super().print_job_error(job_info, msg, **more)

    def _repeat(self, job_info: SubmittedJobInfo) -> bool:
        """Print the sentences that scripts wrote on what was their console; return whether any."""
        logs = [log for member in _members(job_info.job) for log in member.log]
        said = slurm.sentences(self._log_text(job_info), logs)
        for sentence in said:
            self.logger.warning(sentence)
        return bool(said)

    def _log_text(self, job_info: SubmittedJobInfo) -> str:
        log = (job_info.aux or {}).get("slurm_logfile")
        for file in (log, self._log_of_array(log)):
            with suppress(OSError, TypeError):
                return Path(file).read_text(encoding="utf-8", errors="replace")
        return ""

    def _log_of_array(self, log: Path | None) -> Path | None:
        # the plugin submits an array with another folder for its logs than it notes for its tasks
        return log and log.parents[1] / log.name

    def _failure(self, job_info: SubmittedJobInfo, msg: str, said: bool) -> str:
        job = job_info.job
        asked, number = job.resources, job_info.external_jobid
        why = slurm.cause(msg, self._log_text(job_info), asked.get("mem_mb"), asked.get("runtime"))
        if why is None:
            why = "its script says why above" if said else self._last_words(job)
        where = f" (Slurm job {number})" if number else ""
        logs = ", ".join(str(log) for member in _members(job) for log in member.log[:1])
        return f"Failed: {_title(job)}: {why}{where}; {self._what_next(job)} (log: {logs})."

    def _last_words(self, job: Any) -> str:
        for member in _members(job):
            for log in member.log:
                if words := slurm.last_error(Path(log)):
                    return words
        return "it ended with an error"

    def _what_next(self, job: Any) -> str:
        if self._is_cancelled.is_set() or job.restart_times <= job.attempt - 1:
            times = f"after {job.attempt} attempts " if job.attempt > 1 else ""
            return f"{times}it is not tried again in this run"
        return f"it is tried again (attempt {job.attempt + 1} of {job.restart_times + 1})"

    # --------------------------------------------------------------------------------- cancelling

    def cancel(self) -> None:
        """Cancel every job of this run, also one that is being submitted just now."""
        self._is_cancelled.set()
        self._cancel_by_name()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        self._cancel_by_name()
        super().cancel()

    def shutdown(self) -> None:
        """End; no task is left that would look up its options."""
        super().shutdown()
        self._forget_arrays()

    def _forget_arrays(self) -> None:
        shutil.rmtree(self.study.arrays, ignore_errors=True)

    def _cancel_by_name(self) -> None:
        slurm.ask("scancel", f"--name={self.run_uuid}")


def _batched(jobs: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield ``jobs`` in parts of at most ``size``, in their order."""
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _members(job: Any) -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]


def _title(job: Any) -> str:
    titles = sorted(member.message or member.rule.name for member in _members(job))
    more = f" and {len(titles) - _SHOWN} more" if len(titles) > _SHOWN else ""
    return ", ".join(titles[:_SHOWN]) + more


def _named(value: Any) -> str | None:
    """Return a name as text: Snakemake reads one of digits, such as an account, as a number."""
    return str(value) if value else None


def _whole(value: Any) -> int | None:
    """Return a resource if it is a number, and None where it is not known before the job runs."""
    return value if isinstance(value, int) else None
