"""What a process inherits from the one that starts it: closed streams, variables of a notebook, a
working folder that was removed, and the processors that it may use.
"""

from __future__ import annotations

import io
import os
import sys

from diffeode.errors import InputError

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settle() -> None:
    """Make this process, and those that it starts, work as if from a plain terminal.

    Call it before any file is opened. Closed streams are opened on the null device; otherwise the
    first files to be opened would get the numbers 0 to 2, and what libraries print would land in
    them. ``MPLBACKEND`` is set so that figures are drawn without a display: a notebook may have set
    a name that matplotlib does not know here, with which it would not even load.
    """
    _open_closed_streams()
    # Otherwise a file name that the terminal cannot show would end the command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"


def require_usable() -> None:
    """Raise :class:`InputError` where what this process inherited would stop it later.

    The working folder may be gone, or numba's number of threads may be no number, at which numba
    stops when it is first used.
    """
    _require_working_folder()
    count = (os.environ.get("NUMBA_NUM_THREADS") or "1").strip()
    if not count.isdecimal() or int(count) < 1:
        raise InputError(
            f"The environment variable NUMBA_NUM_THREADS is {count!r}; set it to a whole number "
            "from 1 on, or unset it."
        )


def _require_working_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f"The folder that this command was started in cannot be used ({error.strerror}), "
            "perhaps because it was removed; go to another folder (cd) and start the command "
            "again."
        ) from None


def _open_closed_streams() -> None:
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # os.open takes the lowest free number: this one, because all below are open by now
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(
                sys,
                name,
                os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False),
            )
