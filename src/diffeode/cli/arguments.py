"""Arguments that several commands share, and the types of arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.files.checked_yaml import parse_yaml
from diffeode.names import nearest
from diffeode.prepare.choices import NO_BACKGROUND, STARTS
from diffeode.process.surroundings import processors
from diffeode.process.watch import LONGEST_MINUTES

NIFTI = (".nii.gz", ".nii")
"""The ends of the names of files that are written as NIfTI."""
_LARGEST_SEED = 2**31 - 1
"""The largest seed that ANTs can take, which reads 32-bit integers with a sign."""

ALIGNMENT_OF_INIT = {"affine": "affine", "identity": "none"}
"""The alignment of :mod:`diffeode.prepare.pair` that each value of ``--init`` means."""
_EXAMPLES = "examples:"
_INVERSE = {"inverse": True, "1": True, "0": False}
"""Words behind the comma in ``[FILE,inverse]``, with those of antsApplyTransforms."""


class InPlaceOf(argparse.Action):
    """Stores the values of an option that may be given in place of arguments without a name.

    Args:
        positionals: these arguments, which are not required where the option is given.
    """

    def __init__(self, *given: Any, positionals: Sequence[argparse.Action], **named: Any) -> None:
        super().__init__(*given, **named)
        self._positionals = positionals

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, values)
        for positional in self._positionals:
            positional.required = False


class _WithExamples(argparse.HelpFormatter):
    """Fills all lines of a help but those of its examples, which can be copied as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        is_list = text.startswith(_EXAMPLES)
        return text if is_list else super()._fill_text(text, width, indent)


