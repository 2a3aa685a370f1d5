"""How often Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 10_000
"""Number of new objects after which the newest ones are searched; Python's own is 700."""


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Let Python look for garbage a fourteenth as often within the block.

    Garbage is what only reference cycles keep; all else is freed at once, as ever. The packages of
    a registration make half a million objects that stay, and searching them over and over took an
    eighth of the time of their import.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
