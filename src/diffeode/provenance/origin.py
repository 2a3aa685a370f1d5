"""The origin of a finished file: its inputs and parameters.

A plan compares them with those of today to decide whether the file would be made the same again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffeode.provenance.checksums import Checksums, is_readable, recorded

CODE = "code"
"""The name of the parameter in which every rule has the identity of its code."""
_SHOWN = 3


def origin_of(inputs: Iterable[Path | str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the origin that a receipt or a seal holds. A job calls this before it begins its work.

    Args:
        inputs: every file that the job reads, in the order of its rule.
        parameters: the parameters of its rule, including the seed and the identity of the code.

    Raises:
        OSError: an input is not there.
    """
    read = [{"path": str(path), **recorded(path)} for path in inputs]
    return {"inputs": read, "parameters": as_json(parameters)}


def is_origin(content: Any) -> bool:
    """Return whether ``content`` has the form of what :func:`origin_of` returns."""
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        return False
    inputs = content.get("inputs")
    return isinstance(inputs, list) and all(map(_is_record, inputs))


def departure(
    origin: Mapping[str, Any],
    inputs: Sequence[str],
    parameters: Mapping[str, Any],
    checksums: Checksums,
) -> str | None:
    """Return why a plan differs from ``origin``, or None where the same file would be made.

    Inputs are compared by content and order, not by path, because a folder may have another name on
    another machine.

    Args:
        inputs: paths of the files that the plan reads; a file that does not exist or cannot be read
            is skipped.
        parameters: the parameters that the plan gives to the rule.
    """
    changed = _changed(origin["parameters"], as_json(parameters))
    if changed == [CODE]:
        return "code changed"
    if changed:
        return f"parameters changed ({_shortened(name for name in changed if name != CODE)})"
    if len(inputs) != len(origin["inputs"]):
        return "a file was added to their inputs or left out of them"
    pairs = zip(inputs, origin["inputs"], strict=True)
    other = [path for path, record in pairs if _differs(path, record, checksums)]
    return f"{_shortened(other)} changed" if other else None


def as_json(content: Any) -> Any:
    """Return ``content`` as JSON would hold it."""
    return json.loads(json.dumps(content, default=str))


def _is_record(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(name), str) for name in ("path", "sha256")
    )


def _differs(path: str, record: Mapping[str, Any], checksums: Checksums) -> bool:
    if not is_readable(path):
        return False
    return checksums.of(path, record) != record["sha256"]


def _changed(before: Any, now: Any, name: str = "") -> list[str]:
    """Return the dotted names of the entries that differ."""
    if before == now:
        return []
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [name]
    keys = sorted(before.keys() | now.keys())
    absent = object()
    pairs = ((key, before.get(key, absent), now.get(key, absent)) for key in keys)
    return [
        found
        for key, *values in pairs
        for found in _changed(*values, f"{name}.{key}" if name else key)
    ]


def _shortened(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
