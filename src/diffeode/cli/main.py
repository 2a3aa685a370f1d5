"""The program ``diffeode``: its commands, its error messages and its exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from diffeode import __version__
from diffeode.cli import (
    apply,
    completion,
    compose,
    convert,
    datasets,
    evaluate,
    exclude,
    invert,
    jacobian,
    methods,
    needs,
    points,
    prepare,
    register,
    report,
    study,
    train,
    train_descriptor,
    weights,
)
from diffeode.cli.logs import logged
from diffeode.errors import InputError, RegistrationError, SuspectError, TrainingError
from diffeode.process.surroundings import require_usable, settle
from diffeode.process.watch import terminated_like_exit

_COMMANDS = (
    *(register, apply, points, invert, compose, jacobian, evaluate, convert, prepare, report),
    study,
    *(train, train_descriptor, methods, weights, datasets, needs, exclude, completion),
)
_HINT = "(--verbose shows the whole error)"
_INPUT_ERROR, _FAILED, _SUSPECT, _INTERRUPTED = 2, 1, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code.

    It is 0 for success, 1 for a failed registration or training, 2 for unusable input, 3 for a
    suspect result where ``--strict`` was given, and 130 after an interruption.
    """
    settle()
    options = _parser().parse_args(arguments)
    options.typed = ["diffeode", *(sys.argv[1:] if arguments is None else arguments)]
    with terminated_like_exit(), logged(options):
        try:
            require_usable()
            options.command(options)
        except InputError as error:
            return _complain(error, _INPUT_ERROR)
        except (RegistrationError, TrainingError) as error:
            return _complain(_whole(error, options), _FAILED)
        except SuspectError as error:
            return _complain(error, _SUSPECT)
        except KeyboardInterrupt:
            return _complain(f"interrupted; {options.when_interrupted}", _INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diffeode",
        description="Multimodal diffeomorphic registration of two images, or of the many pairs of "
        "a study.",
    )
    parser.add_argument("--version", action="version", version=f"diffeode {__version__}")
    parser.set_defaults(when_interrupted="nothing was written", parser=parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _whole(error: Exception, options: argparse.Namespace) -> str:
    """Return what is said about ``error``; with ``--verbose``, its traceback is printed before.

    Where a program of others failed unexpectedly, its sentence says how to see the traceback.
    """
    is_verbose = getattr(options, "verbose", None)
    if is_verbose:
        traceback.print_exception(error)
    is_expected = isinstance(error.__cause__, InputError | RegistrationError | None)
    return f"{error}" if is_expected or is_verbose is not False else f"{error} {_HINT}"


def _complain(error: object, code: int) -> int:
    print(f"diffeode: {error}", file=sys.stderr)
    return code
