"""Options that several benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from _comparisons import REPOSITORY, data_folder


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
