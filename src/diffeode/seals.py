"""Seals: the checksum of a finished file, kept apart from it, so that a damaged table or figure is made again.

Units of work (folders) carry a receipt instead; see :mod:`diffeode.receipt`.
"""

from __future__ import annotations

from pathlib import Path

from diffeode.io import sha256, write_text

_FOLDER = ".seals"


def seal(file: Path, results: Path) -> None:
    """Note size and SHA-256 of ``file``, which lies somewhere under ``results``."""
    write_text(_seal_of(file, results), f"{file.stat().st_size} {sha256(file)}\n")


def broken_seal(file: Path, results: Path) -> bool:
    """Whether ``file`` is not what was sealed; a file that is absent or never was sealed is not broken."""
    note = _seal_of(file, results)
    if not file.is_file() or not note.is_file():
        return False
    size, _, checksum = note.read_text(encoding="utf-8").strip().partition(" ")
    return str(file.stat().st_size) != size or sha256(file) != checksum


def _seal_of(file: Path, results: Path) -> Path:
    inside = file.resolve().relative_to(results.resolve())
    return results / _FOLDER / inside.parent / f"{inside.name}.sha256"
