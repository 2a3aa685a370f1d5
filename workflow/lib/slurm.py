"""What Slurm says about its queue and its partitions, and what is wrong with a request for a job.

Everything is asked with the commands that a user has: ``squeue``, ``sinfo``, ``scontrol``,
``sacctmgr`` and ``sbatch --test-only``. A command that is not here, fails or does not answer is no
reason to stop: the question then stays open.
"""

from __future__ import annotations

import getpass
import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

JOURNAL = ".slurm-jobs.tsv"
"""The file in the folder of results that names the outputs of each submitted job."""
_PATIENCE_S = 60
_SECONDS_BETWEEN_LOOKS = 5
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_WORKING = ("idle", "mixed", "allocated", "completing")
_NO_NODE = "Requested node configuration is not available"
_OUT_OF_MEMORY = re.compile(r"exceeded (job )?memory limit|oom.kill|Out Of Memory", re.IGNORECASE)
_LONGEST_NAME = 50
"""The longest prefix of a job's name that the executor plugin allows."""
_UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "NONE", "ALL", "N/A", "(null)", ""})


def is_here() -> bool:
    """Return whether this machine submits jobs to a Slurm cluster."""
    return shutil.which("squeue") is not None


def ask(*command: str) -> list[str] | None:
    """Return the lines that a command prints, or None where it fails or does not answer."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.splitlines() if run.returncode == 0 else None


# ------------------------------------------------------------------------------------ names of jobs


def job_name(study: str, results: Path) -> str:
    """Return how the names of a study's jobs begin: the study and a hash of its results' folder.

    Letters that the executor plugin does not allow become hyphens.
    """
    end = f"-{_identity(results)}"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"diffeode-{study}")
    return name[: _LONGEST_NAME - len(end)] + end


def _identity(results: Path) -> str:
    return hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:8]


# ------------------------------------------------------------------------------------ jobs in queue


@dataclass(frozen=True)
class Queued:
    """A job that is queued or runs.

    Attributes:
        number: its number, for a task of an array with the task's.
        name: the name that it was submitted with.
        state: Slurm's word for its state, such as ``PENDING``.
        node: the nodes that it runs on; empty where it waits.
        start: when it started, or is expected to start, as Slurm writes it.
        reason: why it waits, in Slurm's word; ``None`` as text where it runs.
    """

    number: str
    name: str
    state: str
    node: str
    start: str
    reason: str

    @property
    def runs(self) -> bool:
        """Whether it has started."""
        return self.state not in _WAITING

    @property
    def began(self) -> float | None:
        """When it started, in seconds since 1970; None where it has not, or Slurm does not say."""
        return _seconds(self.start) if self.runs else None


_FORM = "%i|%j|%T|%N|%S|%r"


def jobs_that_write_to(results: Path) -> list[Queued]:
    """Return the jobs, of any study and user, that are queued or run and write to a folder.

    Slurm is asked only where some run has submitted jobs for this folder: a controller that is down
    lets a question wait for a minute.
    """
    if not (results / JOURNAL).is_file():
        return []
    end = re.compile(rf"diffeode-.*-{_identity(results)}(_|$)")
    lines = ask("squeue", "--noheader", "--array", f"--format={_FORM}") if is_here() else None
    jobs = [Queued(*line.strip().split("|", 5)) for line in lines or () if line.count("|") >= 5]
    return [job for job in jobs if end.match(job.name)]


def cancelling(jobs: Iterable[Queued]) -> str:
    """Return the command that cancels these jobs and no others."""
    return f"scancel --name={','.join(sorted({job.name for job in jobs}))}"


def wait_for_earlier_jobs(results: Path, say: Callable[[str], None], only_says: bool) -> None:
    """Wait until no job of an earlier run writes to ``results`` any more; say so.

    A run that was killed leaves its jobs in the queue. Without waiting, the next run would submit
    the same jobs a second time, and two would write to the same files.

    Args:
        say: function that shows a sentence to the user.
        only_says: whether not to wait, as in a dry run.
    """
    jobs = jobs_that_write_to(results)
    if not jobs:
        return
    running = sum(job.runs for job in jobs)
    say(
        f"Jobs of an earlier run, which write to {results}, are still in Slurm's queue: "
        f"{len(jobs) - running} wait and {running} run. "
        f"{'The next run waits' if only_says else 'This run waits'} until they have ended. To "
        f"cancel them instead (only these): {cancelling(jobs)}"
    )
    while jobs and not only_says:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        jobs = jobs_that_write_to(results)


def times_of_jobs(name: str) -> dict[str, tuple[float | None, float | None]]:
    """Return when each job with a name started and ended, in seconds since 1970.

    None stands for what has not happened yet.
    """
    form = "%i|%T|%S|%e"
    lines = ask("squeue", "--noheader", "--states=all", f"--name={name}", f"--format={form}")
    found = {}
    for number, state, start, end in (line.strip().split("|") for line in lines or ()):
        waits, runs = state in _WAITING, state in ("RUNNING", "COMPLETING")
        found[number] = (
            None if waits else _seconds(start),
            None if waits or runs else _seconds(end),
        )
    return found


def _seconds(time_of_day: str) -> float | None:
    try:
        return datetime.fromisoformat(time_of_day).timestamp()
    except ValueError:  # Slurm writes N/A
        return None


# ---------------------------------------------------------------------------------- why jobs failed


def cause(message: str, log: str, mem_mb: Any, minutes: Any) -> str | None:
    """Return why Slurm ended a job, or None where the job ended by itself.

    Args:
        message: what the executor plugin says about the job.
        log: the text of the job's log of Slurm.
        mem_mb, minutes: what the job asked for.
    """
    refused = re.search(r"sbatch failed. The error message was '(.*?)'[.]", message, re.DOTALL)
    if refused:
        return f"Slurm refused it ({' '.join(refused[1].split())})"
    found = re.search(r"status is: '(\w+)", message)
    state = found[1] if found else None
    if state is None and message:
        return message.strip().rstrip(".")
    if state == "OUT_OF_MEMORY" or _OUT_OF_MEMORY.search(log):
        return f"it needed more memory than the {mem_mb} MB that it asked for"
    if state in ("TIMEOUT", "DEADLINE") or "DUE TO TIME LIMIT" in log:
        return f"it took longer than the {minutes} minutes that it asked for"
    if state in ("NODE_FAIL", "BOOT_FAIL") or "DUE TO NODE FAILURE" in log:
        return "its node failed"
    if state == "PREEMPTED" or "DUE TO PREEMPTION" in log:
        return "other jobs took its place (preemption)"
    if state == "CANCELLED":
        return "it was cancelled (scancel)"
    return None


def sentences(text: str, logs: Iterable[Any]) -> list[str]:
    """Return the lines of a job's output that end by naming one of its logs.

    So do the sentences that scripts write on the console (``workflow/scripts/_job.py``).
    """
    ends = tuple(f"(log: {log})" for log in logs)
    return list(dict.fromkeys(line for line in text.splitlines() if line.endswith(ends) and ends))


def last_error(log: Path) -> str | None:
    """Return the last sentence of a job's log where the log ends in a traceback, else None."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    if "Traceback" not in text:
        return None
    return re.sub(r"^diffeode[.]errors[.]", "", text.strip().splitlines()[-1])


