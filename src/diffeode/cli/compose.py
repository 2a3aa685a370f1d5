"""The command ``diffeode compose``: write several transforms as one."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import (
    add_orientation,
    add_overwrite,
    add_talk,
    path,
    step,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import require_apart, require_new


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    compose = commands.add_parser(
        "compose",
        help="write several transforms as one",
        description="Join transforms into one. Points pass them in the order given: the first "
        "sends points of the fixed scan to points of a second scan, the next from there to a "
        "third one, and so on. (In Python, 'compose A B' is B @ A.)",
        **with_examples(
            (
                "from the fixed scan to the template, and from there to the moving scan",
                "diffeode compose fixed_to_template.txt template_to_moving.nii.gz --reference "
                "fixed.nii.gz -o fixed_to_moving.nii.gz",
            ),
            (
                "with the inverse of one of them",
                "diffeode compose first.txt '[second.txt,inverse]' -o both.txt",
            ),
        ),
    )
    compose.add_argument(
        "transforms",
        type=step,
        nargs="+",
        metavar="FILE|[FILE,inverse]",
        help="displacement fields and affines; [FILE,inverse] means the inverse of FILE",
    )
    compose.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        metavar="FILE",
        help=".nii.gz for a displacement field, .txt, .tfm or .mat for an affine, .h5 for either",
    )
    compose.add_argument(
        "--reference",
        type=path,
        metavar="FIXED",
        help="the fixed scan, on whose grid a field lies (default: the grid of the first field, "
        "where a field is the first transform)",
    )
    add_overwrite(compose)
    add_talk(compose)
    add_orientation(compose)
    compose.set_defaults(command=_compose)


def _compose(options: argparse.Namespace) -> None:
    from diffeode.desk.transforming import compose_files
    from diffeode.files.transforms import require_writable_name

    require_writable_name(options.output)
    require_apart([options.output], [*(file for file, _ in options.transforms), options.reference])
    require_new([options.output], options.overwrite)
    notes = compose_files(
        options.transforms, options.output, options.reference, options.orientation
    )
    print_notes(options, notes, [options.output])