def add_init(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--init``, with ``meaning`` as its help."""
    command.add_argument(
        "--init",
        choices=sorted(ALIGNMENT_OF_INIT),
        default="affine",
        help=f"{meaning} (default: %(default)s)",
    )


def add_transforms(command: argparse.ArgumentParser) -> None:
    """Add ``--transform``, by which several transforms are joined."""
    command.add_argument(
        "-t",
        "--transform",
        type=step,
        action="append",
        default=[],
        metavar="FILE|[FILE,inverse]",
        help="a transform, in place of WARP; may be given several times. Points of the fixed scan "
        "pass the transforms in the order given, as with antsApplyTransforms; [FILE,inverse] means "
        "the inverse of FILE",
    )


def steps_and_rest(
    options: argparse.Namespace, rest: str, count: int | None = None
) -> tuple[list[tuple[Path, bool]], list[Path]]:
    """Return the transforms of a command line, each with whether it is inverted, and its other
    files.

    The first of ``options.files`` is a transform unless transforms are given by ``--transform``.

    Args:
        rest: the names of the other files in messages.
        count: number of the other files; None for one or more.

    Raises:
        InputError: there are too few or too many files.
    """
    files = list(options.files)
    steps = options.transform or [_first_step(files.pop(0))]
    if not files or (count is not None and len(files) != count):
        before = "beside --transform" if options.transform else "after WARP"
        raise InputError(f"Give {rest} {before}; there are {len(files)} files.")
    return steps, files


def _first_step(file: Path) -> tuple[Path, bool]:
    try:
        return step(str(file))
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{error}.") from None


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    command.add_argument(
        "--overwrite", action="store_true", help="replace results that exist already"
    )


def add_talk(
    command: argparse.ArgumentParser,
    quiet: str = "print errors only, and no notes",
    verbose: str = "print versions, seconds, which files were written and whole errors, too",
) -> None:
    """Add ``--quiet`` and ``--verbose`` with these helps; they exclude each other."""
    talk = command.add_mutually_exclusive_group()
    talk.add_argument("-q", "--quiet", action="store_true", help=quiet)
    talk.add_argument("-v", "--verbose", action="store_true", help=verbose)


def offer(
    action: argparse.Action, names: Callable[[], Iterable[str]], *, files: bool = False
) -> None:
    """Let shells offer ``names()`` for the values of an option or argument that takes other values,
    too, or whose names take time to list; with ``files`` they offer files, too.

    Files are offered for all that takes the path of a file anyway.
    """
    action.offered = names  # type: ignore[attr-defined]
    action.offers_files = files  # type: ignore[attr-defined]


def names_offered(action: argparse.Action) -> tuple[str, ...]:
    """Return the names that shells offer for the values of ``action`` besides its choices."""
    names: Callable[[], Iterable[str]] = getattr(action, "offered", tuple)
    return tuple(names())


def is_of_files(action: argparse.Action) -> bool:
    """Return whether shells offer files for the values of ``action``."""
    return action.type in (path, step, mask, start) or getattr(action, "offers_files", False)


def names_of_runs() -> tuple[str, ...]:
    """Return the names of all named runs, which shells offer."""
    from diffeode.registration.runs import run_names

    return run_names()


def with_examples(*examples: tuple[str, str]) -> dict[str, Any]:
    """Return the arguments of a parser whose help ends in ``examples``: what each does, and its
    command line.
    """
    lines = [f"  # {what}\n  {line}" for what, line in examples]
    return {
        "epilog": "\n".join([_EXAMPLES, *lines]),
        "formatter_class": _WithExamples,
    }


def add_orientation(command: argparse.ArgumentParser) -> None:
    """Add ``--orientation``."""
    option = command.add_argument(
        "--orientation",
        type=orientation,
        metavar="HOW",
        help="orientation of the files whose header does not tell it, or tells two: sform or qform "
        "(use that entry of the header), or three letters such as RAS (the axes run to the right, "
        "to the front and upwards)",
    )
    offer(option, lambda: ("sform", "qform", "RAS", "LAS", "LPS"))


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add ``--threads``, ``--device`` and ``--seed``."""
    add_threads(command)
    add_device(command)
    add_seed(command)


def add_device(command: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    option = command.add_argument(
        "--device",
        type=device,
        default="cpu",
        metavar="cpu|cuda",
        help="where to compute (default: %(default)s)",
    )
    offer(option, lambda: ("cpu", "cuda"))


def add_seed(command: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
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


def step(text: str) -> tuple[Path, bool]:
    """Return the path of a transform, and whether its inverse is meant.

    >>> step("[warp.nii.gz,inverse]")
    (PosixPath('warp.nii.gz'), True)

    Raises:
        argparse.ArgumentTypeError: ``text`` is empty, or has brackets but not this form.
    """
    if not (text.startswith("[") and text.endswith("]")):
        return path(text), False
    name, comma, which = text[1:-1].rpartition(",")
    if not comma or which.strip() not in _INVERSE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no transform; write FILE, or [FILE,inverse] for its inverse"
        )
    return path(name), _INVERSE[which.strip()]


def mask(text: str) -> Path | str:
    """Return the path of a mask, or ``none``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is empty.
    """
    return text if text == NO_BACKGROUND else path(text)


def start(text: str) -> Path | str:
    """Return a kind of start (:data:`diffeode.prepare.choices.STARTS`), or the path of a file or of
    the folder of a registration.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no kind, and there is no such file or folder.
    """
    if text in STARTS:
        return text
    if not Path(text).is_file() and not (Path(text) / "warp.nii.gz").is_file():
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


def whole(text: str) -> int:
    """Return a whole number from 1 on.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    return _whole_number(text, 1)


def minutes(text: str) -> float:
    """Return a number of minutes above 0 and up to ``LONGEST_MINUTES``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    number = _number(text)
    if not 0 < number <= LONGEST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of minutes above 0 and up to {LONGEST_MINUTES:,}"
        )
    return number


def weight(text: str) -> float:
    """Return a finite number from 0 on.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return number


def positive(text: str) -> float:
    """Return a finite number above 0.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
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


def _number(text: str) -> float:
    """Return the number that ``text`` is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
