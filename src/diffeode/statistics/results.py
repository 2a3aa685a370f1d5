"""What a study left in its folder, as the page of the papers reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any, final

import pandas as pd

from diffeode.errors import InputError
from diffeode.files.presence import require_file
from diffeode.files.tables import read_words

_ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)


@final
@dataclass(frozen=True)
class Results:
    """What a study left in its folder.

    Attributes:
        title: the title of the study.
        folder: ``results/studies/<name>``.
        command: the command that runs the study.
        known: titles of methods by the names of their runs, for those that the study has not.
    """

    title: str
    folder: Path
    command: str
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """Whether the study has been run."""
        return (self.folder / "metrics.tsv").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the study as texts.

        Raises:
            InputError: the study has no such table, or the file is damaged.
        """
        return read_words(self.folder / "tables" / f"{name}.tsv")

    @cached_property
    def titles(self) -> dict[str, str]:
        """Titles of experiments and methods by their names.

        The rows of ``summary.html`` hold the titles, and those of ``summary.tsv`` the names.

        Raises:
            InputError: one of both tables is missing, or they have not the same rows.
        """
        names = self.table("summary")
        shown = [
            (*_CELL.findall(title), *_CELL.findall(row))
            for title, row in rows_under_titles(self.page("summary"))
        ]
        found = dict(self.known)
        if len(shown) != len(names):
            raise InputError(
                f"{self.folder}/tables/summary.html has {len(shown)} rows and summary.tsv "
                f"{len(names)}; have the study make both again."
            )
        for (experiment, run), cells in zip(
            names[["experiment", "run"]].itertuples(index=False), shown, strict=True
        ):
            found |= {experiment: unescape(cells[0]), run: unescape(cells[1])}
        return found

    @property
    def data(self) -> str:
        """The experiments, each with its number of pairs."""
        pairs = self.table("summary").groupby("experiment", sort=False)["pairs"].first()
        return "; ".join(
            f"{self.titles.get(name, name)}, {_pairs(number)}" for name, number in pairs.items()
        )

    def page(self, name: str) -> str:
        """Return the page of a table as HTML.

        Raises:
            InputError: the study has no such page.
        """
        file = self.folder / "tables" / f"{name}.html"
        require_file(file, "table")
        return file.read_text(encoding="utf-8")


def rows_under_titles(table: str) -> list[tuple[str, str]]:
    """Return the rows below the head of a table of a study, each after the row that holds the title
    of its experiment; that is empty where the experiments have a column.
    """
    title, found = "", []
    for row in _ROW.findall(table)[1:]:
        if row.startswith('<tr class="experiment">'):
            title = row
        else:
            found.append((title, row))
    return found


def _pairs(number: Any) -> str:
    return f"{number} pair{'' if str(number) == '1' else 's'}"
