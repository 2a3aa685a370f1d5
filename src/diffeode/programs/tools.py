"""Programs that pip does not bring: which there are, where they are found, how they are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, final

from diffeode.errors import InputError, ToolError
from diffeode.files.io import sha256

if TYPE_CHECKING:
    from nipype.interfaces.base import CommandLine

FOLDERS = "DIFFEODE_TOOLS"
"""Environment variable: folders that are searched before PATH, separated as PATH is."""

_NOWHERE = f"neither in a folder of ${FOLDERS} nor on PATH"
_LAST_LINES = 3
_LONGEST_LINE = 160
_KEPT_LINES = 40
_PATIENCE_S = 60
_GRACE_S = 5
_SHELL_SIGNAL = 128
_FREESURFER = "https://surfer.nmr.mgh.harvard.edu/fswiki/DownloadAndInstall"
_LICENCE = "https://surfer.nmr.mgh.harvard.edu/registration.html"

# every interface of nipype would otherwise ask a server for nipype's newest version
os.environ.setdefault("NIPYPE_NO_ET", "1")


@final
@dataclass(frozen=True)
class Tool:
    """A program.

    Attributes:
        executable: its file's name.
        suite: what it belongs to.
        source: where to get it.
        ask_version: the arguments that make it tell its version; empty where it tells none.
        versions: the first that serves and the first that does not any more.
        licensed: whether it starts only beside FreeSurfer's licence file.
    """

    executable: str
    suite: str
    source: str
    ask_version: tuple[str, ...] = ()
    versions: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (10**6,))
    licensed: bool = False

    def __str__(self) -> str:
        return (
            self.executable
            if self.executable == self.suite
            else f"{self.executable} of {self.suite}"
        )

    def identities(self) -> dict[str, dict[str, str]]:
        """Which file the program is, as :func:`identities` says it; empty where it is not here."""
        return identities([self.executable])


def _freesurfer(executable: str, **about: object) -> Tool:
    return Tool(executable, "FreeSurfer", _FREESURFER, **about)


def _niftyreg(executable: str) -> Tool:
    source = "https://github.com/KCL-BMEIS/niftyreg"
    return Tool(executable, "NiftyReg", source, ("--version",), ((1, 5, 30), (3,)))


_OF_FREESURFER = {"ask_version": ("--version",), "versions": ((6,), (9,)), "licensed": True}

MRI_NU_CORRECT = _freesurfer("mri_nu_correct.mni", **_OF_FREESURFER)
MRI_NORMALIZE = _freesurfer("mri_normalize", **_OF_FREESURFER)
MRI_SYNTHSTRIP = _freesurfer("mri_synthstrip")
MRI_SYNTHSEG = _freesurfer("mri_synthseg")
MRI_SYNTHMORPH = _freesurfer("mri_synthmorph")
REG_F3D = _niftyreg("reg_f3d")
REG_TRANSFORM = _niftyreg("reg_transform")
DEEDSBCV = Tool("deedsBCV", "deedsBCV", "https://github.com/mattiaspaul/deedsBCV")

_TOOLS = (
    *(MRI_NU_CORRECT, MRI_NORMALIZE, MRI_SYNTHSTRIP, MRI_SYNTHSEG, MRI_SYNTHMORPH),
    *(REG_F3D, REG_TRANSFORM, DEEDSBCV),
)


# ------------------------------------------------------------------------------------------ finding


def all_tools() -> dict[str, Tool]:
    """Every program that may be used, by its executable's name."""
    return {tool.executable: tool for tool in _TOOLS}


def locate(executable: str) -> Path | None:
    """The program in the folders of ``$DIFFEODE_TOOLS``, else on PATH; None where it is in
    neither.
    """
    folders = [os.path.expanduser(f) for f in os.environ.get(FOLDERS, "").split(os.pathsep) if f]
    found = shutil.which(
        executable, path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    )
    return Path(found).absolute() if found else None


def what_is_missing(tool: Tool) -> str | None:
    """Why ``tool`` cannot be started here, as a clause, or None; nothing is started to find out."""
    if locate(tool.executable) is None:
        return f"the program {tool} is {_NOWHERE} (get it from {tool.source})"
    if tool.licensed and not any(path.is_file() for path in _licences()):
        return (
            f"{tool} needs FreeSurfer's licence file, which is neither $FS_LICENSE nor "
            f"$FREESURFER_HOME/license.txt (ask for one at {_LICENCE})"
        )
    return None


def missing_program(executable: str) -> str | None:
    """As :func:`what_is_missing`, of a program by its name, which need not be one of
    :func:`all_tools`.
    """
    if executable in all_tools():
        return what_is_missing(all_tools()[executable])
    return None if locate(executable) else f"the program {executable} is {_NOWHERE}"


def find(tool: Tool, wanted_by: str) -> Path:
    """The program, ready to be started.

    Args:
        wanted_by: the step or method that needs it, as a message begins (``"Skull stripping"``).

    Raises:
        InputError: it is not here, its licence is not, or its version is out of range.
    """
    missing = what_is_missing(tool)
    if missing:
        raise InputError(f"{wanted_by} cannot run: {missing}.")
    program = locate(tool.executable)
    version = _version(program, tool.ask_version)
    first, beyond = tool.versions
    if version is not None and not first <= version < beyond:
        raise InputError(
            f"{wanted_by} cannot run: {program} has version {_dotted(version)}, but it must be at "
            f"least {_dotted(first)} and below {_dotted(beyond)} (get another from "
            f"{tool.source})."
        )
    return program


