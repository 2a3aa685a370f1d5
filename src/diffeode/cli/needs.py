"""``diffeode needs``: what a study needs, and what of it is missing here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diffeode.cli.arguments import path
from diffeode.cli.table import print_table
from diffeode.errors import InputError
from diffeode.files.presence import why_no_file


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    needs = commands.add_parser(
        "needs",
        help="list the datasets, programs, weights and packages that a study needs, what is "
        "missing, and how to get it",
    )
    needs.add_argument("study", type=path, metavar="STUDY", help="config/paper.yaml")
    needs.set_defaults(command=_needs)


def _needs(options: argparse.Namespace) -> None:
    from diffeode.study.needs import needs_of

    needs = needs_of(options.study, repository_of(options.study))
    rows = [(need.kind, need.name, "missing" if need.problem else "here") for need in needs]
    print_table([("KIND", "NAME", "STATE"), *rows])
    problems = [need.problem for need in needs if need.problem]
    if problems:
        print("", *problems, sep="\n")
        raise InputError(
            f"{len(problems)} of the {len(needs)} things that {options.study} needs are missing; "
            "docs/needs.md says where each comes from."
        )


def repository_of(study: Path) -> Path:
    """The checkout that a study's file lies in.

    Raises:
        InputError: the file is missing, or lies in no checkout.
    """
    if reason := why_no_file(study, "study"):
        raise InputError(f"{reason}; name a file of config.")
    for folder in study.resolve().parents:
        if (folder / "config" / "datasets").is_dir():
            return folder
    raise InputError(f"{study} lies in no checkout of diffeode (config/datasets is missing).")
