"""Work in a child process: it ends within its time, and a process that dies is a sentence instead
of the end of all.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psutil

from diffeode.errors import RegistrationError

T = TypeVar("T")

LONGEST_MINUTES = 35_000
"""The longest limit, 24 days: systems count the milliseconds of waiting in 32 bits."""
_GRACE_S = 10.0
_DIE_WITH_PARENT = 1
_INTERRUPTED = 130
# A terminal that closes sends SIGHUP, which Windows does not have.
_TERMINATIONS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Terminated(SystemExit):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def watched(work: Callable[[], T], limit_minutes: float | None = None) -> T:
    """What ``work`` returns or raises in a forked child process; both are pickled on the way.

    A limit within the process would not do: code that never comes back to Python cannot be
    interrupted, and a crash or a lack of memory ends the process. The child's temporary files are
    removed however it ends.

    Call it before anything in this process has started threads of its own, such as torch's or
    ANTs': they do not survive a fork.

    Args:
        limit_minutes: at most ``LONGEST_MINUTES``; None: for ever.

    Raises:
        RegistrationError: ``work`` took longer than ``limit_minutes``, or its process was killed,
            crashed or left, or what it raised does not survive pickling.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with terminated_like_exit(), tempfile.TemporaryDirectory(prefix="diffeode-") as scratch:
        child = context.Process(target=_work_and_tell, args=(work, sender, scratch))
        child.start()
        sender.close()
        try:
            return _outcome(child, receiver, limit_minutes)
        finally:
            _end(child)


@contextmanager
def terminated_like_exit() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack, so that nothing half written stays behind; ``nohup``
    keeps its effect.
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
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work_and_tell(work: Callable[[], T], sender: Connection, scratch: str) -> None:
    _die_with_parent()
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    try:
        sender.send((True, work()))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Terminated:
        raise
    except SystemExit as error:
        sender.send(
            (False, RegistrationError(f"It left by sys.exit({error.code!r}) before it was done."))
        )
    except Exception as error:
        error.add_note(f"There:\n{traceback.format_exc()}")
        sender.send((False, _that_travels(error)))


def _that_travels(error: Exception) -> Exception:
    """``error``, or what it says where pickling fails or changes it, as where its class wants two
    arguments.
    """
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    said = RegistrationError(f"{type(error).__name__}: {error}")
    said.__notes__ = error.__notes__
    return said


def _die_with_parent() -> None:
    """Where the system can (Linux): a parent that is killed cannot end its child itself."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _outcome(child: BaseProcess, receiver: Connection, limit_minutes: float | None) -> Any:
    if not wait([receiver, child.sentinel], None if limit_minutes is None else 60 * limit_minutes):
        raise RegistrationError(f"It took longer than its time limit of {limit_minutes:g} minutes.")
    try:
        succeeded, told = receiver.recv()
    except EOFError:
        child.join()
        raise _death(child.exitcode or 0) from None
    if succeeded:
        return told
    raise told


def _death(code: int) -> BaseException:
    """What the exit ``code`` of a child that told nothing means; negative: minus the number of a
    signal.
    """
    if code == _INTERRUPTED:
        return KeyboardInterrupt()
    if code - 128 in _TERMINATIONS:
        return Terminated(code - 128)
    if code >= 0:
        return RegistrationError(f"It left with exit code {code} before it was done.")
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return RegistrationError(
            f"It was killed ({name}), as systems do when memory runs out; give it more memory."
        )
    return RegistrationError(
        f"It crashed ({name}); the log has its last words, among them a lack of memory."
    )


def _end(child: BaseProcess) -> None:
    """End the child and all that it started: first asked, then forced."""
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
