"""Suggesting what a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'"`` with the nearest known word, or ``" (known: …)"`` where none is near."""
    known = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}"
    return f" (known: {', '.join(known) or 'none'})"
