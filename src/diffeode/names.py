"""Names that users give: what they may have meant, and how they are shown."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'"`` with the nearest known word, or ``" (known: …)"`` where none is
    near.
    """
    known = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}"
    return f" (known: {', '.join(known) or 'none'})"


def readable(name: str) -> str:
    """``name``, such as a file's, on one line that every writer can encode.

    Bytes that are no UTF-8 (in Python surrogates) and control characters are spelled out, as
    ``\\xff`` and ``\\n``.
    """
    decoded = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in decoded
    )
