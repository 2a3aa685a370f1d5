"""A process that has imported the slow modules, and forks for every command that it is given.

Run as a program, ``forking.py DESCRIPTOR MODULE...`` imports the modules when the first command
arrives at a listening socket, and ends when its standard input is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import NoReturn


def _next_command(listening: socket.socket, modules: list[str]) -> dict | None:
    """Return, in each child, the command that it is to run; in the parent, None once standard input
    is closed.
    """
    signal.signal(signal.SIGCHLD, lambda *_: _bury_children())
    while True:
        if sys.stdin in select.select([sys.stdin, listening], [], [])[0]:
            return None
        connection, _ = listening.accept()
        _import(modules)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            return _command_or_answer(connection)
        connection.close()


def _bury_children() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _import(modules: list[str]) -> None:
    for name in filter(importlib.util.find_spec, modules):
        importlib.import_module(name)
    gc.freeze()  # the children do not change these objects, and so share their memory
    modules.clear()


def _command_or_answer(connection: socket.socket) -> dict:
    """Return, in a child of this process, the command to run; this process waits for the child,
    answers and ends.
    """
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection, connection.makefile("rw", encoding="utf-8") as text:
        request = json.loads(text.readline())
        child = os.fork()
        if child == 0:
            return request | {"streams": streams}
        _, status = os.waitpid(child, 0)
        text.write(f"{os.waitstatus_to_exitcode(status)}\n")
        text.flush()
    os._exit(0)


def _run(
    command: list[str], cwd: str, env: dict[str, str], python: str, streams: list[int]
) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    is_module = command[0] == "-m"
    what, *arguments = command[1:] if is_module else command
    sys.argv[:] = [what, *arguments]
    sys.executable = python or sys.executable
    sys.path[0] = cwd if is_module else os.path.dirname(os.path.realpath(what))
    sys.path[1:1] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    if is_module:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(what, run_name="__main__")


def _exit_code_of(run: Callable[[], None]) -> int:
    """Return the exit code with which Python would end."""
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End this process as Python does, but without tearing down the imported modules, which takes
    up to a second.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    descriptor, *imported = sys.argv[1:]
    next_command = _next_command(socket.socket(fileno=int(descriptor)), imported)
    if next_command:
        _end(_exit_code_of(partial(_run, **next_command)))
