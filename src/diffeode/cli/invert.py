"""The command ``diffeode invert``: write the map back of a transform."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import (
    add_orientation,
    add_overwrite,
    add_talk,
    path,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import require_apart, require_new


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    invert = commands.add_parser(
        "invert",
        help="write the map back of a transform",
        description="Write the inverse of TRANSFORM. Where TRANSFORM sends points of the fixed "
        "scan to points of the moving scan, the result sends points of the moving scan to points "
        "of the fixed scan. It is exact for an affine; for a displacement field it is found at "
        "every voxel of the moving scan, to 0.001 mm.",
        **with_examples(
            ("an affine", "diffeode invert affine.txt -o back.txt"),
            (
                "a displacement field",
                "diffeode invert warp.nii.gz --reference moving.nii.gz -o back.nii.gz",
            ),
        ),
    )
    invert.add_argument(
        "transform", type=path, metavar="TRANSFORM", help="a displacement field or an affine"
    )
    invert.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        metavar="FILE",
        help=".nii.gz for a displacement field, .txt, .tfm or .mat for an affine, .h5 for either",
    )
    invert.add_argument(
        "--reference",
        type=path,
        metavar="MOVING",
        help="the moving scan, on whose grid the inverse of a field lies",
    )
    add_overwrite(invert)
    add_talk(invert)
    add_orientation(invert)
    invert.set_defaults(command=_invert)


def _invert(options: argparse.Namespace) -> None:
    from diffeode.desk.transforming import invert_file
    from diffeode.files.transforms import require_writable_name

    require_writable_name(options.output)
    require_apart([options.output], [options.transform, options.reference])
    require_new([options.output], options.overwrite)
    notes = invert_file(options.transform, options.output, options.reference, options.orientation)
    print_notes(options, notes, [options.output])
