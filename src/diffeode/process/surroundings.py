"""What a process inherits from where it was started: closed streams, a notebook's variables, a lost
folder.
"""

from __future__ import annotations

import io
import os
import sys

from diffeode.errors import InputError

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def settle() -> None:
    """Make this process and those it starts work as from a plain terminal; call it before any file
    is opened.

    Streams that are closed lead to the null device: otherwise the first files opened get the
    numbers 0 to 2, and what libraries print lands in them. Figures are drawn without a display,
    whatever ``MPLBACKEND`` a notebook has set: matplotlib does not even load where it does not know
    that name.
    """
    _open_closed_streams()
    # a name of a file that the terminal cannot show is spelled out instead of ending the command
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"


def require_usable() -> None:
    """Raise :class:`InputError` where this process cannot work in what it was started in.

    The working folder may be gone, and numba stops at its first use where its number of threads is
    none.
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
            # the lowest free number, which is this one, as those below are open by now
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(
                sys,
                name,
                os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False),
            )
