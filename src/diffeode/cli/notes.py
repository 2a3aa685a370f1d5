"""Print what a user should know of a result to standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path


def say(line: str) -> None:
    """Print a line that a user must see, whatever was asked for."""
    print(f"diffeode: {line}", file=sys.stderr, flush=True)


def print_notes(
    options: argparse.Namespace, notes: Iterable[str], written: Iterable[Path] = ()
) -> None:
    """Print ``notes``, unless ``--quiet`` was given, and with ``--verbose`` the files that were
    written.
    """
    if not options.quiet:
        for note in dict.fromkeys(notes):
            print(f"diffeode: {note}", file=sys.stderr)
    if options.verbose:
        for path in written:
            print(f"diffeode: wrote {path}", file=sys.stderr)
