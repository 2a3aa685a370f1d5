"""Programs that pip does not install: which there are, where they are found, how they are run."""

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
"""Environment variable that names the folders to search before those of PATH, separated as in
PATH.
"""

_NOWHERE = f"neither in a folder of ${FOLDERS} nor on PATH"
_LAST_LINES = 3
_LONGEST_LINE = 160
_KEPT_LINES = 40
_PATIENCE_S = 60
_GRACE_S = 5
_SHELL_SIGNAL = 128
_FREESURFER = "https://surfer.nmr.mgh.harvard.edu/fswiki/DownloadAndInstall"
_LICENCE = "https://surfer.nmr.mgh.harvard.edu/registration.html"

# Without this, every interface of nipype would ask a server for nipype's newest version.
os.environ.setdefault("NIPYPE_NO_ET", "1")


@final
@dataclass(frozen=True)
class Tool:
    """A program.

    Attributes:
        executable: the name of its file.
        suite: the software package that it belongs to.
        source: the address to get it from.
        ask_version: the arguments that make it print its version; empty where it prints none.
        versions: the first version that works here, and the first later one that does not.
        licensed: whether it needs FreeSurfer's licence file.
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
        """Return the program's file, checksum and version as :func:`identities` has them; empty
        where it is not here.
        """
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
    """Return every program that a step or method may use, by its executable's name."""
    return {tool.executable: tool for tool in _TOOLS}


def locate(executable: str) -> Path | None:
    """Return the file of a program, or None where it is not found.

    The folders of ``$DIFFEODE_TOOLS`` are searched first, then those of PATH.
    """
    folders = [os.path.expanduser(f) for f in os.environ.get(FOLDERS, "").split(os.pathsep) if f]
    found = shutil.which(
        executable, path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    )
    return Path(found).absolute() if found else None


def what_is_missing(tool: Tool) -> str | None:
    """Return why ``tool`` cannot be started here, as a clause, or None where it can.

    No program is started to find out.
    """
    if locate(tool.executable) is None:
        return f"the program {tool} is {_NOWHERE} (get it from {tool.source})"
    if tool.licensed and not any(path.is_file() for path in _licences()):
        return (
            f"{tool} needs FreeSurfer's licence file, which is neither $FS_LICENSE nor "
            f"$FREESURFER_HOME/license.txt (ask for one at {_LICENCE})"
        )
    return None


def missing_program(executable: str) -> str | None:
    """Return the same as :func:`what_is_missing` for any program, also for one that
    :func:`all_tools` does not list.
    """
    if executable in all_tools():
        return what_is_missing(all_tools()[executable])
    return None if locate(executable) else f"the program {executable} is {_NOWHERE}"


def find_program(tool: Tool, wanted_by: str) -> Path:
    """Return the file of the program ``tool``, which can be started.

    Args:
        wanted_by: the step or method that needs it, as the beginning of a message (``"Skull
            stripping"``).

    Raises:
        InputError: the program or its licence is not here, or its version is out of range.
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
    """Return what ``program`` prints with the arguments ``question``, such as ``("-h",)``.

    Its exit status does not matter. Where it hangs or cannot be started, the result is empty.
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
    """Return ``path``, ``sha256`` and, where it prints one, ``version`` of each program that is
    here, by its executable's name.
    """
    found = {executable: program for executable in executables if (program := locate(executable))}
    return {executable: _identity(executable, program) for executable, program in found.items()}


def _identity(executable: str, program: Path) -> dict[str, str]:
    about = {"path": str(program), "sha256": sha256(program)}
    tool = all_tools().get(executable)
    version = _version(program, tool.ask_version) if tool else None
    return about | ({"version": _dotted(version)} if version else {})


def _licences() -> Iterator[Path]:
    """Yield the places where FreeSurfer looks for its licence."""
    if os.environ.get("FS_LICENSE"):
        yield Path(os.environ["FS_LICENSE"])
    if os.environ.get("FREESURFER_HOME"):
        yield Path(os.environ["FREESURFER_HOME"]) / "license.txt"
        yield Path(os.environ["FREESURFER_HOME"]) / ".license"


@cache
def _version(program: Path, question: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return the first three numbers joined by dots in the answer of ``program``.

    It is None where there are none, as in a developer's build.
    """
    found = re.search(r"\d+\.\d+\.\d+", answer(program, question)) if question else None
    return tuple(int(part) for part in found.group().split(".")) if found else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# ------------------------------------------------------------------------------------------ running


@dataclass(frozen=True)
class Limits:
    """What a program may use. None of it may change what the program computes.

    Attributes:
        threads: number of threads, for programs that respect OMP_NUM_THREADS.
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
    """Run the program ``tool`` with the command line of ``interface``, and check its outputs.

    Where it fails, its last lines are added to the error as a note, so that the log shows them with
    the traceback.

    Args:
        interface: nipype's description of the command line, which checks its inputs.
        outputs: files that must be there and not empty in the end; the program is run in the folder
            of the first one.
        wanted_by: as for :func:`find_program`.
        on_line: called from another thread with every line that the program prints.

    Raises:
        InputError: as :func:`find_program`.
        ToolError: the program could not be started, failed or was killed, or an output is missing
            or empty.
    """
    command = [str(find_program(tool, wanted_by)), *shlex.split(interface.cmdline)[1:]]
    said: deque[str] = deque(maxlen=_KEPT_LINES)

    def listen(line: str) -> None:
        said.append(line)
        on_line(line)

    trouble = _trouble(command, outputs, limits, listen)
    if trouble:
        error = ToolError(f"{tool} {trouble}; {_last_words(said)}.")
        error.add_note(
            "\n".join(["the command and the last lines it printed:", shlex.join(command), *said])
        )
        raise error


@contextmanager
def output_of(tool: Tool, path: Path) -> Iterator[None]:
    """Turn an :class:`InputError` about ``path`` in the block into an error of ``tool``, which
    wrote that file.

    Raises:
        ToolError: the block raised an :class:`InputError`.
    """
    try:
        yield
    except InputError as error:
        why = str(error).removeprefix(f"{path} ").partition(";")[0].rstrip(".")
        raise ToolError(f"{tool} wrote an unusable {path.name} ({why}).") from None


def _trouble(
    command: Sequence[str], outputs: Sequence[Path], limits: Limits, listen: Callable[[str], None]
) -> str | None:
    """Run ``command`` and return what went wrong, as the end of a sentence about the program.

    It is None where all went well.
    """
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
    """Run ``command`` in ``folder`` and return its exit status.

    Whatever ends this function, also Ctrl-C, no process of the program's group outlives it.
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
        # Not for ever: a process that left the group may keep the pipe open.
        listener.join(_GRACE_S)


def _hear(pipe: TextIO, listen: Callable[[str], None]) -> None:
    with pipe:
        for line in pipe:
            listen(line.rstrip())


def _why_it_ended(status: int) -> str:
    """Return how a program with exit ``status`` ended, as the end of a sentence about it.

    A signal that ended it is 128 and its number in the status of a shell, and the negative number
    in Python's.
    """
    number = -status if status < 0 else status - _SHELL_SIGNAL
    if number not in {s.value for s in signal.Signals}:
        return f"failed with exit status {status}"
    hint = ", as happens when memory runs out" if number == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(number).name}{hint}"


def _last_words(said: Sequence[str]) -> str:
    lines = [line.strip()[:_LONGEST_LINE].rstrip(".") for line in said if line.strip()][
        -_LAST_LINES:
    ]
    return f"its last lines: {' | '.join(lines)}" if lines else "it printed nothing"
