"""The command ``diffeode train``: train a run whose network is learned."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diffeode.cli.arguments import (
    ALIGNMENT_OF_INIT,
    add_init,
    add_machine,
    add_orientation,
    names_of_runs,
    offer,
    path,
    with_examples,
)
from diffeode.cli.progress import ProgressLine
from diffeode.errors import InputError

_FIXED, _MOVING = "T2w", "T1w"
"""The contrasts of a BIDS dataset that are trained on unless others are named."""
_EXAMPLES = (
    (
        "OTMorph on everybody in a BIDS folder",
        "diffeode train otmorph --bids BIDS_DIR -o OUT",
    ),
    (
        "a registration by the weights that were trained",
        "diffeode register fixed.nii.gz moving.nii.gz --method otmorph --weights "
        "OUT/weights.safetensors -o REGISTERED",
    ),
)


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    train = commands.add_parser(
        "train",
        help="train a run whose network is learned",
        description="Train RUN on all pairs of different persons, in both directions where the "
        "method learns from both, and write weights.safetensors, the curves and the receipt to a "
        "folder. Persons are given as lists of skull-stripped scans, one per person and in the "
        "same order, or as a BIDS dataset. A training that was stopped goes on when the same "
        "command is given again.",
        **with_examples(*_EXAMPLES),
    )
    run = train.add_argument(
        "run", metavar="RUN", help="a named run; 'diffeode methods' says which are trained first"
    )
    offer(run, _trained_runs)
    train.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the training"
    )
    _add_scans(train)
    add_init(train, "align pairs affinely first, or trust the positions in the headers")
    add_orientation(train)
    add_machine(train)
    train.set_defaults(
        command=_train, when_interrupted="the same command goes on from the last checkpoint"
    )


def _add_scans(train: argparse.ArgumentParser) -> None:
    """Add the scans of the persons: lists of files, or a BIDS dataset."""
    train.add_argument(
        "--fixed", type=path, nargs="+", default=[], metavar="SCAN", help="one fixed scan a person"
    )
    train.add_argument(
        "--moving",
        type=path,
        nargs="+",
        default=[],
        metavar="SCAN",
        help="one moving scan a person",
    )
    train.add_argument(
        "--fixed-labels",
        type=path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="label maps of the scans in --fixed",
    )
    train.add_argument(
        "--moving-labels",
        type=path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="label maps of the scans in --moving",
    )
    train.add_argument(
        "--bids", type=path, metavar="FOLDER", help="a BIDS dataset instead of lists"
    )
    train.add_argument(
        "--fixed-modality",
        metavar="SUFFIX",
        help=f"contrast of the fixed scans in the BIDS dataset (default: {_FIXED})",
    )
    train.add_argument(
        "--moving-modality",
        metavar="SUFFIX",
        help=f"contrast of the moving scans in the BIDS dataset (default: {_MOVING})",
    )
    train.add_argument(
        "--subjects",
        nargs="+",
        metavar="SUB",
        help="persons of the BIDS dataset to train on (default: all)",
    )
    train.add_argument(
        "--spacing",
        type=float,
        metavar="MM",
        help="voxel size to which the scans are resampled (default: their own)",
    )
    train.add_argument(
        "--are-scans",
        action="store_true",
        help="the scans are scans though the values of some look like those of a label map, which "
        "is refused otherwise",
    )


def _trained_runs() -> list[str]:
    from diffeode.registration.runs import load_run

    return [name for name in names_of_runs() if load_run(name).is_trained_first]


def _require_one_source(options: argparse.Namespace) -> None:
    """Raise :class:`InputError` where a dataset and lists of scans are given, or what would count
    for the other one alone.
    """
    if options.bids and (options.fixed or options.moving):
        raise InputError(
            "Both a dataset and lists of scans are given; give either --bids or --fixed and "
            "--moving."
        )
    if options.bids and (options.fixed_labels or options.moving_labels):
        raise InputError(
            "--fixed-labels and --moving-labels belong to the scans of --fixed and --moving; with "
            "--bids, label maps are those beside the scans, so leave them out."
        )
    if options.subjects and not options.bids:
        raise InputError(
            "--subjects chooses persons of a BIDS dataset; with --fixed and --moving, list the "
            "scans of these persons alone."
        )
    if (options.fixed_modality or options.moving_modality) and not options.bids:
        raise InputError(
            "--fixed-modality and --moving-modality choose scans of a BIDS dataset; with --fixed "
            "and --moving, list the scans of these contrasts alone."
        )


def _train(options: argparse.Namespace) -> None:
    from diffeode.desk.training import persons_of_dataset, persons_of_files, train_at_desk
    from diffeode.figures.training_curves import training_curves
    from diffeode.learning.method_training import CRITERION, trained_method
    from diffeode.learning.training_files import CURVES
    from diffeode.registration.base import Machine, require_device
    from diffeode.registration.runs import load_run

    run = load_run(options.run)
    require_device(options.device)
    _require_one_source(options)
    if options.bids:
        modalities = (options.fixed_modality or _FIXED, options.moving_modality or _MOVING)
        wanted = trained_method(run).learns_from_labels
        chosen = (options.subjects, options.orientation, wanted)
        persons = persons_of_dataset(options.bids, *modalities, *chosen)
    else:
        labels = (options.fixed_labels, options.moving_labels)
        persons = persons_of_files(options.fixed, options.moving, *labels, options.orientation)
    with ProgressLine(sys.stderr) as progress:
        machine = Machine(options.threads, options.seed, options.device, progress=progress)
        alignment = ALIGNMENT_OF_INIT[options.init]
        train_at_desk(
            *(run, persons, options.output, machine, alignment, options.spacing),
            are_scans=options.are_scans,
        )
    title = f"{run.title}, {len(persons)} persons"
    training_curves(options.output / CURVES, title, options.output / "curves.png", CRITERION)
