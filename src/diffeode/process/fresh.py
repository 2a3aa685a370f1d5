"""Do work in a new process, where libraries do not remember what this process did before."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
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
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as answer,
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(writing)],
            stdin=subprocess.PIPE,
            pass_fds=[writing],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ) as child,
    ):
        os.close(writing)
        assert child.stdin is not None
        # The process may have ended before it read what to do.
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(pickle.dumps((work, arguments)))
        told = answer.read()
    if not told:
        raise RegistrationError(
            f"A process of its own ended with exit code {child.returncode} before it was done; the "
            "lines above may tell why, such as a lack of memory."
        )
    succeeded, result = pickle.loads(told)
    if succeeded:
        return result
    raise result


def _work(writing: int) -> None:
    work, arguments = pickle.load(sys.stdin.buffer)
    try:
        told = pickle.dumps((True, work(*arguments)))
    except Exception as error:  # whatever it is, it is raised in the process that asked
        told = pickle.dumps((False, error))
    with os.fdopen(writing, "wb") as answer:
        answer.write(told)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
