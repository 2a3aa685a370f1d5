"""Tables of results, whose rows are written as soon as they are known, and Markdown made of
them.
"""

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
        keys: the columns that tell rows apart.
        stamps: the columns that say with which code or files a row was measured.
    """

    def __init__(self, path: Path, keys: Sequence[str], stamps: Sequence[str] = ("code",)) -> None:
        self.path, self.keys, self.stamps = path, tuple(keys), tuple(stamps)
        self.rows: list[Row] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as handle:
                self.rows = [dict(row) for row in csv.DictReader(handle, delimiter="\t")]

    def has(self, row: dict[str, object]) -> bool:
        """Return whether the table has a row with the key and the stamps of ``row``.

        A row that failed does not count, so that it is tried again.
        """
        stamps = [str(row[name]) for name in self.stamps]
        for other in self.rows:
            has_stamps = [other.get(name) for name in self.stamps] == stamps
            if self._key(other) == self._key(row) and has_stamps and not other.get("failed"):
                return True
        return False

    def put(self, row: dict[str, object]) -> Row:
        """Put ``row`` in the place of the row with its key, or at the end, write the file, and
        return the row as it was written.
        """
        text = {name: _as_text(value) for name, value in row.items()}
        places = [i for i, other in enumerate(self.rows) if self._key(other) == self._key(text)]
        if places:
            self.rows[places[0]] = text
        else:
            self.rows.append(text)
        self._write()
        return text

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
    """Return the finite values of ``column``."""
    texts = (row.get(column, "") for row in rows)
    return [value for text in texts if text and math.isfinite(value := float(text))]


def mean_and_sd(values: Sequence[float], decimals: int) -> str:
    """Return ``mean ± SD`` (of the sample); for one value, the mean alone.

    >>> mean_and_sd([0.5, 0.7], 2)
    '0.60 ± 0.14'
    """
    if not values:
        return MISSING
    mean = f"{statistics.mean(values):.{decimals}f}"
    return f"{mean} ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else mean


def mean_percentage(values: Sequence[float]) -> str:
    """Return the mean with two significant digits, so that ``0`` means that all values are 0."""
    return f"{statistics.mean(values):.2g}" if values else MISSING


def median(values: Sequence[float], decimals: int) -> str:
    """Return the median of ``values``, or a dash where there are none."""
    return f"{statistics.median(values):.{decimals}f}" if values else MISSING


def markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; its first column is aligned to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    text = ""
    for row in (headings, rule, *lines):
        cells = [cell.replace("|", r"\|") for cell in row]
        text += f"| {' | '.join(cells)} |\n"
    return text


def measured_on(rows: Sequence[Row]) -> str:
    """Return a sentence that names the machines, the versions of torch and the days of ``rows``."""
    machines = sorted({row["machine"] for row in rows})
    versions = sorted({row["torch"] for row in rows})
    days = sorted({row["date"] for row in rows})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Measured on {'; '.join(machines)}; torch {', '.join(versions)}; {when}."


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """Write ``sections`` under ``title`` as one Markdown page."""
    write_text(path, "\n".join([f"# {title}\n", *sections]))


def _as_text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
