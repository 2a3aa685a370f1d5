"""Files of a finished unit that were removed on purpose, to save space.

The receipt of the unit stays as it is, so that nothing that was made from the unit becomes stale. A
note beside the receipt lists the files that were removed. A file that is neither there nor in the
note is missing, and the unit is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.files.io import write_json

NOTE = "removed.json"


def remove_files(folder: Path, outputs: Mapping[str, Any], names: Collection[str]) -> int:
    """Remove files of the unit in ``folder`` and note them; return the number of bytes
    that this freed.

    The note is written first, so a process that is killed in between leaves a unit that is
    intact. Names that were removed before stay in the note.

    Args:
        outputs: size and SHA-256 of every file of the unit, by name, as its receipt lists them.
        names: names of the files to remove; those that the receipt does not list stay.

    Raises:
        InputError: the note cannot be written.
        OSError: a file cannot be removed.
    """
    there = [name for name in names if name in outputs and (folder / name).is_file()]
    if not there:
        return 0
    noted = {**_read(folder), **{name: outputs[name] for name in there}}
    write_json(folder / NOTE, {"removed": noted})
    freed = 0
    for name in there:
        freed += (folder / name).stat().st_size
        (folder / name).unlink()
    return freed


def removed_files(folder: Path, outputs: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the files of a unit that are not there because they were removed.

    An entry of the note counts only where it fits the receipt. The note of an earlier unit in the
    same folder so hides no loss.

    Args:
        outputs: as in :func:`remove_files`.
    """
    absent = [name for name in outputs if not (folder / name).is_file()]
    noted = _read(folder) if absent else {}
    return frozenset(name for name in absent if noted.get(name) == outputs[name])


def lacking(folder: Path, outputs: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return which of ``names`` the unit in ``folder`` does not hold, in their order.

    They were removed, or never written. A file that was lost is no such file.

    Args:
        outputs: as in :func:`remove_files`.
    """
    removed = removed_files(folder, outputs)
    return [name for name in names if name not in outputs or name in removed]


def require_kept(file: Path) -> None:
    """Raise :class:`InputError` where ``file`` is not there and the note beside it lists it."""
    if not file.is_file() and file.name in _read(file.parent):
        raise InputError(
            f"{file} was removed to save space, as the key keep of a study asks; set keep to a "
            "value that holds this file and run the workflow, which then registers the pair again."
        )


def _read(folder: Path) -> dict[str, Any]:
    """Return the entries of the note, empty where there is none or where it is damaged."""
    try:
        content = json.loads((folder / NOTE).read_text(encoding="utf-8"))["removed"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return content if isinstance(content, dict) else {}
