"""The command ``diffeode weights``: list or download trained weights of other people's networks."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diffeode.cli.arguments import offer, with_examples
from diffeode.cli.progress import ProgressLine
from diffeode.cli.table import print_table
from diffeode.errors import InputError


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    weights = commands.add_parser(
        "weights",
        help="list or download the trained weights that steps and methods use",
        description="List the trained weights of other people's networks that the preparation and "
        "the methods use: what for, their size and licence, and whether they are here. 'diffeode "
        "weights get NAME' downloads weights and verifies their checksum.",
        **with_examples(
            ("which weights are here", "diffeode weights"),
            (
                "the network that 'register --brain' strips skulls by",
                "diffeode weights get meshnet-mindgrab",
            ),
        ),
    )
    weights.set_defaults(command=_weights)
    verbs = weights.add_subparsers(metavar="get")
    get = verbs.add_parser("get", help="download weights to the user's cache and verify them")
    names = get.add_argument(
        "names", nargs="+", metavar="NAME", help="a name that 'diffeode weights' lists"
    )
    offer(names, _names)
    get.set_defaults(command=_get_weights)


def _names() -> tuple[str, ...]:
    from diffeode.weights.catalogue import weights_names

    return weights_names()


def _weights(options: argparse.Namespace) -> None:
    from diffeode.weights.catalogue import load_weights, weights_names

    rows = [("WEIGHTS", "FOR", "MB", "HERE", "LICENCE", "SOURCE")]
    for name in weights_names():
        entry = load_weights(name)
        size = f"{entry.bytes / 1e6:.1f}" if entry.bytes else "unknown"
        rows.append((name, entry.purpose, size, _whereabouts(name), entry.licence, entry.urls[0]))
    print_table(rows)


def _whereabouts(name: str) -> str:
    from diffeode.weights.catalogue import find_weights, present

    path = present(name)
    if path is None:
        return "missing"
    try:
        return str(find_weights(name))
    except InputError:
        return f"wrong checksum: {path}"


def _get_weights(options: argparse.Namespace) -> None:
    from diffeode.weights.catalogue import load_weights
    from diffeode.weights.fetch import obtain

    for name in options.names:
        load_weights(name)
    for name in options.names:
        with ProgressLine(sys.stderr) as progress:
            path = obtain(name, progress)
        print(path)
