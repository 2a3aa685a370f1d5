"""Tables of results: rows on disk as soon as they are known, and Markdown made from them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from diffeode.files.io import write_text, written_whole
from diffeode.statistics.export import MISSING

Row = dict[str, str]


class Table:
    """Rows of text in a TSV file; one row for each value of the key columns.

    Args:
        path: the file; it need not be there yet.
        keys: columns that tell rows apart.
        stamps: columns that say what a row was measured with.
    """

    def __init__(self, path: Path, keys: Sequence[str], stamps: Sequence[str] = ("code",)) -> None:
        self.path, self.keys, self.stamps = path, tuple(keys), tuple(stamps)
        self.rows: list[Row] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as handle:
                self.rows = [dict(row) for row in csv.DictReader(handle, delimiter="\t")]

    def has(self, row: dict[str, object]) -> bool:
        """Whether the key of ``row`` was measured already with its stamps; what failed is worth
        another try.
        """
        same = [r for r in self.rows if self._key(r) == self._key(row)]
        return any(
            all(r.get(s) == str(row[s]) for s in self.stamps) and not r.get("failed") for r in same
        )

    def put(self, row: dict[str, object]) -> None:
        """Add ``row`` in the place of one with its key, and write the file, whole."""
        text = {name: _as_text(value) for name, value in row.items()}
        places = [i for i, other in enumerate(self.rows) if self._key(other) == self._key(text)]
        if places:
            self.rows[places[0]] = text
        else:
            self.rows.append(text)
        self._write()

    def _key(self, row: dict[str, object]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in self.keys)

    def _write(self) -> None:
        names = dict.fromkeys(name for row in self.rows for name in row)
        with (
            written_whole(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as handle,
        ):
            writer = csv.DictWriter(
                handle, list(names), restval="", delimiter="\t", lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(self.rows)


def numbers(rows: Iterable[Row], column: str) -> list[float]:
    """The finite values of ``column``."""
    texts = (row.get(column, "") for row in rows)
    return [value for text in texts if text and math.isfinite(value := float(text))]


def mean_and_sd(values: Sequence[float], decimals: int) -> str:
    """``mean ± SD`` (of the sample); the mean alone for one value."""
    if not values:
        return MISSING
    mean = f"{statistics.mean(values):.{decimals}f}"
    return f"{mean} ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else mean


def mean_percentage(values: Sequence[float]) -> str:
    """A mean with two significant digits; ``0`` only where every value is exactly 0."""
    return f"{statistics.mean(values):.2g}" if values else MISSING


def median(values: Sequence[float], decimals: int) -> str:
    """The median."""
    return f"{statistics.median(values):.{decimals}f}" if values else MISSING


def markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |\n"
        for row in (headings, rule, *lines)
    )


def measured_on(rows: Sequence[Row]) -> str:
    """One sentence: which machines, which torch, which days the rows come from."""
    machines, versions, days = (
        sorted({row[name] for row in rows}) for name in ("machine", "torch", "date")
    )
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Measured on {'; '.join(machines)}; torch {', '.join(versions)}; {when}."


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """``sections`` under ``title`` as one Markdown page."""
    write_text(path, "\n".join([f"# {title}\n", *sections]))


def _as_text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
