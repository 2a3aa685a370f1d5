"""Reading the files in which ITK and ANTs keep transforms: text, MATLAB 4 and HDF5.

ITK reads a file whose numbers end too early without a word, and takes those of the identity for
what is missing. Here such a file is refused.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diffeode.errors import DamagedFileError, InputError

if TYPE_CHECKING:
    import SimpleITK

TEXT_START = b"#Insight Transform File"
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

    try:
        with _silent_libraries():
            read = SimpleITK.ReadTransform(str(path))
    except (RuntimeError, UnicodeDecodeError):  # a message of ITK may quote the damaged bytes
        raise InputError(
            f"{path} cannot be read as a transform of ITK or ANTs; fetch or make it again."
        ) from None
    content = path.read_bytes()
    is_text = content.startswith(TEXT_START)
    if is_text and not _holds_all_numbers(content.decode("utf-8", "replace"), _parts(read)):
        raise _cut_off(path)
    if path.name.lower().endswith(".mat") and not is_text and not _ends_with_a_matrix(content):
        raise _cut_off(path)
    return read


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


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Keep what C libraries write to standard error in the block, such as HDF5's stack, from the
    user, who is told in a sentence.
    """
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)
