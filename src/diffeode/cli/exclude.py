"""``diffeode exclude``: put the scans that a preparation flagged on a list of excluded scans."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import path, with_examples
from diffeode.cli.notes import say
from diffeode.cli.table import print_table
from diffeode.names import some


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    exclude = commands.add_parser(
        "exclude",
        help="put the scans that a study's preparation flagged on a dataset's list of excluded "
        "scans",
        description="Add the scans that TABLE flags to LIST, each with its flags as the reason, so "
        "that studies leave them out. docs/preparation.md says what is flagged.",
        **with_examples(
            (
                "what the study paper flagged in OASIS-3",
                "diffeode exclude results/studies/paper/quality/oasis3/preparation.tsv --to "
                "config/exclusions/oasis3.tsv",
            ),
        ),
    )
    exclude.add_argument(
        "tables",
        type=path,
        nargs="+",
        metavar="TABLE",
        help="results/studies/STUDY/quality/DATASET/preparation.tsv, which says of each scan what "
        "is out of the ordinary",
    )
    exclude.add_argument(
        "--to",
        type=path,
        required=True,
        metavar="LIST",
        help="the list that the dataset's file names (exclude: ...); its rows are kept",
    )
    exclude.add_argument(
        "--keep",
        type=path,
        metavar="LIST",
        help="a table with columns scan and reason of subjects, sessions (01_ses-02) and scans "
        "that are used though they are flagged",
    )
    exclude.set_defaults(command=_exclude)


def _exclude(options: argparse.Namespace) -> None:
    from diffeode.datasets.exclusions import (
        add_exclusions,
        flagged,
        names_of_nobody,
        read_exclusions,
    )

    spared = read_exclusions(options.keep) if options.keep else frozenset()
    if unknown := names_of_nobody(spared, options.tables):
        say(
            f"No person, visit or scan in the tables is called {some(unknown)}, as {options.keep} "
            "says; correct that list where it means one of them."
        )
    added = add_exclusions(options.to, flagged(options.tables, spared))
    if added:
        print_table([("SCAN", "REASON"), *((new.scan, new.reason) for new in added)])
    print(f"{len(added)} scans were added to {options.to}.")
