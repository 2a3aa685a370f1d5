"""Arguments that several commands share: their types, where a pair starts, and the machine."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.files.checked_yaml import parse_yaml
from diffeode.process.watch import LONGEST_MINUTES

_LARGEST_SEED = 2**31 - 1
"""ANTs reads seeds as 32-bit integers with a sign."""

ALIGNMENT_OF_INIT = {"affine": "affine", "identity": "none"}
"""What ``--init`` may say, and the alignment of :mod:`diffeode.prepare.pair` that it means."""


def add_init(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--init``; ``meaning`` is what help says of it."""
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
        help="of the files whose header does not say how they lie, or says two things: sform or "
        "qform (that one "
        "holds), or three letters such as RAS (axes run to the right, to the front, upwards)",
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
        "--seed", type=seed, default=0, metavar="S", help="of what is random (default: %(default)s)"
    )


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    command.add_argument(
        "--threads",
        type=threads,
        default=processors(),
        metavar="N",
        help="processors to use, at most those there are (default: all)",
    )


def path(text: str) -> Path:
    """The path ``text``, which must not be empty: ``Path("")`` would be the working folder.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            "the name is empty, perhaps because a shell variable is not set; give a path"
        )
    return Path(text)


def threads(text: str) -> int:
    """A whole number from 1 on; where this process has fewer processors, their number.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    return min(_whole_number(text, 1), processors())


def minutes(text: str) -> float:
    """A number above 0, and not above what can be waited for.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
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
    """A hyper-parameter and its value, read as YAML: ``flow.steps=6``, ``levels.factors=[4, 2,
    1]``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none; whether the method has it is asked later.
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
    """``cpu``, ``cuda`` or ``cuda:N``; whether it is here is asked later, because that takes torch.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of them.
    """
    kind, _, number = text.partition(":")
    if text != "cpu" and (kind != "cuda" or (":" in text and not number.isdecimal())):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; use cpu, cuda or cuda:N")
    return text


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def orientation(text: str) -> str:
    """``sform``, ``qform`` or three letters such as ``RAS``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of them.
    """
    from diffeode.files.headers import require_orientation

    try:
        return require_orientation(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seed(text: str) -> int:
    """A whole number from 0 on that every method can be seeded with.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
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
