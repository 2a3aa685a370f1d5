"""The command ``diffeode jacobian``: write how much a map enlarges each voxel, and its folds."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import (
    NIFTI,
    add_orientation,
    add_overwrite,
    add_talk,
    path,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import require_apart, require_new
from diffeode.errors import InputError


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    jacobian = commands.add_parser(
        "jacobian",
        help="write how much a map enlarges each voxel, and where it folds",
        description="Write the natural logarithm of the Jacobian determinant |J| of a map, at each "
        "voxel of the fixed scan, and print the smallest and the largest |J|, the SD of its "
        "logarithm and the share that folds. |J| is the factor by which the map from the fixed to "
        "the moving scan enlarges a small volume: the logarithm is above 0 where the moving scan "
        "is larger, and NaN where the map folds (|J| <= 0).",
        **with_examples(
            ("log |J|", "diffeode jacobian OUT/warp.nii.gz -o logjacobian.nii.gz"),
            (
                "without the affine, and where it folds",
                "diffeode jacobian OUT/warp.nii.gz --affine OUT/affine.txt --folds folds.nii.gz "
                "-o logjacobian.nii.gz",
            ),
        ),
    )
    jacobian.add_argument(
        "transform", type=path, metavar="WARP", help="a displacement field or an affine"
    )
    jacobian.add_argument(
        "-o", "--output", type=path, required=True, metavar="FILE", help="the NIfTI file to write"
    )
    jacobian.add_argument(
        "--determinant", action="store_true", help="write |J| itself, not its logarithm"
    )
    jacobian.add_argument(
        "--folds",
        type=path,
        metavar="FILE",
        help="write a mask of the voxels that fold, by central or one-sided differences, too",
    )
    jacobian.add_argument(
        "--affine",
        type=path,
        metavar="FILE",
        help="the affine alignment that the map includes, to leave it out of |J|",
    )
    jacobian.add_argument(
        "--reference",
        type=path,
        metavar="FIXED",
        help="the scan on whose grid |J| is taken (default: the map's grid)",
    )
    add_overwrite(jacobian)
    add_talk(jacobian)
    add_orientation(jacobian)
    jacobian.set_defaults(command=_jacobian)


def _jacobian(options: argparse.Namespace) -> None:
    from diffeode.desk.transforming import jacobian_files

    results = [options.output, *([options.folds] if options.folds else [])]
    for result in results:
        if not result.name.endswith(NIFTI):
            raise InputError(f"{result} is no name for a NIfTI file; end it in .nii.gz.")
    if len({result.resolve() for result in results}) < len(results):
        raise InputError(f"{options.output} cannot hold both results; give --folds another name.")
    require_apart(results, [options.transform, options.affine, options.reference])
    require_new(results, options.overwrite)
    summary, notes = jacobian_files(
        options.transform,
        options.output,
        folds=options.folds,
        determinant=options.determinant,
        affine=options.affine,
        reference=options.reference,
        orientation=options.orientation,
    )
    if not options.quiet:
        print(summary)
    print_notes(options, notes, results)
