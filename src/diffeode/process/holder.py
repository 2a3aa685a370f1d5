"""The identity of a process, by which others tell whether it still lives: its computer, its number
and the time at which it began.

A number alone would not do, because systems give the numbers of ended processes to new ones.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import psutil

RUN = "DIFFEODE_RUN"
"""Environment variable in which a run of the workflow names itself to its jobs."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@final
@dataclass(frozen=True)
class Holder:
    """A process that holds something, such as a lock.

    Attributes:
        host: the name of its computer.
        pid: its number there.
        started: when it began, as a text that can only be compared.
    """

    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        """Return the identity as one line of text."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this computer."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of other computers nothing is known."""
        return self.is_here and _started(self.pid) != self.started


def this_process() -> Holder:
    """Return the identity of this process."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, _started(pid))


def holder_in(line: str) -> Holder | None:
    """Return the identity that ``line`` holds, or None where it holds none."""
    try:
        content = json.loads(line)
        return Holder(str(content["host"]), int(content["pid"]), str(content["started"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _started(pid: int) -> str:
    """Return when a process began; empty where there is none, or only its exit status is left.

    Linux counts from its own start, so that setting the clock changes nothing.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        return "" if state in "ZX" else f"{_BOOT.read_text().strip()} {fields[18]}"
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except ProcessLookupError:
        return ""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time()))
    except psutil.NoSuchProcess:
        return ""
