"""The kinds of errors, and the sentence about an error that users read."""

from __future__ import annotations

import re

_OF_MEMORY = re.compile(
    r"out ?of ?memory|can't allocate memory|cannot allocate memory|bad_alloc", re.IGNORECASE
)
_LONGEST_REASON = 200


class InputError(ValueError):
    """An input of the user is unusable. The message is one sentence: what is wrong, where, and what
    to do.
    """


class DamagedFileError(InputError):
    """A file is truncated, empty or differs from its receipt; it must be made again."""


class RegistrationError(RuntimeError):
    """A method could not register a pair. The message is the reason that tables show."""


class KilledError(RegistrationError):
    """The process of a registration was killed, as systems do when memory runs out."""


class AlignmentError(RegistrationError):
    """A pair could not be aligned, so no method can register it."""


class SuspectError(RuntimeError):
    """A registration is suspect, and the user asked that the command fails then."""


class TrainingError(RuntimeError):
    """A training could not continue. The message says why, and what was kept."""


class ToolError(RegistrationError):
    """An external program failed, was stopped or wrote no usable result. The message ends in its
    last lines.
    """


def first_line(error: Exception) -> str:
    """Return the first line of the message of ``error``, or its class where it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def brief_reason(error: Exception) -> str:
    """Return the first line of the message of ``error`` as far as it is quickly read: messages of
    libraries quote what a damaged file holds.
    """
    return first_line(error)[:_LONGEST_REASON]


def reason_of(error: Exception) -> str:
    """Return why work failed, in one sentence."""
    if isinstance(error, InputError | RegistrationError):
        return first_line(error)
    if isinstance(error, MemoryError) or _OF_MEMORY.search(f"{type(error).__name__}: {error}"):
        return f"Out of memory ({first_line(error)}); give it more memory or coarser scans."
    name, said = type(error).__name__, first_line(error)
    return name if said == name else f"{name}: {said}"
