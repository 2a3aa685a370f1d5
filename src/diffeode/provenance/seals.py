"""Seals: records of the checksum and the origin of a finished table or figure.

A seal lies in a folder of its own, because a table or figure is a single file. Units of work are
folders and hold a receipt instead (:mod:`diffeode.provenance.receipt`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeode.files.io import sha256, write_json
from diffeode.provenance.checksums import recorded
from diffeode.provenance.origin import is_origin

_FOLDER = ".seals"
_LEFT_OUT = "left_out"


def seal(
    file: Path,
    results: Path,
    origin: dict[str, Any],
    failure: str | None = None,
    left_out: Mapping[str, str] | None = None,
) -> None:
    """Record the size, the SHA-256 and the ``origin`` of ``file``, which lies under ``results``.

    Args:
        failure: why the file does not hold what it should; None where it does.
        left_out: why some of its inputs were left out because they cannot be used, by their names.
    """
    state = {key: value for key, value in recorded(file).items() if key in ("bytes", "sha256")}
    failed = {} if failure is None else {"failure": failure}
    without = {_LEFT_OUT: dict(left_out)} if left_out else {}
    write_json(_seal_of(file, results), {**state, "made_from": origin, **failed, **without})


def failure_sealed(file: Path, results: Path) -> str | None:
    """Return why ``file`` does not hold what it should, or None where its seal says nothing of a
    failure.
    """
    content = _read(file, results) or {}
    failure = content.get("failure")
    return None if failure is None else str(failure)


def left_out_sealed(file: Path, results: Path) -> dict[str, str]:
    """Return why inputs of ``file`` were left out, by their names; empty where none was."""
    content = _read(file, results) or {}
    return dict(content.get(_LEFT_OUT, {}))


def broken_seal(file: Path, results: Path) -> str | None:
    """Return why ``file``, which exists, differs from what was sealed; None where it does not."""
    content = _read(file, results)
    if content is None:
        return "it was never sealed, or its seal was lost"
    same = file.stat().st_size == content["bytes"] and sha256(file) == content["sha256"]
    return None if same else "it was changed"


def origin_of_sealed(file: Path, results: Path) -> dict[str, Any] | None:
    """Return what ``file`` was made from, or None where it has no seal."""
    content = _read(file, results)
    return content["made_from"] if content else None


def _read(file: Path, results: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(_seal_of(file, results).read_text(encoding="utf-8"))
        return (
            content
            if {"bytes", "sha256"} <= content.keys() and is_origin(content.get("made_from"))
            else None
        )
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _seal_of(file: Path, results: Path) -> Path:
    inside = file.absolute().relative_to(results.absolute())
    return results / _FOLDER / inside.parent / f"{inside.name}.json"
