"""A shell completes the command lines of diffeode: a real bash runs the script that is printed."""

import argparse
import contextlib
import io
import subprocess

import pytest

from diffeode.cli import completion, main
from diffeode.cli.main import _parser
from diffeode.prepare.registry import tool_names
from diffeode.registration.runs import load_run, run_names
from diffeode.weights.catalogue import weights_names

COMPLETE = """
source "$1"; shift
function=$(complete -p diffeode | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$function
printf '%s\\n' "${COMPREPLY[@]}"
"""
FILE = "scan one.nii.gz"
VALUES = {
    *("ENTITY", "LABEL", "MINUTES", "MM", "N", "NAME=VALUE", "S", "SUB", "SUFFIX", "VALUE", "W"),
}
"""Metavars of numbers and labels, for which no shell can offer anything."""
NAMES = {"HOW", "NAME", "RUN", "TASK", "TOOL", "cpu|cuda"}
"""Metavars of names that are no files."""


def script(shell):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["completion", shell]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Return what bash offers for the last of some words, in a folder with a single file."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "script").write_text(script("bash"), encoding="utf-8")
    (folder / "work").mkdir()
    (folder / "work" / FILE).touch()

    def offered(*words):
        command = ["bash", "--norc", "-c", COMPLETE, "bash", folder / "script", "diffeode", *words]
        done = subprocess.run(
            command, cwd=folder / "work", capture_output=True, text=True, check=True
        )
        return set(done.stdout.splitlines()) - {""}

    return offered


def parsers(parser=None, words=()):
    """Yield the words of each command and its parser."""
    parser = parser or _parser()
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, (*words, name))


COMMANDS = dict(parsers())


def verbs(parser):
    return [
        set(action.choices)
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    ]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_offered(words, complete):
    options = {text for action in COMMANDS[words]._actions for text in action.option_strings}
    assert complete(*words, "-") == options
    assert {"-h", "--help"} <= options
    for commands in verbs(COMMANDS[words]):
        assert complete(*words, "") == commands


def test_half_a_word_is_completed(complete):
    assert complete("reg") == {"register"}
    assert complete("convert", "--to", "f") == {"fsl", "freesurfer"}
    assert complete("register", "a", "b", "-o", "scan") == {FILE}


def wants_file(action):
    metavar = action.metavar
    return metavar is not None and not ({metavar} if isinstance(metavar, str) else set()) & (
        VALUES | NAMES | {"COMMAND", "SHELL", "get"}
    )


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_values_are_offered_as_what_they_are(words, complete):
    """Files for whatever takes a file, the choices where there are some, and names for names."""
    place = 0
    for action in COMMANDS[words]._actions:
        if action.nargs == 0 or isinstance(action, argparse._SubParsersAction):
            continue
        before = action.option_strings[-1:] or ["before"] * place
        place += not action.option_strings
        found = complete(*words, *before, "")
        if action.choices:
            assert found == set(map(str, action.choices)), action.dest
        elif wants_file(action):
            assert FILE in found, action.dest
        elif action.metavar in NAMES:
            assert found, action.dest
            assert FILE not in found, action.dest
        else:
            assert found == set(), action.dest


def test_names_are_those_of_the_registries(complete):
    runs = set(run_names())
    assert complete("register", "a", "b", "--method", "") == runs
    assert complete("study", "a", "b", "--method", "node", "") == runs
    assert complete("train", "") == {run for run in runs if load_run(run).is_trained_first}
    assert complete("weights", "get", "") == set(weights_names())
    assert complete("prepare", "--brain", "") == set(tool_names("brain"))
    assert complete("prepare", "--template", "") == {*tool_names("template"), "none"}
    assert {"ixi", "oasis3"} <= complete("datasets", "")
    assert {"default", "slurm", FILE} <= complete("study", "--profile", "")
    assert complete("register", "--moving-mask", "") == {"none", FILE}
    assert {"rigid", FILE} <= complete("register", "--init", "")
    assert complete("register", "--init", "ri") == {"rigid"}


@pytest.mark.parametrize("shell", completion._SHELLS)
def test_each_shell_has_a_script_that_knows_all_commands(shell):
    text = script(shell)
    for words, parser in COMMANDS.items():
        assert all(word in text for word in words)
        for action in parser._actions:
            assert not action.option_strings or action.option_strings[-1].strip("-") in text


def test_zsh_completes_each_of_several_files():
    assert '\n  "*:WARP, a transform' in script("zsh")


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "fish"])
    assert "invalid choice: 'fish'" in capsys.readouterr().err
