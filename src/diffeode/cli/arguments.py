"""Arguments that several commands share, and the types of arguments."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.files.checked_yaml import parse_yaml
from diffeode.names import nearest
from diffeode.prepare.choices import NO_BACKGROUND, STARTS
from diffeode.process.watch import LONGEST_MINUTES

_LARGEST_SEED = 2**31 - 1
"""The largest seed that ANTs can take, which reads 32-bit integers with a sign."""

ALIGNMENT_OF_INIT = {"affine": "affine", "identity": "none"}
"""The alignment of :mod:`diffeode.prepare.pair` that each value of ``--init`` means."""


def add_init(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--init``, with ``meaning`` as its help."""
    command.add_argument(
        "--init",
        choices=sorted(ALIGNMENT_OF_INIT),
        default="affine",
        help=f"{meaning} (default: %(default)s)",
    )


def add_orientation(command: argparse.ArgumentParser) -> None:
    """Add ``--orientation``."""
    command.add_argument(
        "--orientation",
        type=orientation,
        metavar="HOW",
        help="orientation of the files whose header does not tell it, or tells two: sform or qform "
        "(use that entry of the header), or three letters such as RAS (the axes run to the right, "
        "to the front and upwards)",
    )


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add ``--threads``, ``--device`` and ``--seed``."""
    add_threads(command)
    command.add_argument(
        "--device",
        type=device,
        default="cpu",
        metavar="cpu|cuda",
        help="where to compute (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="S",
        help="seed of all random numbers (default: %(default)s)",
    )


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    command.add_argument(
        "--threads",
        type=threads,
        default=processors(),
        metavar="N",
        help="number of processors to use (default and maximum: all that this process may use)",
    )


def path(text: str) -> Path:
    """Return the path ``text``, which must not be empty: ``Path("")`` would be the working folder.

    Raises:
        argparse.ArgumentTypeError: ``text`` is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            "the name is empty, perhaps because a shell variable is not set; give a path"
        )
    return Path(text)


def mask(text: str) -> Path | str:
    """Return the path of a mask, or ``none``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is empty.
    """
    return text if text == NO_BACKGROUND else path(text)


def start(text: str) -> Path | str:
    """Return a kind of start (:data:`diffeode.prepare.choices.STARTS`), or the path of a file.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no kind, and there is no such file.
    """
    if text in STARTS:
        return text
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no file and no kind of start{nearest(text, STARTS)}"
        )
    return Path(text)


def threads(text: str) -> int:
    """Return a number of threads, at least 1 and at most the number of processors.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no whole number from 1 on.
    """
    return min(_whole_number(text, 1), processors())


def minutes(text: str) -> float:
    """Return a number of minutes above 0 and up to ``LONGEST_MINUTES``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= LONGEST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of minutes above 0 and up to {LONGEST_MINUTES:,}"
        )
    return number


def setting(text: str) -> tuple[str, Any]:
    """Return the name of a hyper-parameter and its value, which is read as YAML.

    Whether the method has it is checked later.

    >>> setting("levels.factors=[4, 2, 1]")
    ('levels.factors', [4, 2, 1])

    Raises:
        argparse.ArgumentTypeError: ``text`` is not ``NAME=VALUE``, or the value is no YAML.
    """
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise argparse.ArgumentTypeError(
            f"{text!r} sets nothing; write NAME=VALUE, such as flow.steps=6"
        )
    try:
        return name.strip(), parse_yaml(value, f"The value in {text!r}")
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removesuffix(".")) from None


def device(text: str) -> str:
    """Return ``text``, which must be ``cpu``, ``cuda`` or ``cuda:N``.

    Whether the device is here is checked later, because that needs torch.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of them.
    """
    kind, _, number = text.partition(":")
    if text != "cpu" and (kind != "cuda" or (":" in text and not number.isdecimal())):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; use cpu, cuda or cuda:N")
    return text


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def orientation(text: str) -> str:
    """Return ``text``, which must be ``sform``, ``qform`` or three letters such as ``RAS``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of them.
    """
    from diffeode.files.headers import require_orientation

    try:
        return require_orientation(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seed(text: str) -> int:
    """Return a seed that every method can take, a whole number from 0 on.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    number = _whole_number(text, 0)
    if number > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"{text!r} is too large for a seed; use one up to {_LARGEST_SEED}"
        )
    return number


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)
