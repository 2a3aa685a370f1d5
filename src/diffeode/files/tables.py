"""Tables of tab-separated or comma-separated cells: the one place where they are read and checked.

Every cell is read as the text that the file holds, so that names such as ``007``, ``1e5`` or ``NA``
stay what they are. Only columns that the caller declares as numbers are converted to numbers. What
is wrong with a table is said in one sentence with the file, the line and the column.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from diffeode.errors import InputError, first_line
from diffeode.files.io import written_whole
from diffeode.files.presence import require_file
from diffeode.names import nearest, short, suggestion

_LONGEST_NAME = 80
_LONGEST_REASON = 200
_LARGEST_WORKBOOK = 500 * 2**20
_WORKBOOKS = (".xls", ".xlsx")
_SEPARATORS = {".tsv": "\t", ".csv": ","}
SUFFIXES = (".csv", ".tsv", *_WORKBOOKS)
"""Endings of the names of the tables that :func:`read_words` reads."""

_TOO_MANY_CELLS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


@final
@dataclass(frozen=True)
class Kind:
    """The kind of cells that a column holds.

    Attributes:
        wanted: what a cell must be, in words for messages.
        fits: returns which cells of a series of texts are of this kind, a series of bools.
        values: returns the cells as values.
        choices: all texts that a cell may hold, where they can be listed.
    """

    wanted: str
    fits: Callable[[pd.Series], pd.Series]
    values: Callable[[pd.Series], pd.Series] = lambda cells: cells
    choices: tuple[str, ...] = ()


def _numbers(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(cells, errors="coerce")


def _is_number_or_missing(cells: pd.Series) -> pd.Series:
    return cells.str.lower().isin(("", "nan")) | _numbers(cells).notna()


def _any(cells: pd.Series) -> pd.Series:
    return pd.Series(True, index=cells.index)


def _is_finite(cells: pd.Series) -> pd.Series:
    return np.isfinite(_numbers(cells))


TEXT = Kind("a text", _any)
NAME = Kind("a name", lambda cells: cells.str.strip() != "")
NUMBER = Kind("a finite number", _is_finite, _numbers)
NUMBER_OR_EMPTY = Kind("a number, or nothing", _is_number_or_missing, _numbers)
ID = Kind(
    "a whole number from 1 on",
    # More digits would not fit into 64 bits.
    lambda cells: cells.str.fullmatch("[1-9][0-9]{0,17}"),
    lambda cells: cells.astype(int),
)


def one_of(*words: str) -> Kind:
    """Return the kind of a column in which each cell is one of ``words``."""
    wanted = f"one of {', '.join(words)}"
    return Kind(wanted, lambda cells: cells.isin(words), choices=words)


def read_table(
    path: Path | str,
    columns: Mapping[str, Kind],
    what: str = "table",
    unique: Sequence[str] = (),
    comments: bool = False,
    optional: Collection[str] = (),
) -> pd.DataFrame:
    """Return the ``columns`` of the tab-separated table at ``path``, in the given order.

    Other columns are left out. Line ends of any system, a byte order mark and lines without content
    make no difference.

    Args:
        columns: the kind of each column by its name.
        what: what messages call the file.
        unique: columns in which no value may be there twice.
        comments: whether lines that begin with ``#`` are left out.
        optional: those of ``columns`` that the table may lack.

    Raises:
        InputError: the file is missing, empty or not text in UTF-8; a column is missing or there
            twice; a line has more or fewer cells than there are columns; or a cell is not of the
            kind of its column.
    """
    path = Path(path)
    text = _text(path, what)
    if comments:
        text = re.sub(r"(?m)^#.*$", "", text)
    cells = _cells(text, "\t", path)
    _require_tabs(text, path, what)
    columns = {
        name: kind for name, kind in columns.items() if name in cells or name not in optional
    }
    require_columns(cells, list(columns), path)
    _require_whole_lines(text, len(cells.columns), path)
    _require_one_line_a_cell(cells, text, path)
    for column in unique:
        _require_unique(cells[column], column, text, path)
    return _values(cells, columns, text, path)


def read_numbers(
    path: Path | str, what: str = "table", texts: Collection[str] = ()
) -> pd.DataFrame:
    """Return all columns of a tab-separated table that this program wrote.

    Args:
        what: what messages call the file.
        texts: the columns that hold texts; all others hold numbers, NaN where a cell is empty.

    Raises:
        InputError: as in :func:`read_table`.
    """
    path = Path(path)
    text = _text(path, what)
    cells = _cells(text, "\t", path)
    require_columns(cells, list(cells.columns), path)
    _require_whole_lines(text, len(cells.columns), path)
    kinds = {column: TEXT if column in texts else NUMBER_OR_EMPTY for column in cells.columns}
    return _values(cells, kinds, text, path)


def read_words(path: Path | str) -> pd.DataFrame:
    """Return all columns of a table that another program wrote, as texts.

    The file may be ``.csv``, ``.tsv``, or the first sheet of ``.xls`` or ``.xlsx``. Cells that are
    missing at the end of a line are empty.

    Raises:
        InputError: the table is missing, empty, of another kind or unreadable.
    """
    path = Path(path)
    require_file(path, "table")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no table that can be read; give one of {', '.join(SUFFIXES)}.")
    if suffix in _WORKBOOKS:
        cells = _first_sheet(path)
    else:
        cells = _cells(_text(path, "table"), _SEPARATORS[suffix], path)
    return cells.reset_index(drop=True)


def require_columns(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise :class:`InputError` where ``table``, which was read from ``path``, lacks one of
    ``columns`` or has it twice.
    """
    for column in columns:
        if column not in table:
            found = ", ".join(" ".join(str(name).split())[:_LONGEST_NAME] for name in table.columns)
            meant = suggestion(column, table.columns)
            raise InputError(f"{path} has no column {short(column)}{meant}; it has: {found}.")
        if (table.columns == column).sum() > 1:
            raise InputError(f"{path} has the column {short(column)} twice; rename or remove one.")


