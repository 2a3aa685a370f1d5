"""Print tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from diffeode.names import in_columns


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows``, which have the same number of cells, in aligned columns."""
    print(*in_columns(rows), sep="\n")
