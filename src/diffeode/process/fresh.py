"""Do work in a new process, where libraries do not remember what this process did before."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from diffeode.errors import RegistrationError

T = TypeVar("T")


def in_new_process(work: Callable[..., T], *arguments: Any) -> T:
    """Return ``work(*arguments)``, or raise what it raises, computed by a new process of Python.

    A forked process would inherit what libraries remember. Starting a new one takes two to three
    seconds.

    Args:
        work: a function of a module; it and its arguments are pickled, and so is the result.

    Raises:
        RegistrationError: the process ended without a result.
    """
    with tempfile.TemporaryDirectory(prefix="diffeode-") as folder:
        told = Path(folder) / "told"
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(told)],
            input=pickle.dumps((work, arguments)),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        )
        if not told.is_file():
            raise RegistrationError(
                f"A process of its own ended with exit code {done.returncode} before it was done; "
                "the lines above may tell why, such as a lack of memory."
            )
        succeeded, result = pickle.loads(told.read_bytes())
    if succeeded:
        return result
    raise result


def _work(told: Path) -> None:
    work, arguments = pickle.load(sys.stdin.buffer)
    try:
        answer = pickle.dumps((True, work(*arguments)))
    except Exception as error:  # whatever it is, it is raised in the process that asked
        answer = pickle.dumps((False, error))
    told.write_bytes(answer)


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
