"""Reading the files in which ITK and ANTs keep transforms: text, MATLAB 4 and HDF5.

ITK reads a file whose numbers end too early without a word, and takes those of the identity for
what is missing. Here such a file is refused. HDF5, by which ITK reads, ends the whole process at
some damaged files, so each is read in a process of its own first.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from diffeode.errors import DamagedFileError, InputError
from diffeode.files.quiet import silent_libraries
from diffeode.process.watch import watched

if TYPE_CHECKING:
    import SimpleITK

ARCHIVE_SUFFIXES = (".h5", ".hdf5")
TEXT_START = b"#Insight Transform File"
_TEXT_SUFFIXES = (".txt", ".tfm")
_LONGEST_MINUTES = 10.0
_HEADER = struct.Struct("<5i")
"""The header of a matrix in MATLAB 4: type, rows, columns, whether complex, and bytes of name."""
_BYTES_OF_NUMBER = {0: 8, 10: 4, 20: 4, 30: 2, 40: 2, 50: 1}
"""Bytes of a number by the type of a matrix in MATLAB 4 (MathWorks, MAT-File Format, level 4)."""


def read_itk(path: Path) -> SimpleITK.Transform:
    """Return the transform at ``path``, as SimpleITK reads it.

    Raises:
        InputError: ITK cannot read the file.
        DamagedFileError: numbers are missing at its end.
    """
    import SimpleITK

    content = path.read_bytes()
    is_text = content.startswith(TEXT_START)
    if path.name.lower().endswith(_TEXT_SUFFIXES) and not is_text:
        raise _unreadable(path)  # ITK takes any text for a transform
    try:
        with silent_libraries():
            if path.name.lower().endswith(ARCHIVE_SUFFIXES):
                watched(lambda: _read_in_vain(path), _LONGEST_MINUTES)
            read = SimpleITK.ReadTransform(str(path))
    except (RuntimeError, UnicodeDecodeError):  # a message of ITK may quote the damaged bytes
        raise _unreadable(path) from None
    if is_text and not _holds_all_numbers(content.decode("utf-8", "replace"), _parts(read)):
        raise _cut_off(path)
    if path.name.lower().endswith(".mat") and not is_text and not _ends_with_a_matrix(content):
        raise _cut_off(path)
    return read


def _read_in_vain(path: Path) -> None:
    """Read a transform, which may end this process, and return nothing."""
    import SimpleITK

    SimpleITK.ReadTransform(str(path))


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path} cannot be read as a transform of ITK or ANTs; fetch or make it again."
    )


def _cut_off(path: Path) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be read as a transform of ITK or ANTs: it lacks some of its numbers; fetch "
        "or make it again."
    )


def _parts(transform: SimpleITK.Transform) -> list[SimpleITK.Transform]:
    """Return the transforms of a composite in the order of its file, or ``transform`` alone."""
    import SimpleITK

    whole = transform.Downcast()
    if not isinstance(whole, SimpleITK.CompositeTransform):
        return [whole]
    count = whole.GetNumberOfTransforms()
    return [part for n in range(count) for part in _parts(whole.GetNthTransform(n))]


def _holds_all_numbers(text: str, parts: list[SimpleITK.Transform]) -> bool:
    """Return whether a file of text has as many parameters as each of its ``parts`` needs."""
    blocks = [
        block for block in text.split("\nTransform:")[1:] if "CompositeTransform" not in block
    ]
    return 0 < len(blocks) == len(parts) and all(
        _count(block, "Parameters:") == len(part.GetParameters())
        and _are_all_fixed(_count(block, "FixedParameters:"), part, text.endswith("\n"))
        for block, part in zip(blocks, parts, strict=True)
    )


def _are_all_fixed(count: int | None, part: SimpleITK.Transform, is_last_line_whole: bool) -> bool:
    """Return whether ``count`` is the number of fixed parameters. ITK's older versions wrote only
    the centre for kinds that have one number more today.
    """
    of_older = (part.GetDimension(),) if is_last_line_whole else ()
    return count in (len(part.GetFixedParameters()), *of_older)


def _count(block: str, name: str) -> int | None:
    """Return how many numbers follow ``name``; None where no line begins so."""
    lines = [line for line in block.splitlines() if line.startswith(name)]
    return len(lines[0].removeprefix(name).split()) if lines else None


def _ends_with_a_matrix(content: bytes) -> bool:
    """Return whether a file of MATLAB 4 ends where one of its matrices does, and has at least the
    two of a transform: its parameters and its fixed parameters.
    """
    at, matrices = 0, 0
    while at + _HEADER.size <= len(content):
        kind, rows, columns, is_complex, name = _HEADER.unpack_from(content, at)
        numbers = rows * columns * (2 if is_complex else 1)
        at += _HEADER.size + name + numbers * _BYTES_OF_NUMBER.get(kind, 8)
        matrices += 1
    return at == len(content) and matrices >= 2
