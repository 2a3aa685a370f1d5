"""``diffeode apply``: a scan or label map through a map found before."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import path
from diffeode.errors import InputError


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    apply = commands.add_parser("apply", help="resample a scan or label map through a map found before")
    apply.add_argument("warp", type=path, metavar="WARP", help="an ITK displacement field, such as OUT/warp.nii.gz")
    apply.add_argument("moving", type=path, metavar="MOVING", help="the scan or label map to resample, once")
    apply.add_argument("-o", "--output", type=path, required=True, metavar="FILE", help="the NIfTI file to write")
    apply.add_argument("--reference", type=path, metavar="FIXED", help="lie on this scan's grid instead of the map's")
    apply.add_argument("--labels", action="store_true", help="MOVING is a label map: nearest neighbour")
    apply.set_defaults(command=_apply)


def _apply(options: argparse.Namespace) -> None:
    from diffeode import io
    from diffeode.transform import warp_image, warp_labels

    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{options.output} is no name for a NIfTI file; end it in .nii.gz.")
    warp = io.read_displacement(options.warp)
    grid = io.read_image(options.reference).grid if options.reference else warp.grid
    if options.labels:
        io.write_labels(options.output, warp_labels(io.read_labels(options.moving), warp, grid))
    else:
        io.write_image(options.output, warp_image(io.read_image(options.moving), warp, grid))