def answer(program: Path, question: tuple[str, ...]) -> str:
    """What ``program`` says when asked (``("-h",)``), whatever its exit status; nothing where it
    hangs.
    """
    with suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run(
            [program, *question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
            check=False,
        )
        return told.stdout.decode(errors="replace")
    return ""


def identities(executables: Iterable[str]) -> dict[str, dict[str, str]]:
    """Which file each of ``executables`` that are here is: ``path``, ``sha256``, and ``version``
    where it tells one.
    """
    found = {executable: program for executable in executables if (program := locate(executable))}
    return {executable: _identity(executable, program) for executable, program in found.items()}


def _identity(executable: str, program: Path) -> dict[str, str]:
    about = {"path": str(program), "sha256": sha256(program)}
    tool = all_tools().get(executable)
    version = _version(program, tool.ask_version) if tool else None
    return about | ({"version": _dotted(version)} if version else {})


def _licences() -> Iterator[Path]:
    """Where FreeSurfer looks for its licence."""
    if os.environ.get("FS_LICENSE"):
        yield Path(os.environ["FS_LICENSE"])
    if os.environ.get("FREESURFER_HOME"):
        yield Path(os.environ["FREESURFER_HOME"]) / "license.txt"
        yield Path(os.environ["FREESURFER_HOME"]) / ".license"


@cache
def _version(program: Path, question: tuple[str, ...]) -> tuple[int, ...] | None:
    """The first three numbers with dots in the answer; None where there are none, as in a
    developer's build.
    """
    found = re.search(r"\d+\.\d+\.\d+", answer(program, question)) if question else None
    return tuple(int(part) for part in found.group().split(".")) if found else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# ------------------------------------------------------------------------------------------ running


@dataclass(frozen=True)
class Limits:
    """How a program is run; nothing here may change what it computes.

    Attributes:
        threads: it may use, as far as it listens to OMP_NUM_THREADS.
    """

    threads: int = 1


def run(
    tool: Tool,
    interface: CommandLine,
    outputs: Sequence[Path],
    wanted_by: str,
    limits: Limits,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run what ``interface`` describes with the program that :func:`find` finds, until all
    ``outputs`` are there.

    The last lines of a program that failed are noted on the error, so that they stand in the log
    with its traceback.

    Args:
        interface: nipype's description of the command line; its inputs are checked by it.
        outputs: files that must be there and not empty in the end; the first one's folder is the
            working directory.
        on_line: called with every line the program says, from another thread.

    Raises:
        InputError: as :func:`find`.
        ToolError: it could not be started, failed, was killed, or wrote no or empty ``outputs``.
    """
    command = [str(find(tool, wanted_by)), *shlex.split(interface.cmdline)[1:]]
    said: deque[str] = deque(maxlen=_KEPT_LINES)

    def listen(line: str) -> None:
        said.append(line)
        on_line(line)

    trouble = _trouble(command, outputs, limits, listen)
    if trouble:
        error = ToolError(f"{tool} {trouble}; {_last_words(said)}.")
        error.add_note("\n".join(["the command and the last it said:", shlex.join(command), *said]))
        raise error


@contextmanager
def output_of(tool: Tool, path: Path) -> Iterator[None]:
    """Blame ``tool`` where its output ``path`` turns out, inside the block, to be unusable.

    Raises:
        ToolError: an :class:`InputError` was raised inside.
    """
    try:
        yield
    except InputError as error:
        why = str(error).removeprefix(f"{path} ").partition(";")[0].rstrip(".")
        raise ToolError(f"{tool} wrote an unusable {path.name} ({why}).") from None


def _trouble(
    command: Sequence[str], outputs: Sequence[Path], limits: Limits, listen: Callable[[str], None]
) -> str | None:
    """What went wrong, as the end of a sentence about the program; None where all went well."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(limits.threads)}
    try:
        status = _supervised(command, outputs[0].parent, environment, listen)
    except OSError as error:
        return f"could not be started ({error.strerror})"
    if status:
        return _why_it_ended(status)
    for path in outputs:
        if not path.is_file():
            return f"ended well but wrote no {path.name}"
        if path.stat().st_size == 0:
            return f"ended well but wrote an empty {path.name}"
    return None


def _supervised(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    listen: Callable[[str], None],
) -> int:
    """The exit status. However this ends, also by Ctrl-C, no process of the program's group
    outlives it.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    listener = threading.Thread(target=_hear, args=(process.stdout, listen), daemon=True)
    listener.start()
    try:
        return process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # a process that left the group may hold the pipe for as long as it likes
        listener.join(_GRACE_S)


def _hear(pipe: TextIO, listen: Callable[[str], None]) -> None:
    with pipe:
        for line in pipe:
            listen(line.rstrip())


def _why_it_ended(status: int) -> str:
    """A shell says a signal as 128 and its number, Python as its negative."""
    number = -status if status < 0 else status - _SHELL_SIGNAL
    if number not in {s.value for s in signal.Signals}:
        return f"failed with exit status {status}"
    hint = ", as happens where memory runs out" if number == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(number).name}{hint}"


def _last_words(said: Sequence[str]) -> str:
    lines = [line.strip()[:_LONGEST_LINE].rstrip(".") for line in said if line.strip()][
        -_LAST_LINES:
    ]
    return f"its last lines: {' | '.join(lines)}" if lines else "it said nothing"
