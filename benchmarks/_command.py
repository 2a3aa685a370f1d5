"""Options, and the answer to errors, that the commands of several benchmarks share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

from _comparisons import REPOSITORY, data_folder

from diffeode.errors import InputError, RegistrationError

Command = Callable[[Sequence[str] | None], int]
"""A function that runs a command line and returns the exit code."""


def explains_errors(command: Command) -> Command:
    """Return ``command`` with an answer to unusable input and to a pair that cannot be aligned.

    It prints the sentence of the error on standard error and returns 2.
    """

    @wraps(command)
    def explained(arguments: Sequence[str] | None = None) -> int:
        try:
            return command(arguments)
        except (InputError, RegistrationError) as error:
            print(error, file=sys.stderr)
            return 2

    return explained


def joined_names(text: str) -> tuple[str, ...]:
    """Return the names that ``text`` joins by commas.

    >>> joined_names("node,greedy")
    ('node', 'greedy')
    """
    return tuple(text.split(","))


def chosen_among(
    parser: argparse.ArgumentParser, kind: str, asked: Sequence[str], known: Sequence[str]
) -> Sequence[str]:
    """Return the names that were ``asked`` for, or all that are ``known`` where there are none.

    A name that is not known ends the command with a sentence. Argparse's own ``choices`` would
    refuse an empty list.

    Args:
        kind: the noun for one of the names, for that sentence.
    """
    if unknown := sorted(set(asked) - set(known)):
        parser.error(f"there is no {kind} {unknown[0]!r}; choose from {', '.join(known)}")
    return asked or known


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of the scans."""
    parser.add_argument(
        "--data",
        type=Path,
        default=data_folder(),
        help="folder of the scans (default $DIFFEODE_DATA or ../shared/data)",
    )


def add_work(parser: argparse.ArgumentParser, name: str, held: str) -> None:
    """Add ``--work``, the folder of files that are kept from one call to the next.

    Args:
        name: name of the default folder, below ``results``.
        held: the files that lie there, for the help.
    """
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / "results" / name, help=f"folder of {held}"
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--results``, the folder of the tables."""
    parser.add_argument(
        "--results",
        type=Path,
        default=REPOSITORY / "benchmarks" / "results",
        help="folder of the tables",
    )


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add the folders of a benchmark that registers prepared pairs: scans, pairs and tables."""
    add_data(parser)
    add_work(parser, "benchmark-pairs", "prepared pairs")
    add_results(parser)