# ------------------------------------------------------------------------- partitions and requests


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule ask Slurm for.

    Attributes:
        rule: name of the rule, or of the group.
        partition: None for the cluster's default.
        minutes, mem_mb: None where nothing is asked for, so that the cluster's default holds.
        gpus: number of GPUs.
        gres: generic resources as ``sbatch --gres`` takes them, or None.
        account, qos: None where none is named.
        more: other options of ``sbatch``.
    """

    rule: str
    partition: str | None
    minutes: int | None
    mem_mb: int | None
    cpus: int
    gpus: int = 0
    gres: str | None = None
    account: str | None = None
    qos: str | None = None
    more: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Return the options of ``sbatch`` that ask for this."""
        asked = {
            "--partition": self.partition,
            "--time": self.minutes,
            "--mem": self.mem_mb,
            "--cpus-per-task": self.cpus,
            "--gpus": self.gpus or None,
            "--gres": self.gres,
            "--account": self.account,
            "--qos": self.qos,
        }
        return [f"{key}={value}" for key, value in asked.items() if value is not None] + [
            *self.more
        ]


@dataclass(frozen=True)
class Partition:
    """A partition.

    Attributes:
        minutes: its time limit; None for none.
        state: ``UP``, or why it starts no jobs.
        accounts: the accounts that may use it; None for all.
        qos: the same for quality of service.
        nodes: processors, memory in MB and generic resources of each kind of node.
    """

    name: str
    is_default: bool
    minutes: int | None
    state: str
    accounts: frozenset[str] | None
    qos: frozenset[str] | None
    nodes: tuple[tuple[int, int, str], ...]


