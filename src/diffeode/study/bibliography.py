"""The bibliography, ``config/references.bib``, and the search for the entries of a citation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.errors import InputError
from diffeode.files.presence import require_file
from diffeode.names import short

_LONGEST_KEY = 80
"""The largest number of characters of a key that messages show."""
_BEGINNING = re.compile(r"@(\w+)\{([\w:-]+),")
_WORD = re.compile(r"[^\W_]+")
_FIELD = re.compile(r"(\w+)\s*=\s*\{(.*)\},?")


@final
@dataclass(frozen=True)
class Entry:
    """One entry of a bibliography.

    Attributes:
        key: the key by which it is cited.
        text: the entry as it stands in the file.
        fields: the values of its fields by their names in lower case.
    """

    key: str
    text: str
    fields: dict[str, str]

    @property
    def doi(self) -> str:
        """The DOI, empty where there is none."""
        return self.fields.get("doi", "")

    @property
    def link(self) -> str:
        """The DOI as ``doi:...``, or the address where there is no DOI; empty where neither is."""
        return f"doi:{self.doi}" if self.doi else self.fields.get("url", "")

    def is_meant_by(self, citation: str) -> bool:
        """Return whether ``citation`` holds the title, or the short title, word by word."""
        titles = (self.fields.get(name, "") for name in ("title", "shorttitle"))
        return any(_words(title) in _words(citation) for title in titles if title)


def read_bibliography(path: Path | str) -> tuple[Entry, ...]:
    """Return every entry of a BibTeX file that has one field on each line.

    Raises:
        InputError: the file is missing, a line is neither the beginning of an entry, a field, an
            end nor a comment, an entry has no title, or two have one key.
    """
    require_file(path, "bibliography")
    entries: dict[str, Entry] = {}
    lines: list[str] = []
    fields: dict[str, str] = {}
    key = ""
    for number, line in enumerate(_lines(Path(path)), start=1):
        words = line.strip()
        beginning, field = _BEGINNING.fullmatch(words), _FIELD.fullmatch(words)
        if not key and (not words or words.startswith("%")):
            continue
        if beginning and not key:
            key, fields, lines = beginning[2], {}, []
        elif field and key:
            fields[field[1].lower()] = field[2]
        elif words != "}" or not key:
            raise InputError(
                f"Line {number} of {path} ({short(words)}) is neither the beginning of an entry "
                "nor a field nor its end; write one field a line."
            )
        lines.append(line)
        if words == "}":
            _require_good(key, fields, entries, path)
            entries[key] = Entry(key, "\n".join(lines), fields)
            key = ""
    if key:
        raise InputError(
            f"The entry {key[:_LONGEST_KEY]} of {path} has no end; add a line with a brace."
        )
    return tuple(entries.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8 (byte {error.start}); save it as such."
        ) from None


def cited_by(citations: Iterable[str], bibliography: Iterable[Entry]) -> list[Entry]:
    """Return the entries whose titles ``citations`` hold, each once, in the citations' order."""
    bibliography = tuple(bibliography)
    meant = (entry for text in citations for entry in bibliography if entry.is_meant_by(text))
    return list({entry.key: entry for entry in meant}.values())


def _require_good(
    key: str, fields: dict[str, str], entries: dict[str, Entry], path: Path | str
) -> None:
    if key in entries:
        raise InputError(
            f"{path} has two entries with the key {key[:_LONGEST_KEY]}; rename one of them."
        )
    if not fields.get("title"):
        raise InputError(f"The entry {key[:_LONGEST_KEY]} of {path} has no title; add one.")


def _words(text: str) -> str:
    """Return the words of ``text`` in lower case, with a blank before and after each."""
    return " ".join(["", *_WORD.findall(text.lower()), ""])
