"""Print tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows``, which have the same number of cells, in aligned columns.

    >>> print_table([("RUN", "HERE"), ("node", "yes"), ("ants-syn", "no")])
    RUN       HERE
    node      yes
    ants-syn  no
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
