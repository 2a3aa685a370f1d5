"""The pages of the repository: their blocks of code, their links, their headings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md"),
    *("config/README.md", "envs/README.md", "results/README.md", "workflow/profiles/README.md"),
    *("benchmarks/README.md", "benchmarks/results/*.md"),
)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)``` *$",
    re.S | re.M,
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]+`")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the path of the page, from the root of the repository.
        line: the number of the line at which the block begins, from 1.
        language: the word behind the fence.
        title: the file that the block is to be written to, where it names one.
    """

    page: str
    line: int
    language: str
    title: str | None
    text: str

    @property
    def place(self) -> str:
        """The page and the line, as editors write them."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a block of the shell, without its comments."""
        joined = self.text.replace("\\\n", " ")
        split = (shlex.split(line, comments=True) for line in joined.splitlines())
        return [words for words in split if words]


@dataclass(frozen=True)
class MarkdownPage:
    """A page, by its path from the root of the repository."""

    path: str

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return (REPOSITORY / self.path).read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """The fenced blocks, in order."""
        return [
            Block(
                self.path,
                self.text.count("\n", 0, found.start()) + 1,
                found["language"],
                found["title"],
                re.sub(f"^{found['indent']}", "", found["text"], flags=re.M),
            )
            for found in _FENCE.finditer(self.text)
        ]

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def links(self) -> list[str]:
        """The targets of all links and pictures."""
        return _LINK.findall(_CODE.sub("code", self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """The names by which links reach the headings."""
        found: dict[str, int] = {}
        names = set()
        for heading in _HEADING.findall(self.prose):
            words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            names.add(f"{words}-{found[words]}" if words in found else words)
            found[words] = found.get(words, 0) + 1
        return names


def all_pages() -> list[MarkdownPage]:
    """Return every page that the site shows."""
    paths = {path for pattern in _PAGES for path in REPOSITORY.glob(pattern)}
    return [MarkdownPage(path.relative_to(REPOSITORY).as_posix()) for path in sorted(paths)]
