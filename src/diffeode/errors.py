"""What can go wrong with what a user hands in, and how it is said."""

from __future__ import annotations

import re

_OF_MEMORY = re.compile(
    r"out ?of ?memory|can't allocate memory|cannot allocate memory|bad_alloc", re.IGNORECASE
)


class InputError(ValueError):
    """A user's input is unusable; the message is one sentence: what, where, what to do."""


class DamagedFileError(InputError):
    """A file is truncated, empty or no longer what its receipt says; it must be made again."""


class RegistrationError(RuntimeError):
    """A method could not register a pair; the message is the reason shown in the tables."""


class SuspectError(RuntimeError):
    """A registration was made and looks as if it went wrong, and the user asked to be stopped by
    that.
    """


class TrainingError(RuntimeError):
    """A training could not go on; the message is the reason and what was kept."""


class ToolError(RegistrationError):
    """An external program failed, was stopped or wrote nothing usable; the message ends in its last
    lines.
    """


def first_line(error: Exception) -> str:
    """The first line that ``error`` says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def reason_of(error: Exception) -> str:
    """Why work failed, in one sentence."""
    if isinstance(error, InputError | RegistrationError):
        return first_line(error)
    if isinstance(error, MemoryError) or _OF_MEMORY.search(f"{type(error).__name__}: {error}"):
        return f"Out of memory ({first_line(error)}); give it more memory or coarser scans."
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}"