def write_rows(path: Path | str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` as a tab-separated table, completely or not at all.

    A value that a row lacks becomes an empty cell.

    Raises:
        InputError: the folder cannot be written.
    """
    with (
        written_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
    ):
        table = csv.DictWriter(out, columns, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _text(path: Path, what: str) -> str:
    require_file(path, what)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path} cannot be read as a table (line {line} is not text in UTF-8); export it again "
            "in that encoding."
        ) from None
    if "\0" in text:
        raise InputError(
            f"{path} cannot be read as a table (it has bytes of value 0, which no text has); "
            "export it again as text in UTF-8."
        )
    # Messages count lines, so there must be one kind of line end.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cells(text: str, separator: str, path: Path) -> pd.DataFrame:
    """Return the cells of ``text``; they are empty where a line ends before its last column."""
    try:
        rows = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False
        )
    except pd.errors.EmptyDataError:
        rows = pd.DataFrame()
    except pd.errors.ParserError as error:
        raise InputError(_why_not_parsed(error, path)) from None
    return _below_header(rows, path)


def _first_sheet(path: Path) -> pd.DataFrame:
    try:
        _require_small(path)
        rows = pd.read_excel(path, header=None, dtype=str, keep_default_na=False)
    except InputError:
        raise
    except Exception as error:  # a damaged workbook breaks its readers in any way
        raise InputError(
            f"{path} cannot be read as a table ({first_line(error)[:_LONGEST_REASON]}); export it "
            "again."
        ) from None
    return _below_header(rows, path)


def _require_small(path: Path) -> None:
    """Raise :class:`InputError` where a workbook is an archive that holds far more than a table."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > _LARGEST_WORKBOOK:
        raise InputError(
            f"{path} holds {size // 2**20} MiB when it is unpacked, which no table of persons "
            "needs; export it as .tsv."
        )


def _below_header(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return ``rows`` without empty ones and without the first, which names the columns.

    pandas is not told of the header because it would rename a column that is there twice, and take
    a column without a name for an index. The index numbers the rows; the header is row 0.
    """
    if rows.empty:
        raise InputError(
            f"{path} is not a table: it is empty; write a line with the names of its columns first."
        )
    cells = rows.iloc[1:].set_axis(rows.iloc[0], axis="columns").rename_axis(columns=None)
    # Spreadsheets leave lines behind that hold separators alone.
    return cells[~(cells == "").all(axis="columns")]


def _why_not_parsed(error: pd.errors.ParserError, path: Path) -> str:
    found = _TOO_MANY_CELLS.search(str(error))
    if found is None:
        return (
            f"{path} cannot be read as a table (a quotation mark begins a cell and no other one "
            "ends it); remove or close it."
        )
    columns, line, cells = found.groups()
    return (
        f"{path} has too many cells in line {line} ({cells} for {columns} columns); remove the "
        "separators that are too many, or name the columns that are missing."
    )


def _require_tabs(text: str, path: Path, what: str) -> None:
    header = text.lstrip("\n").partition("\n")[0]
    if "\t" not in header and re.search("[,;]", header):
        raise InputError(
            f"{path} has no tabs in its first line {short(header)}, and a {what} has "
            "them between its columns; export it again with tabs."
        )


def _require_one_line_a_cell(cells: pd.DataFrame, text: str, path: Path) -> None:
    """Refuse cells of several lines: an unclosed quotation mark joins its line with the lines
    below.
    """
    if '"' not in text:
        return
    for column, values in cells.items():
        joined = values.str.contains("\n", regex=False)
        if joined.any():
            start = values[joined].iloc[0].partition("\n")[0]
            raise InputError(
                f"{path} has a cell of several lines in column {short(column)}, which begins with "
                f"{short(start)}; remove its quotation mark or its line break."
            )


def _require_whole_lines(text: str, columns: int, path: Path) -> None:
    """Refuse lines that are too short, such as the last one of a file that was cut.

    pandas would fill them up with empty cells.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.count("\t") + 1
        # A tab between quotation marks ends no cell; such lines are left to pandas.
        if cells < columns and '"' not in line and line.strip(" "):
            raise InputError(
                f"{path} has too few cells in line {number} ({cells} for {columns} columns); add "
                "those that are missing."
            )


def _values(
    cells: pd.DataFrame, columns: Mapping[str, Kind], text: str, path: Path
) -> pd.DataFrame:
    for column, kind in columns.items():
        wrong = ~kind.fits(cells[column]).astype(bool)
        if wrong.any():
            row = wrong.idxmax()
            cell = cells[column][row]
            remedy = nearest(cell, kind.choices) if kind.choices else f"; give {kind.wanted}"
            raise InputError(
                f"{path} has {short(cell)} in line {_line(text, row)}, column "
                f"{short(column)}{remedy}."
            )
    values = {column: kind.values(cells[column]) for column, kind in columns.items()}
    return pd.DataFrame(values, columns=list(columns)).reset_index(drop=True)


def _require_unique(cells: pd.Series, column: str, text: str, path: Path) -> None:
    repeated = cells.duplicated()
    if repeated.any():
        second = repeated.idxmax()
        first = (cells == cells[second]).idxmax()
        raise InputError(
            f"{path} lists {column} {short(cells[second])} twice, in lines "
            f"{_line(text, first)} and {_line(text, second)}; keep one row."
        )


def _line(text: str, row: int) -> int:
    """Return the line of the file, counted from 1, that holds row ``row``; the header is row 0."""
    lines = enumerate(text.split("\n"), start=1)
    with_content = [number for number, line in lines if line.strip(" ")]
    return with_content[row]
