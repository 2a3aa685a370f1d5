"""The command ``diffeode apply``: resample a scan or label map through a map found before."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diffeode.cli.arguments import add_orientation, path
from diffeode.cli.delivery import require_apart
from diffeode.errors import InputError


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    apply = commands.add_parser(
        "apply", help="resample a scan or label map through a map found before"
    )
    apply.add_argument(
        "warp", type=path, metavar="WARP", help="an ITK displacement field, such as OUT/warp.nii.gz"
    )
    apply.add_argument(
        "moving", type=path, metavar="MOVING", help="the scan or label map to resample"
    )
    apply.add_argument(
        "-o", "--output", type=path, required=True, metavar="FILE", help="the NIfTI file to write"
    )
    apply.add_argument(
        "--reference",
        type=path,
        metavar="FIXED",
        help="put the result on the grid of this scan instead of the map's grid",
    )
    apply.add_argument(
        "--labels",
        action="store_true",
        help="MOVING is a label map, so resample it by nearest neighbour",
    )
    add_orientation(apply)
    apply.set_defaults(command=_apply)


def _apply(options: argparse.Namespace) -> None:
    from diffeode.desk.applying import apply_at_desk

    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{options.output} is no name for a NIfTI file; end it in .nii.gz.")
    require_apart([options.output], [options.warp, options.moving, options.reference])
    notes = apply_at_desk(
        options.warp,
        options.moving,
        options.output,
        reference=options.reference,
        labels=options.labels,
        orientation=options.orientation,
    )
    for note in notes:
        print(f"diffeode: {note}", file=sys.stderr)
