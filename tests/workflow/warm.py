"""Python that starts at once: a process that has imported the slow modules forks for every command.

There are two such processes. One has imported Snakemake, and runs what a test says. The other has
imported torch and what draws and computes, and runs the scripts of jobs: Snakemake is told that a
small program is Python. Neither holds diffeode, because every clone brings its own. But the first
has read the repository's code for its identity (``known_code.py``), and the second saves figures
coarsely (``coarse_figures.py``). Tests that need exactly what a user has run in a Python of their
own instead, with the jobs (``Clone.snakemake_apart``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import asking
import forking

PLANNING = (
    *("jsonschema", "nibabel", "pandas", "requests", "yaml"),
    *("snakemake.cli", "snakemake.profiles", "snakemake.report.html_reporter", "snakemake.storage"),
    *("snakemake_executor_plugin_slurm", "known_code"),
)
"""The modules that planning a study imports, as far as they are installed; ``known_code`` comes
last.
"""
JOBS = (
    *(
        "nibabel",
        "numba",
        "pandas",
        "psutil",
        "requests",
        "scipy.ndimage",
        "scipy.signal",
        "scipy.stats",
    ),
    *("seaborn", "snakemake.logging", "torch", "torch._dynamo"),
    *("sklearn.linear_model", "statsmodels.api", "coarse_figures"),
)
"""The modules that the scripts of jobs import; ``coarse_figures`` comes last.

The first optimiser of a process imports ``torch._dynamo``, and ANTsPy imports the two before the
last one.
"""
_FOR_JOBS = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}


class WarmPython:
    """Runs Python commands as ``python [-m] ...`` would, without the seconds in which modules are
    imported.
    """

    def __init__(self, modules: Sequence[str], **environment: str) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._address = str(self._folder / "socket")
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._address)
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, forking.__file__, str(listening.fileno()), *modules],
                stdin=subprocess.PIPE,
                env=inherited | environment,
                pass_fds=[listening.fileno()],
            )

    def run(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], python: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``command`` begins with a script's path or with ``-m`` and a module; all that it says is
        ``stdout``.

        Args:
            python: the program that the command is to take for Python.
        """
        with (
            tempfile.NamedTemporaryFile("a+", encoding="utf-8", errors="replace") as said,
            open(os.devnull) as nothing,
        ):
            streams = [nothing.fileno(), said.fileno(), said.fileno()]
            code = asking.ask(
                self._address, list(command), str(cwd), dict(env), streams, str(python or "")
            )
            said.seek(0)
            return subprocess.CompletedProcess(list(command), code, stdout=said.read())

    def as_program(self) -> Path:
        """Return a program that stands for Python: this process runs its scripts, and the real
        Python everything else.
        """
        program = self._folder / "python"
        true = shlex.quote(sys.executable)
        here = f"{true} -I -S {shlex.quote(asking.__file__)} {shlex.quote(self._address)}"
        program.write_text(
            f'#!/bin/sh\ncase "$1" in\n*.py) exec {here} "$@" ;;\n*) exec {true} "$@" ;;\nesac\n',
            encoding="utf-8",
        )
        program.chmod(0o755)
        return program

    def close(self) -> None:
        """End the process that forks."""
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder)


@cache
def warm_python() -> WarmPython:
    """Return the process for all commands of a worker's tests."""
    return WarmPython(PLANNING)


@cache
def python_for_jobs() -> Path:
    """The program that stands for Python where jobs are started."""
    return _warm_jobs().as_program()


@cache
def _warm_jobs() -> WarmPython:
    return WarmPython(JOBS, **_FOR_JOBS)


def cool() -> None:
    """End the processes that were started here."""
    for begun in (warm_python, _warm_jobs):
        if begun.cache_info().currsize:
            begun().close()
