"""The command ``diffeode completion``: print a script by which a shell completes command lines."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any

from diffeode.cli.arguments import is_of_files, names_offered, with_examples

_SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    completion = commands.add_parser(
        "completion",
        help="print a script by which a shell completes commands, options and their values",
        description="Print a script by which SHELL completes the command lines of diffeode at the "
        "Tab key: commands, options, files, and names of runs, tools, weights and datasets. A "
        "script holds the names of this version, so print it again after an update.",
        **with_examples(
            (
                "bash, with the package bash-completion",
                "diffeode completion bash > ~/.local/share/bash-completion/completions/diffeode",
            ),
            (
                "zsh, where .zshrc says 'fpath=(~/.zfunc $fpath)' before 'compinit'",
                "diffeode completion zsh > ~/.zfunc/_diffeode",
            ),
            ("this session of bash alone", 'eval "$(diffeode completion bash)"'),
        ),
    )
    completion.add_argument("shell", choices=_SHELLS, metavar="SHELL", help="bash, zsh or tcsh")
    completion.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> None:
    import shtab

    for action in _actions(options.parser):
        _mark(action)
    script = shtab.complete(options.parser, options.shell)
    # shtab gives zsh arguments that take several values as if they took one.
    print(script.replace('"(*):', '"*:') if options.shell == "zsh" else script)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every option and argument of ``parser`` and of the commands below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def _mark(action: argparse.Action) -> None:
    """Say in shtab's terms which values of ``action`` a shell offers."""
    import shtab

    names = names_offered(action)
    if is_of_files(action):
        action.complete = _files_and(names) if names else shtab.FILE  # type: ignore[attr-defined]
    elif names:
        action.choices = names


def _files_and(names: Sequence[str]) -> dict[str, Any]:
    """Return the form in which shtab takes both files and ``names`` as values.

    tcsh, which knows no functions, offers files alone.
    """
    words = " ".join(names)
    # shtab lets bash end folders in a slash where a function has "_file" in its name.
    function = re.sub(r"\W", "_", f"_diffeode_file_or_{'_'.join(names)}")
    return {
        "bash": function,
        "zsh": f"{{_files; compadd -- {words}}}",
        "tcsh": "f",
        "preamble": {"bash": f'{function}() {{\n  compgen -f -W "{words}" -- "$1"\n}}'},
    }
