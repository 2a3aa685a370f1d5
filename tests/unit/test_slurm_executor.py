"""What is added to the executor for Slurm, with stand-ins for Snakemake's jobs and for Slurm."""

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "lib"))
import slurm
from slurm_executor import Study, StudyExecutor
from snakemake_executor_plugin_slurm import Executor
from snakemake_interface_executor_plugins.utils import format_cli_arg
from snakemake_internals import unless_nobody_reads

PARTITION = slurm.Partition("cpu", True, 60, "UP", None, None, ((8, 4000, ""),))


class Asked(dict):
    """A job's resources."""

    __getattr__ = dict.get

    def __setattr__(self, name, value):
        self[name] = value


class Job(SimpleNamespace):
    """A job; two with the same content are two."""

    __eq__, __hash__ = object.__eq__, object.__hash__


def job(rule="register", attempt=1, **resources):
    return Job(
        rule=SimpleNamespace(name=rule),
        resources=Asked(resources),
        attempt=attempt,
        restart_times=2,
        threads=1,
        message=f"doing {rule}",
        log=["one.log"],
        is_group=lambda: False,
    )


@pytest.fixture
def executor(monkeypatch):
    """An executor that notes what it submits and which jobs failed, instead of doing so."""
    made = object.__new__(StudyExecutor)
    settings = SimpleNamespace(
        reservation=None, qos=None, no_account=True, pass_command_as_script=False
    )
    made.workflow = SimpleNamespace(executor_settings=settings)
    made.array_jobs, made.max_array_size = {"register"}, 3
    made._is_cancelled = threading.Event()
    made._job_submission_executor = ThreadPoolExecutor(1)
    made._complaints = {}
    made._cluster = SimpleNamespace(
        partition_of=lambda request: PARTITION, complaint=lambda request: None
    )
    made.submitted, made.failed, made.announced = [], [], []
    made.run_job_pre = made.announced.append
    made.run_job = lambda one: made.submitted.append([one])
    made.run_array_jobs = made.submitted.append
    made.report_job_error = lambda info, msg: made.failed.append((info.job, msg))
    return made


def submit(executor, *jobs):
    executor.run_jobs(list(jobs))
    executor._job_submission_executor.shutdown(wait=True)


def test_every_job_is_announced_and_only_alike_ones_are_one_array(executor):
    small, other, big, lone = job(mem_mb=1), job(mem_mb=1), job(mem_mb=2), job("draw", mem_mb=1)
    submit(executor, small, other, big, lone)
    assert executor.announced == [small, other, big, lone]
    assert executor.submitted == [[small, other], [big], [lone]]


def test_no_array_is_larger_than_slurm_allows(executor):
    jobs = [job() for _ in range(7)]
    submit(executor, *jobs)
    assert executor.submitted == [jobs[:3], jobs[3:6], jobs[6:]]


def test_nothing_is_submitted_after_an_interrupt(executor):
    executor._is_cancelled.set()
    submit(executor, job())
    assert executor.submitted == executor.failed == []


def test_a_job_that_cannot_be_submitted_has_failed(executor):
    def refuse(one):
        raise ValueError("no such account")

    executor.run_job = refuse
    one = job("draw")
    submit(executor, one)
    assert executor.failed == [(one, "no such account")]


def test_a_request_that_cannot_be_had_is_not_submitted(executor):
    executor._cluster.complaint = lambda request: "It asks for too much."
    one = job("draw")
    submit(executor, one)
    assert executor.submitted == []
    assert executor.failed == [(one, "It asks for too much.")]


def test_a_further_attempt_asks_for_no_more_than_the_partition_allows(executor):
    again = job("draw", attempt=3, runtime=90, mem_mb=6000)
    submit(executor, again)
    assert (again.resources.runtime, again.resources.mem_mb) == (60, 4000)


def test_a_group_asks_for_no_more_time_than_the_partition_allows(executor):
    class Group(Job):
        @property
        def resources(self):
            return Asked(self._resources)

    group = Group(_resources={"runtime": 600, "mem_mb": 10}, attempt=1, threads=1, groupid="study")
    group.is_group = lambda: True
    submit(executor, group)
    assert executor.submitted == [[group]]
    assert group.resources == {"runtime": 60, "mem_mb": 10}


@pytest.mark.parametrize(
    ("resources", "option"),
    [
        ({"slurm_partition": "cpu", "slurm_gpu_partition": "gpu", "gpu": 1}, " -p gpu"),
        ({"slurm_partition": "cpu", "slurm_gpu_partition": "gpu", "gpu": 0}, " -p cpu"),
        ({"slurm_partition": "a b"}, " -p 'a b'"),
        ({"slurm_partition": 7, "gpu": 1}, " -p 7"),
    ],
)
def test_jobs_with_a_gpu_go_to_their_partition(executor, resources, option):
    assert executor.get_partition_arg(job(**resources)) == option


