"""The command ``diffeode train-descriptor``: train the learned descriptor on scans and label
maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diffeode.cli.arguments import add_device, add_threads, path, with_examples
from diffeode.desk.delivery import require_apart


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    train = commands.add_parser(
        "train-descriptor",
        help="train the learned descriptor on scans and label maps",
        description="Train the learned descriptor as TRAINING says, such as "
        "config/descriptors/synthetic.yaml, and write the weights (best.safetensors), curves and "
        "checkpoints to a folder. If the training was stopped, the same command goes on from the "
        "last checkpoint; with other settings, data or code the training begins anew.",
        **with_examples(
            (
                "on synthetic contrasts of the scans in DATA",
                "diffeode train-descriptor config/descriptors/synthetic.yaml --data DATA -o OUT",
            ),
        ),
    )
    train.add_argument(
        "training",
        type=path,
        metavar="TRAINING",
        help="a YAML file that names scans, label maps, validation and settings",
    )
    train.add_argument(
        "-o", "--output", type=path, required=True, metavar="OUT", help="folder of the training"
    )
    train.add_argument(
        "--data",
        type=path,
        default=Path(),
        metavar="DIR",
        help="folder at which the patterns of TRAINING start (default: .)",
    )
    add_threads(train)
    add_device(train)
    train.set_defaults(
        command=_train_descriptor,
        when_interrupted="the same command goes on from the last checkpoint",
    )


def _train_descriptor(options: argparse.Namespace) -> None:
    from diffeode.figures.training_curves import training_curves
    from diffeode.learning.descriptor.material import read_training, train_descriptor
    from diffeode.learning.training_files import BEST, CURVES
    from diffeode.names import readable
    from diffeode.process.threads import use_threads
    from diffeode.registration.base import require_device

    results = (BEST, CURVES, "curves.png")
    require_apart([options.output / name for name in results], [options.training])
    require_device(options.device)
    use_threads(options.threads)
    best = train_descriptor(options.training, options.data, options.output, options.device)
    criterion = read_training(options.training).settings.criterion
    training_curves(
        options.output / CURVES,
        readable(options.training.stem),
        options.output / "curves.png",
        criterion,
    )
    print(best)
