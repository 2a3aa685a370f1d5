"""A Slurm cluster of two nodes on this machine, with munge, in a folder of its own.

It needs root, because Slurm's daemons change to the user of a job. Nothing outside the folder is
written or changed: neither ``/etc/slurm`` nor ``/etc/munge`` is used.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol", "scancel")
NODES = ("n1", "n2")
_SBIN = "/usr/sbin"
_PATIENCE_S = 60

_SLURM_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={munge},cred_expire=5
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
MinJobAge=300
KillWait=2
InactiveLimit=0
Waittime=0
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd-%n.pid
SlurmctldLogFile={state}/log/slurmctld.log
SlurmdLogFile={state}/log/slurmd-%n.log
SlurmctldPort={ports[0]}
GresTypes=gpu
NodeName=DEFAULT CPUs=4 RealMemory=24000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} Gres=gpu:fake:2 Feature=first
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} Feature=second
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes=n1 MaxTime=1-00:00:00 State=UP
PartitionName=short Nodes=n2 MaxTime=0:10:00 State=UP
"""
_GRES_CONF = """\
AutoDetect=off
NodeName=n1 Name=gpu Type=fake File={state}/gpu[0-1]
"""


def obstacle() -> str | None:
    """Return why no cluster can be set up here, or None where one can."""
    missing = [name for name in PROGRAMS if _found(name) is None]
    if missing:
        return f"Slurm or munge is not installed ({', '.join(missing)})"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    return None


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SBIN)


class Loopback:
    """The cluster: started by :meth:`start`, and ended with all of its jobs by :meth:`stop`.

    Args:
        state: the folder of its configuration, keys, logs and state; its path must be short,
            because the path of a socket may have 107 characters at most.
        more: further lines of Slurm's configuration.
    """

    def __init__(self, state: Path, more: str = "") -> None:
        self.state, self._more = state, more
        path = f"{state / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"SLURM_CONF": str(state / "slurm.conf"), "PATH": path}
        self._daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start munge, the controller and both nodes; wait until the nodes are idle.

        Raises:
            TimeoutError: the nodes are not idle after a minute; the message holds the logs.
        """
        for folder in ("bin", "ctld", "log", *NODES):
            (self.state / folder).mkdir(parents=True)
        self._write_configuration()
        self._start("munged", "munged", "--foreground", "--force", *self._munge_options())
        self._wait_until((self.state / "munge.sock").exists, "munge")
        self._start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self._start(node, "slurmd", "-D", "-N", node)
        self._wait_until(
            lambda: (
                self.ask("sinfo", "-h", "-N", "-p", "cpu", "-t", "idle", "-o", "%N") == [*NODES]
            ),
            "the nodes",
        )

    def stop(self) -> None:
        """Cancel every job, and kill every daemon and what jobs may have left."""
        self.ask("scancel", *(number for number, *_ in self.queue()))
        with suppress(TimeoutError):
            self._wait_until(lambda: not self.queue(), "the end of the jobs", 10)
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for daemon in self._daemons.values():
            daemon.wait()

    def ask(self, *command: str) -> list[str]:
        """Return the lines that a command of Slurm prints; none where it fails."""
        environment = {**os.environ, **self.environment}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return run.stdout.splitlines() if run.returncode == 0 else []

    def queue(self, form: str = "%i|%j|%T|%N") -> list[list[str]]:
        """Return the jobs that are queued or running, as the parts of ``squeue``'s format."""
        return [line.split("|") for line in self.ask("squeue", "-h", "-r", "-o", form)]

    def runs_on(self, node: str) -> int:
        """Return how many jobs run on a node."""
        return sum(place == node for *_, place in self.queue())

    def lose(self, node: str) -> None:
        """Kill a node with everything that runs there, as when its power fails."""
        daemon = psutil.Process(self._daemons[node].pid)
        for process in self._on(node, daemon):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._daemons.pop(node).wait()

    def mend(self, node: str) -> None:
        """Start a node again that was lost."""
        self._start(node, "slurmd", "-D", "-N", node)

    def _write_configuration(self) -> None:
        host = socket.gethostname().split(".")[0]
        (self.state / "slurm.conf").write_text(
            _SLURM_CONF.format(
                state=self.state, host=host, munge=self.state / "munge.sock", ports=_free_ports(3)
            )
            + self._more
        )
        (self.state / "gres.conf").write_text(_GRES_CONF.format(state=self.state))
        (self.state / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        for number in (0, 1):
            (self.state / f"gpu{number}").touch()
        # the executor plugin takes SLURM_CONF out of the environment of srun in a job
        srun = self.state / "bin" / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.state}/slurm.conf exec {shutil.which("srun")} "$@"\n'
        )
        srun.chmod(0o755)
        key = self.state / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))

    def _munge_options(self) -> list[str]:
        files = {
            "key-file": "munge.key",
            "socket": "munge.sock",
            "pid-file": "munged.pid",
            "log-file": "log/munged.log",
            "seed-file": "munge.seed",
        }
        return [f"--{option}={self.state / file}" for option, file in files.items()]

    def _start(self, name: str, program: str, *options: str) -> None:
        with (self.state / "log" / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [str(_found(program)), *options],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until(
        self, is_so: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S
    ) -> None:
        end = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}"
                    for log in sorted((self.state / "log").iterdir())
                )
                raise TimeoutError(f"Waited in vain for {what}.\n{logs}")
            time.sleep(0.1)

    def _family(self) -> list[psutil.Process]:
        """Return every daemon, and everything that was started by one or for a job of one."""
        found = []
        for daemon in self._daemons.values():
            if daemon.poll() is None:
                found += self._on(None, psutil.Process(daemon.pid))
        return found

    def _on(self, node: str | None, daemon: psutil.Process) -> list[psutil.Process]:
        """Return a daemon, the processes that it started, and the steps of jobs on its node.

        The process of a step leaves the daemon's family. It listens at a socket in the folder of
        its node.
        """
        folder = f"{self.state}/{node or ''}"
        family = [daemon, *daemon.children(recursive=True)]
        for process in psutil.process_iter(["name"]):
            if process.info["name"] == "slurmstepd":
                with suppress(psutil.NoSuchProcess):
                    sockets = process.net_connections("unix")
                    if any(place.laddr.startswith(folder) for place in sockets):
                        family += [process, *process.children(recursive=True)]
        return list(dict.fromkeys(family))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