def minutes_of(time: str) -> int | None:
    """Return a time that Slurm writes (``1-02:30:00``, ``30:00``) in whole minutes, or None.

    None stands for no limit.
    """
    if time.upper() in _UNLIMITED:
        return None
    days, _, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, minutes, *_ = [*parts, 0, 0]
    elif len(parts) == 3:
        hours, minutes, _ = parts
    else:
        hours, minutes = 0, parts[0]
    return 60 * (24 * int(days or 0) + hours) + minutes


class Cluster:
    """What this cluster allows, asked once."""

    @cached_property
    def partitions(self) -> dict[str, Partition]:
        """The partitions by name; empty where Slurm does not tell."""
        found = {}
        for line in ask("scontrol", "--oneliner", "show", "partition") or ():
            facts = dict(re.findall(r"(\w+)=(\S*)", line))
            if name := facts.get("PartitionName"):
                found[name] = Partition(
                    name=name,
                    is_default=facts.get("Default") == "YES",
                    minutes=minutes_of(facts.get("MaxTime", "")),
                    state=facts.get("State", "UP"),
                    accounts=_listed(facts.get("AllowAccounts", "")),
                    qos=_listed(facts.get("AllowQos", "")),
                    nodes=tuple(self._nodes.get(name, ())),
                )
        return found

    @cached_property
    def _nodes(self) -> dict[str, list[tuple[int, int, str]]]:
        found: dict[str, list[tuple[int, int, str]]] = {}
        lines = ask("sinfo", "--noheader", "--exact", "--format=%R|%c|%m|%G") or ()
        for partition, cpus, memory, gres in (line.strip().split("|", 3) for line in lines):
            found.setdefault(partition, []).append((_number(cpus), _number(memory), gres))
        return found

    @cached_property
    def accounts(self) -> frozenset[str]:
        """The accounts that this user may use; empty where Slurm does not tell."""
        return self._known("show", "assoc", f"user={getpass.getuser()}", "format=account")

    @cached_property
    def qualities(self) -> frozenset[str]:
        """Every quality of service; empty where Slurm does not tell."""
        return self._known("show", "qos", "format=name")

    def partition_of(self, request: Request) -> Partition | None:
        """Return the partition that a request goes to, or None where Slurm does not tell."""
        if request.partition is not None:
            return self.partitions.get(request.partition)
        return next((each for each in self.partitions.values() if each.is_default), None)

    def complaint(self, request: Request) -> str | None:
        """Return why a job with this request would be refused or wait for ever, in one sentence.

        None is returned where nothing is wrong.
        """
        return self._unknown(request) or self._too_much(request) or self._refused(request)

    def _unknown(self, request: Request) -> str | None:
        kinds = (
            ("partition", request.partition, frozenset(self.partitions), "this cluster has"),
            ("account", request.account, self.accounts, "you may use"),
            ("quality of service (QOS)", request.qos, self.qualities, "this cluster has"),
        )
        for kind, name, known, has in kinds:
            if name is not None and known and name not in known:
                return (
                    f"Rule {request.rule} asks for the {kind} {name}, but {has} only "
                    f"{_and(known)}; correct it in the profile."
                )
        return None

    def _too_much(self, request: Request) -> str | None:
        partition = self.partition_of(request)
        if partition is None:
            return None
        where = f"partition {partition.name}"
        if partition.state != "UP":
            return (
                f"Rule {request.rule} asks for the {where}, which starts no jobs "
                f"({partition.state}); choose another one in the profile."
            )
        for kind, name, allowed in (
            ("account", request.account, partition.accounts),
            ("quality of service (QOS)", request.qos, partition.qos),
        ):
            if name is not None and allowed is not None and name not in allowed:
                return (
                    f"Rule {request.rule} asks for the {kind} {name}, but the {where} allows only "
                    f"{_and(allowed)}; choose another one in the profile."
                )
        if partition.minutes is not None and (request.minutes or 0) > partition.minutes:
            return (
                f"Rule {request.rule} asks for {request.minutes} minutes, but the {where} allows "
                f"{partition.minutes}; choose a partition that allows more, or ask for less "
                "(runtime), in the profile."
            )
        return self._more_than_nodes_have(request, partition)

    def _more_than_nodes_have(self, request: Request, partition: Partition) -> str | None:
        gpus = request.gpus or (_gpus(request.gres) if "gpu" in (request.gres or "") else 0)
        wants = (
            (request.mem_mb or 0, [memory for _, memory, _ in partition.nodes], "MB of memory"),
            (request.cpus, [cpus for cpus, _, _ in partition.nodes], "processors"),
            (gpus, [_gpus(gres) for *_, gres in partition.nodes], "GPUs"),
        )
        for wanted, offered, what in wants:
            if offered and wanted > max(offered):
                return (
                    f"Rule {request.rule} asks for {wanted} {what}, but no node of the partition "
                    f"{partition.name} has more than {max(offered)}; choose another partition, or "
                    "ask for less, in the profile."
                )
        return None

    def _refused(self, request: Request) -> str | None:
        """Return the complaint about what Slurm itself would refuse."""
        command = ["sbatch", "--test-only", *request.options(), "--wrap=true"]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if run.returncode == 0 or (_NO_NODE in run.stderr and self._lacks_nodes(request)):
            return None
        words = " ".join(re.sub(r"(?m)^sbatch: (error: )?", "", run.stderr).split())
        return (
            f"Slurm refuses a job as rule {request.rule} asks for it "
            f"({' '.join(request.options())}): {words}; correct it in the profile."
        )

    def _lacks_nodes(self, request: Request) -> bool:
        """Return whether some node starts no jobs now, as in a maintenance.

        Slurm lets a job wait that only such a node can run, but calls it impossible when asked.
        """
        partition = self.partition_of(request)
        where = [f"--partition={partition.name}"] if partition else []
        states = ask("sinfo", "--noheader", *where, "--format=%T") or ()
        return any(state.strip() not in _WORKING for state in states)

    def _known(self, *question: str) -> frozenset[str]:
        lines = ask("sacctmgr", "--noheader", "--parsable2", *question) or ()
        return frozenset(line.strip() for line in lines if line.strip())


def _listed(names: str) -> frozenset[str] | None:
    return None if names in _UNLIMITED else frozenset(names.split(","))


def _number(text: str) -> int:
    """Return the number that a text such as ``24000+`` begins with."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _gpus(gres: str | None) -> int:
    """Return the number of GPUs in Slurm's list of generic resources, as in ``gpu:a100:4(S:0)``."""
    numbers = re.findall(r"\bgpu(?::[A-Za-z_][\w.]*)?(?::(\d+))?(?=[,(]|$)", gres or "")
    return sum(int(number or 1) for number in numbers)


def _and(names: Iterable[str]) -> str:
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last
