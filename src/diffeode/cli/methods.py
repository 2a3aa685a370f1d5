"""The command ``diffeode methods``: list every named run, and whether it can run here."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import with_examples
from diffeode.cli.table import print_table
from diffeode.desk import DEFAULT_RUN


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    methods = commands.add_parser(
        "methods",
        help="list every named run, what it needs and whether it can run here",
        description="List every named run: its method, its title, what it needs, and whether it "
        "can run here, or why not. 'diffeode register --method RUN' takes these names.",
        **with_examples(
            ("which runs can run here, and why others cannot", "diffeode methods"),
            ("every parameter of every method", "diffeode methods --markdown"),
        ),
    )
    methods.add_argument(
        "--markdown",
        action="store_true",
        help="print docs/methods.md instead, with every parameter",
    )
    methods.set_defaults(command=_methods)


def _methods(options: argparse.Namespace) -> None:
    from diffeode.registration.page import methods_page, rows_here

    if options.markdown:
        print(methods_page(), end="")
    else:
        print_table(
            [
                (f"{run} (default)" if run == DEFAULT_RUN else run, *rest)
                for run, *rest in rows_here()
            ]
        )
