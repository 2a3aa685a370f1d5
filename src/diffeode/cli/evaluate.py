"""The command ``diffeode evaluate``: measure a map that was found before."""

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
from diffeode.cli.table import print_table
from diffeode.desk.delivery import require_apart, require_new
from diffeode.errors import InputError

_SUFFIXES = (".json", ".tsv")
_EXAMPLES = (
    (
        "folds and similarity",
        "diffeode evaluate OUT/warp.nii.gz fixed.nii.gz moving.nii.gz",
    ),
    (
        "all metrics, to a file",
        "diffeode evaluate OUT/warp.nii.gz fixed.nii.gz moving.nii.gz --inverse "
        "OUT/inverse_warp.nii.gz --fixed-labels fixed_dseg.nii.gz --labels "
        "moving_dseg.nii.gz -o metrics.json",
    ),
    (
        "a picture of the contours before and after, and of the overlap of each label",
        "diffeode evaluate OUT/warp.nii.gz fixed.nii.gz moving.nii.gz --fixed-labels "
        "fixed_dseg.nii.gz --labels moving_dseg.nii.gz --picture overlap.png",
    ),
)


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a map: overlap, landmarks, folds, consistency",
        description="Measure a map from FIXED to MOVING: Dice and HD95 of label maps, errors at "
        "landmarks, folds, non-diffeomorphic volume (NDV) and SD of log |J| of the map and of the "
        "map back, inverse consistency, and mutual information (docs/metrics.md says what each "
        "is). The table is printed, or written to a file; a picture shows it.",
        **with_examples(*_EXAMPLES),
    )
    evaluate.add_argument(
        "transform",
        type=step,
        metavar="WARP",
        help="the map from points of FIXED to points of MOVING; [FILE,inverse] for the inverse of "
        "FILE",
    )
    evaluate.add_argument("fixed", type=path, metavar="FIXED", help="the fixed scan")
    evaluate.add_argument("moving", type=path, metavar="MOVING", help="the moving scan")
    evaluate.add_argument(
        "-o",
        "--output",
        type=path,
        metavar="FILE",
        help="write the metrics to this file, .json or .tsv, instead of printing them",
    )
    evaluate.add_argument(
        "--picture",
        type=path,
        metavar="FILE",
        help="draw contours before and after the map and the errors of each label and landmark to "
        "this file, .png, .svg or .pdf; before the map, the images lie as --affine or, without it, "
        "their headers say",
    )
    _add_measured(evaluate)
    add_overwrite(evaluate)
    add_talk(evaluate)
    add_orientation(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _add_measured(evaluate: argparse.ArgumentParser) -> None:
    """Add what is measured besides the map: the map back, label maps, landmarks and a mask."""
    evaluate.add_argument(
        "--inverse",
        type=path,
        metavar="FILE",
        help="the map back, on the grid of MOVING, to measure it and the inverse consistency",
    )
    evaluate.add_argument(
        "--affine",
        type=path,
        metavar="FILE",
        help="the affine alignment that the map includes, to leave it out of folds and |J|",
    )
    evaluate.add_argument(
        "--fixed-labels", type=path, metavar="FILE", help="label map of FIXED, on its grid"
    )
    evaluate.add_argument(
        "--labels", type=path, metavar="FILE", help="label map of MOVING, on its grid"
    )
    evaluate.add_argument(
        "--fixed-landmarks",
        type=path,
        metavar="FILE",
        help="named points of FIXED: a table with columns name, x, y, z (RAS mm; of slices name, "
        "x, y, in pixels), .fcsv or .mrk.json",
    )
    evaluate.add_argument(
        "--landmarks", type=path, metavar="FILE", help="the same points of MOVING, by name"
    )
    evaluate.add_argument(
        "--mask",
        type=path,
        metavar="FILE",
        help="where folds are measured, on the grid of FIXED (default: its foreground); the "
        "similarity is measured there and where the warped MOVING shows something",
    )


def _evaluate(options: argparse.Namespace) -> None:
    from diffeode.desk.landmarks import load_points
    from diffeode.desk.measuring import evaluate, write_evaluation
    from diffeode.desk.transform import load_chain, load_transform

    out = options.output
    if out is not None and not out.name.endswith(_SUFFIXES):
        raise InputError(f"{out} is no name for metrics; end it in .json or .tsv.")
    results = [file for file in (out, options.picture) if file is not None]
    require_apart(results, _read_by(options))
    require_new(results, options.overwrite)
    others = {
        name: None if file is None else load_transform(file)
        for name, file in (("inverse", options.inverse), ("affine", options.affine))
    }
    points = {
        name: None
        if file is None
        else load_points(file, scan=scan, orientation=options.orientation)
        for name, file, scan in (
            ("fixed_landmarks", options.fixed_landmarks, options.fixed),
            ("landmarks", options.landmarks, options.moving),
        )
    }
    found = evaluate(
        load_chain([options.transform]),
        options.fixed,
        options.moving,
        fixed_labels=options.fixed_labels,
        labels=options.labels,
        mask=options.mask,
        orientation=options.orientation,
        picture=options.picture,
        overwrite=options.overwrite,
        **others,
        **points,
    )
    if out is None:
        print_table([("METRIC", "VALUE"), *found.in_words()])
    else:
        write_evaluation(found, out)
    print_notes(options, found.notes, results)


def _read_by(options: argparse.Namespace) -> list[Any]:
    names = ("fixed", "moving", "inverse", "affine", "fixed_labels", "labels", "mask")
    points = ("fixed_landmarks", "landmarks")
    return [options.transform[0], *(getattr(options, name) for name in (*names, *points))]
