"""Do work in a child process: its time is limited, and where that process dies, an error says so
and this process goes on.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psutil

from diffeode.errors import KilledError, RegistrationError

T = TypeVar("T")

LONGEST_MINUTES = 35_000
"""The longest limit, about 24 days: systems count the milliseconds of waiting in 32 bits."""
_GRACE_S = 10.0
_DIE_WITH_PARENT = 1
_INTERRUPTED = 130
# A terminal that is closed sends SIGHUP, which Windows does not have.
_TERMINATIONS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Terminated(SystemExit):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def watched(
    work: Callable[[], T],
    limit_minutes: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> T:
    """Call ``work`` in a forked child process, and return what it returns or raise what it raises.

    Results and errors are pickled on their way. A limit within one process would not be enough:
    code that never returns to Python cannot be interrupted, and a crash or a lack of memory ends
    the process. The child's temporary files are removed however it ends.

    Call this before anything in this process has started threads, such as those of torch or ANTs,
    because threads do not survive a fork.

    Args:
        limit_minutes: time limit, at most ``LONGEST_MINUTES``; None for no limit.
        meanwhile: called in this process while ``work`` runs.

    Raises:
        KilledError: the process of ``work`` was killed.
        RegistrationError: ``work`` took longer than ``limit_minutes``; its process crashed or
            exited; or the error that it raised cannot be pickled.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with terminated_like_exit(), tempfile.TemporaryDirectory(prefix="diffeode-") as scratch:
        child = context.Process(target=_work_and_tell, args=(work, sender, scratch, os.getpid()))
        child.start()
        sender.close()
        try:
            until = None if limit_minutes is None else time.monotonic() + 60 * limit_minutes
            meanwhile()
            return _outcome(child, receiver, limit_minutes, until)
        finally:
            _end(child)


@contextmanager
def terminated_like_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`Terminated` in the block.

    So the stack is unwound, and nothing half written is left. A signal that is ignored, as under
    ``nohup``, stays ignored.
    """

    def leave(number: int, frame: object) -> None:
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in _TERMINATIONS}
    before = {
        number: handler for number, handler in before.items() if handler is not signal.SIG_IGN
    }
    try:
        for number in before:
            signal.signal(number, leave)
    except ValueError:  # this is not the main thread, and signals arrive in that one only
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work_and_tell(work: Callable[[], T], sender: Connection, scratch: str, parent: int) -> None:
    die_with_parent(parent)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    try:
        sender.send((True, work()))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Terminated:
        raise
    except SystemExit as error:
        sender.send(
            (False, RegistrationError(f"It called sys.exit({error.code!r}) before it was done."))
        )
    except Exception as error:
        error.add_note(f"There:\n{traceback.format_exc()}")
        sender.send((False, _that_travels(error)))


def _that_travels(error: Exception) -> Exception:
    """Return ``error`` if it survives pickling, else a :class:`RegistrationError` with its message.

    Pickling fails, for instance, where the class of the error takes two arguments.
    """
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    said = RegistrationError(f"{type(error).__name__}: {error}")
    said.__notes__ = error.__notes__
    return said


def die_with_parent(parent: int) -> None:
    """Ask the system to end this process when its parent dies, which Linux can do.

    A parent that is killed cannot end its child itself. Where it has died already, this process
    ends at once, because the system would not tell it any more.

    Args:
        parent: the number of the process that started this one.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _outcome(
    child: BaseProcess, receiver: Connection, limit_minutes: float | None, until: float | None
) -> Any:
    left = None if until is None else max(until - time.monotonic(), 0)
    if not wait([receiver, child.sentinel], left):
        raise RegistrationError(
            f"It took longer than its time limit of {limit_minutes:g} minutes; allow more time "
            "(--time-limit or, in a study, time_limit_minutes)."
        )
    try:
        succeeded, told = receiver.recv()
    except EOFError:
        child.join()
        raise error_of_death(child.exitcode or 0) from None
    if succeeded:
        return told
    raise told


def error_of_death(code: int) -> BaseException:
    """Return the error for a child that ended without a result.

    Args:
        code: its exit code; a negative one is the negative number of the signal that ended it.
    """
    if code == _INTERRUPTED:
        return KeyboardInterrupt()
    if code - 128 in _TERMINATIONS:
        return Terminated(code - 128)
    if code >= 0:
        return RegistrationError(f"It ended with exit code {code} before it was done.")
    if -code == signal.SIGKILL:
        return KilledError(
            "It was killed (SIGKILL), as systems do when memory runs out; give it more memory."
        )
    named = {number.value: number.name for number in signal.Signals}
    name = named.get(-code, f"signal {-code}")
    return RegistrationError(
        f"It crashed ({name}); the last lines of the log may tell why, such as a lack of memory."
    )


def _end(child: BaseProcess) -> None:
    """End the child and all processes that it started: first by SIGTERM, then by SIGKILL."""
    family: list[psutil.Process | BaseProcess] = [child]
    with suppress(psutil.NoSuchProcess):
        family += psutil.Process(child.pid).children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    child.join(_GRACE_S)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    child.join()