def test_without_an_account_none_is_guessed(executor):
    assert list(executor.get_account_arg(job())) == [""]


def test_a_failure_names_job_reason_and_what_comes_next(executor, tmp_path):
    log = tmp_path / "7.log"
    log.write_text("slurmstepd: error: Exceeded job memory limit\n")
    message = "SLURM-job '7' failed, SLURM status is: 'FAILED'."
    info = SimpleNamespace(job=job(mem_mb=500), external_jobid="7", aux={"slurm_logfile": log})
    assert executor._failure(info, message, said=False) == (
        "Failed: doing register: it needed more memory than the 500 MB that it asked for "
        "(Slurm job 7); it is tried again (attempt 2 of 3) (log: one.log)."
    )
    info.job.attempt = 3
    assert "after 3 attempts it is not tried again" in executor._failure(info, message, said=False)


def test_an_interrupt_that_also_ends_the_reader_of_the_console_lets_the_run_go_on():
    """Snakemake says that it ends before it cancels its jobs."""

    def says(error):
        def emit(record):
            raise error

        return unless_nobody_reads(emit)

    says(BrokenPipeError())("Terminating processes on user request")
    with pytest.raises(OSError, match=r"^another$"):
        says(OSError("another"))("Terminating processes on user request")


# -------------------------------------------------------------------------- how jobs are started


@pytest.fixture
def commands(executor, monkeypatch, tmp_path):
    """What the plugin is told to run for the tasks of an array of three jobs, which print
    Snakemake's version, its help, and an error.
    """
    options = ("--version", "--help", "--version='in one; $(word)'")
    written = [f"{sys.executable} -m snakemake {option}" for option in options]
    jobs = [job() for _ in written]
    of_job = dict(zip(map(id, jobs), written, strict=True))
    for one in jobs:
        one.jobid = 1
    monkeypatch.setattr(Executor, "format_job_exec", lambda self, one: of_job[id(one)])
    told = []
    monkeypatch.setattr(
        Executor,
        "run_array_jobs",
        lambda self, those: told.extend(map(self.format_job_exec, those)),
    )
    executor.study = Study("small", tmp_path / "results", None)
    executor.run_uuid = "a-run"
    executor._array = threading.local()
    executor.get_python_executable = lambda: sys.executable
    StudyExecutor.run_array_jobs(executor, jobs)
    assert executor.format_job_exec(jobs[0]) == written[0]
    return told


@pytest.mark.parametrize("more", ["", " --slurm-jobstep-array-execs=abc", "\n--nothing\n'abc'\n"])
def test_every_task_of_an_array_runs_its_own_job(commands, more):
    assert len(commands) == 3
    assert len(set(commands)) == 1
    said = [task_of_array(commands[0] + more, number) for number in (1, 3)]
    assert re.fullmatch(r"\d+[.]\d+[.]\d+\s*", said[0].stdout)
    assert said[0].returncode == 0
    assert "ignored explicit argument 'in one; $(word)'" in said[1].stderr
    assert said[1].returncode == 2


def test_a_study_does_not_empty_the_arrays_of_another_one_with_the_same_results(tmp_path):
    one, other = (Study(name, tmp_path, None).arrays for name in ("one", "other"))
    assert one not in (other, *other.parents)


def test_the_lists_of_arrays_are_removed_when_the_run_ends(executor, monkeypatch, tmp_path):
    """Its own alone, and only once the plugin has waited for its jobs."""
    executor.study = Study("one", tmp_path, None)
    lists = [Study(name, tmp_path, None).arrays / "1.json" for name in ("one", "other")]
    for file in lists:
        file.parent.mkdir(parents=True)
        file.touch()
    seen = []
    monkeypatch.setattr(Executor, "shutdown", lambda self: seen.append(lists[0].exists()))
    executor.shutdown()
    assert seen == [True]
    assert [file.exists() for file in lists] == [False, True]


def task_of_array(command, number):
    task = {**os.environ, "SLURM_ARRAY_TASK_ID": str(number)}
    run = ["sh", "-c", command]
    return subprocess.run(run, env=task, capture_output=True, text=True, check=False)


def test_a_job_starts_snakemake_once(executor):
    assert "jobstep" in Executor.additional_general_args(executor)
    assert executor.additional_general_args() == ""


@pytest.mark.parametrize(("asked", "cores"), [({}, 1), ({"cpus_per_task": 4}, 4)])
def test_a_job_uses_the_processors_that_it_asks_for(executor, monkeypatch, asked, cores):
    monkeypatch.setattr(
        Executor, "get_job_args", lambda self, one: f"{format_cli_arg('--cores', self.cores)} -n"
    )
    assert executor.get_job_args(job(**asked)) == f"--cores {cores} -n"
