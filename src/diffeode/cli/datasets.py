"""The command ``diffeode datasets``: list what is here of every dataset, and how to get the
rest.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from diffeode.bids_app.repository import checkout_around, find_repository
from diffeode.cli.arguments import offer, with_examples


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    datasets = commands.add_parser(
        "datasets",
        help="list every dataset: what is here, what is missing, and how to get it",
        description="List every dataset of the studies: where it is looked for, how many persons "
        "and scans are there, and how to get what is missing.",
        **with_examples(
            ("all of them", "diffeode datasets"),
            ("everything about one", "diffeode datasets virtual"),
        ),
    )
    name = datasets.add_argument(
        "name", nargs="?", metavar="NAME", help="tell everything about this dataset"
    )
    offer(name, _names)
    datasets.set_defaults(command=_datasets)


def _names() -> list[str]:
    from diffeode.study.inventory import dataset_names

    return dataset_names(_repository())


def _datasets(options: argparse.Namespace) -> None:
    from diffeode.study.inventory import description, overview_of_all, take_inventory

    repository = _repository()
    if options.name is None:
        lines = overview_of_all(repository)
    else:
        lines = description(take_inventory(options.name, repository))
    print(*lines, sep="\n")


def _repository() -> Path:
    """Return the checkout that the working folder lies in or, elsewhere, what is installed."""
    return Path(os.path.relpath(checkout_around(Path.cwd()) or find_repository()))
