"""``diffeode needs``: what studies need, and what of it is missing here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diffeode.bids_app.repository import checkout_around, find_repository
from diffeode.cli.arguments import path, with_examples
from diffeode.cli.table import print_table
from diffeode.errors import InputError
from diffeode.files.presence import why_no_file


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    needs = commands.add_parser(
        "needs",
        help="list the datasets, tools and runs of studies, which of them lack something here, and "
        "how to get it",
        description="List the datasets, the tools of preparation and the runs of each STUDY, and "
        "say of each whether all that it needs is here: scans, programs, packages and weights. "
        "What several studies need stands in the list once. Where something is missing, a sentence "
        "says how to get it, and the exit code is 2.",
        **with_examples(
            ("what the demo needs, in a clone", "diffeode needs config/config.yaml"),
            ("two studies", "diffeode needs config/config.yaml config/small/paper.yaml"),
        ),
    )
    needs.add_argument(
        "studies",
        type=path,
        nargs="+",
        metavar="STUDY",
        help="the file of a study, such as config/paper.yaml, or OUT/code/TASK/study.yaml of "
        "'diffeode study'",
    )
    needs.set_defaults(command=_needs)


def _needs(options: argparse.Namespace) -> None:
    from diffeode.study.needs import merged, needs_of

    studies = list(dict.fromkeys(options.studies))
    needs = merged(need for study in studies for need in needs_of(study, repository_of(study)))
    rows = [(need.kind, need.name, "missing" if need.problem else "here") for need in needs]
    print_table([("KIND", "NAME", "STATE"), *rows])
    problems = [need.problem for need in needs if need.problem]
    if problems:
        print("", *problems, sep="\n")
        who = f"{studies[0]} needs" if len(studies) == 1 else f"these {len(studies)} studies need"
        raise InputError(
            f"{len(problems)} of the {len(needs)} things that {who} are missing; docs/needs.md "
            "says where each comes from."
        )


def repository_of(study: Path) -> Path:
    """Return the folder by whose ``config`` a study's file is read: the checkout that it lies in
    or, for a file elsewhere, what is installed.

    Raises:
        InputError: the file is missing, or it lies in no checkout and no workflow is installed.
    """
    if reason := why_no_file(study, "study"):
        raise InputError(
            f"{reason}; name the file of a study, such as config/paper.yaml in a clone or "
            "OUT/code/TASK/study.yaml of 'diffeode study'."
        )
    return checkout_around(study.resolve().parent) or find_repository()
