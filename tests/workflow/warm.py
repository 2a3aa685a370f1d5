"""Python that starts at once: a process that has imported Snakemake forks for every command it is given.

Run as a program, it reads commands from standard input, one JSON object a line, and answers each with its exit code.
It imports what the environment provides and never diffeode, because every clone brings its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

IMPORTED = ("nibabel", "pandas", "scipy.ndimage", "snakemake.cli", "snakemake_executor_plugin_slurm", "yaml")
"""What planning a study imports, where it is installed."""


class WarmPython:
    """Runs Python commands as ``python [-m] ...`` would, without the seconds in which Snakemake is imported."""

    def __init__(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """``command`` begins with a script's path or with ``-m`` and a module; all that it says is ``stdout``."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as said:
            request = {"command": list(command), "cwd": str(cwd), "env": dict(env), "said": said.name}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the process that forks for every command has ended"
            return subprocess.CompletedProcess(list(command), int(answer), stdout=said.read())

    def close(self) -> None:
        """End the process that forks."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@cache
def warm_python() -> WarmPython:
    """The one for all tests of a worker."""
    return WarmPython()


def _next_command() -> dict | None:
    """In each child, the command it is to run; in the parent, None once there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def _run(command: list[str], cwd: str, env: dict[str, str], said: str) -> None:
    for descriptor, file, mode in ((0, os.devnull, os.O_RDONLY), (1, said, os.O_WRONLY), (2, said, os.O_WRONLY)):
        os.dup2(os.open(file, mode | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    is_module = command[0] == "-m"
    what, *arguments = command[1:] if is_module else command
    sys.argv[:] = [what, *arguments]
    sys.path[0] = cwd if is_module else str(Path(what).resolve().parent)
    run = runpy.run_module if is_module else runpy.run_path
    run(what, run_name="__main__", **({"alter_sys": True} if is_module else {}))


if __name__ == "__main__":
    for name in filter(importlib.util.find_spec, IMPORTED):
        importlib.import_module(name)
    next_command = _next_command()
    if next_command:
        _run(**next_command)
