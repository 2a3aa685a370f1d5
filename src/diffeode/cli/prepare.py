"""The command ``diffeode prepare``: prepare one raw scan by the steps of a study's recipe."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from diffeode.cli.arguments import (
    add_orientation,
    add_overwrite,
    add_talk,
    add_threads,
    offer,
    path,
    positive,
    seed,
    with_examples,
)
from diffeode.cli.notes import print_notes, say
from diffeode.desk.delivery import delivered_whole, require_apart, require_new


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    prepare = commands.add_parser(
        "prepare",
        help="prepare one raw scan: find the brain, correct and scale intensities",
        description="Prepare one raw scan as a study's recipe does (docs/preparation.md lists the "
        "tools of each step): find the brain, remove the bias field, scale the intensities to [0, "
        "1], and, where a template is named, bring the scan into its space. OUT then holds "
        "image.nii.gz, mask.nii.gz, to_scan.txt (the affine from points of the image to points of "
        "SCAN) and, where there are labels, labels.nii.gz.",
        **with_examples(
            ("a whole head", "diffeode prepare head.nii.gz -o OUT"),
            (
                "a skull-stripped brain whose bias field was removed already",
                "diffeode prepare brain.nii.gz --brain nonzero --bias none -o OUT",
            ),
            (
                "a T2w in the space of ICBM152",
                "diffeode prepare T2w.nii.gz --modality T2w --template icbm152 -o OUT",
            ),
        ),
    )
    prepare.add_argument("scan", type=path, metavar="SCAN", help="the scan, a head or a brain")
    prepare.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the results"
    )
    for step, default, meaning in (
        ("brain", "mindgrab", "the tool that finds the brain; nonzero for a stripped scan"),
        ("bias", "n4", "the tool that removes the bias field, or none"),
        ("intensity", "robust", "the tool that scales the intensities"),
        ("template", "none", "the template into whose space the scan is brought, or none"),
        ("labels", "given", "the tool that finds structures; given for a label map of your own"),
    ):
        option = prepare.add_argument(
            f"--{step}",
            default=default,
            metavar="TOOL",
            help=f"{meaning} (default: %(default)s)",
        )
        offer(option, lambda step=step: _tools(step))
    prepare.add_argument(
        "--given-labels", type=path, metavar="FILE", help="the label map of SCAN, on its grid"
    )
    prepare.add_argument(
        "--is-scan",
        action="store_true",
        help="SCAN is a scan though its values look like those of a label map, which is refused "
        "otherwise",
    )
    prepare.add_argument(
        "--modality",
        default="T1w",
        metavar="SUFFIX",
        help="the contrast, a BIDS suffix (default: %(default)s)",
    )
    prepare.add_argument(
        "--spacing", type=positive, metavar="MM", help="voxel size of the result (default: as is)"
    )
    prepare.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="S",
        help="seed of the alignment to a template (default: %(default)s)",
    )
    add_threads(prepare)
    add_overwrite(prepare)
    add_talk(prepare)
    add_orientation(prepare)
    prepare.set_defaults(command=_prepare)


def _tools(step: str) -> tuple[str, ...]:
    from diffeode.prepare.registry import tool_names

    return (*tool_names(step), *(("none",) if step in ("bias", "template") else ()))


def _prepare(options: argparse.Namespace) -> None:
    from diffeode.desk.fetching import fetch_what_is_absent
    from diffeode.desk.preparing import OUTPUTS, prepare_scan

    results = [options.output / name for name in OUTPUTS]
    require_apart(results, [options.scan, options.given_labels])
    require_new(results, options.overwrite)
    if options.scan.is_file():  # otherwise the scan is refused, and nothing need be fetched
        fetch_what_is_absent({"brain": options.brain, "labels": options.labels}, say)
    with delivered_whole(options.output, OUTPUTS) as folder:
        # The tools print their progress, which is no result.
        with contextlib.redirect_stdout(None if options.quiet else sys.stderr):
            prepared = prepare_scan(
                options.scan,
                brain=options.brain,
                bias=options.bias,
                intensity=options.intensity,
                template=options.template,
                labels=options.labels,
                given_labels=options.given_labels,
                modality=options.modality,
                spacing_mm=options.spacing,
                orientation=options.orientation,
                threads=options.threads,
                seed=options.seed,
                is_scan=options.is_scan,
            )
        prepared.save(folder)
    print_notes(options, [], [result for result in results if result.is_file()])
