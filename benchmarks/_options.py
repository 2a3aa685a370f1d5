"""Options that several benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path

from _comparisons import REPOSITORY, data_folder


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of the scans."""
    parser.add_argument(
        "--data", type=Path, default=data_folder(), help="default $DIFFEODE_DATA or ../shared/data"
    )


def add_work(parser: argparse.ArgumentParser, name: str, held: str) -> None:
    """Add ``--work``, the folder of what is kept from one call to the next, and what it holds."""
    parser.add_argument("--work", type=Path, default=REPOSITORY / "results" / name, help=held)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--results``, the folder of the tables."""
    parser.add_argument(
        "--results", type=Path, default=REPOSITORY / "benchmarks" / "results", help="tables"
    )
