"""Names that users give: the name that a misspelt one may mean, and how a name is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LONGEST = 80
"""Number of characters of a value that messages show."""
_MOST = 5
"""Number of names that messages show."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown ``word``.

    It suggests the nearest known word; where none is near, it lists all.

    >>> nearest("nod", ["node", "ants-syn"])
    "; did you mean 'node'"
    >>> nearest("fast", ["node", "ants-syn"])
    ' (known: ants-syn, node)'
    """
    words = sorted(str(k)[:_LONGEST] for k in known)
    return suggestion(word, words) or f" (known: {', '.join(words) or 'none'})"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown ``word``: the nearest known word, if one is
    near.

    >>> suggestion("nod", ["node", "ants-syn"])
    "; did you mean 'node'"
    >>> suggestion("fast", ["node", "ants-syn"])
    ''
    """
    choices = sorted(str(k)[:_LONGEST] for k in known)
    close = difflib.get_close_matches(str(word)[:_LONGEST], choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}" if close else ""


def short(value: object) -> str:
    """Return ``value`` as messages show it: as Python writes it, and cut where it is long.

    >>> short("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        shown = repr(value)
    except ValueError:  # Python refuses to write numbers of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def some(names: Sequence[str]) -> str:
    """Return the first of ``names`` as messages show them, and the number of the others.

    >>> some(["a", "b"])
    "'a', 'b'"
    >>> some("abcdefg")
    "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(map(short, names[:_MOST])) + more


def readable(name: str) -> str:
    r"""Return ``name``, such as that of a file, on one line that can be printed and written.

    Bytes that are no UTF-8 (surrogates in Python) and control characters are spelled out, as
    ``\xff`` and ``\n``.

    >>> print(readable("two\nlines"))
    two\nlines
    """
    return "".join(map(_spelled_out, name))


def _spelled_out(character: str) -> str:
    """Return one character of :func:`readable`'s result for one of its argument."""
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # as Python holds a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each of ``rows``, which have the same number of cells; columns are aligned.

    >>> in_columns([("RUN", "HERE"), ("node", "yes"), ("ants-syn", "no")])
    ['RUN       HERE', 'node      yes', 'ants-syn  no']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
