"""Checksums of files, computed only where the size or a time shows that a file may have changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, final

from diffeode.files.io import sha256, write_json

_STATE = ("bytes", "modified_ns", "changed_ns")
_TOLD_FROM_BYTES = 2_000_000_000
_TOLD_EVERY_S = 5.0

Record = Mapping[str, Any]
"""``bytes``, ``modified_ns``, where it is known ``changed_ns``, and ``sha256`` of a file."""


def recorded(path: Path | str) -> dict[str, Any]:
    """Return the size, the times and the SHA-256 of a file.

    ``changed_ns`` is the time at which the system last noted a change of the file. No program
    can set it back, unlike ``modified_ns``, which ``cp -p`` and ``rsync -a`` take from the source.
    """
    return {**_state_of(Path(path)), "sha256": sha256(path)}


def is_readable(path: Path | str) -> bool:
    """Return whether a file lies at ``path`` that this process may read."""
    return Path(path).is_file() and os.access(path, os.R_OK)


@final
class Checksums:
    """SHA-256 of files, remembered from one plan to the next.

    A checksum is computed only where neither the caller's record nor the memory has it for a file
    of the same size and times.

    Args:
        memory: JSON file of checksums that were computed earlier, or None to remember none.
        thorough: compute every checksum once, whatever is recorded or remembered.
    """

    def __init__(self, memory: Path | None = None, thorough: bool = False) -> None:
        self._file, self._thorough = memory, thorough
        self._memory = _read_memory(memory)
        self._known: dict[str, str] = {}
        self._learned = False

    def of(self, path: Path | str, record: Record = {}) -> str:  # noqa: B006 - it is only read
        """Return the SHA-256 of the file ``path``.

        Args:
            record: the record of an earlier look at this file. Its checksum is returned where its
                size and times are those of the file. A time that is not on record is not compared,
                so that a record without times is believed where the size is right.

        Raises:
            OSError: the file is not there or cannot be read.
        """
        key = str(path)
        if key not in self._known:
            state = _state_of(Path(path))
            self._known[key] = self._trusted(key, state, record) or self._computed(key, state)
        return self._known[key]

    def compute_ahead(
        self, files: Iterable[tuple[Path | str, Record]], tell: Callable[[str], None]
    ) -> None:
        """Compute all checksums that :meth:`of` would compute for ``files``, and report the
        progress.

        Files that do not exist or cannot be read are skipped.

        Args:
            tell: called with one sentence every five seconds where there is much to read.
        """
        waiting = [(path, state["bytes"]) for path, state in self._to_compute(files)]
        progress = _Progress(sum(size for _, size in waiting), tell)
        for path, size in waiting:
            self._known[path] = self._computed(path, _state_of(Path(path)))
            progress.add(size)

    def save(self) -> None:
        """Write the memory where a checksum was added; a folder that cannot be written is left as
        it is.
        """
        folder = self._file.parent if self._file else None
        if self._learned and folder and folder.is_dir() and os.access(folder, os.W_OK):
            write_json(self._file, self._memory)

    def _to_compute(
        self, files: Iterable[tuple[Path | str, Record]]
    ) -> list[tuple[str, dict[str, int]]]:
        found = {}
        for path, record in files:
            key = str(path)
            if key in self._known or key in found or not is_readable(path):
                continue
            state = _state_of(Path(path))
            if not self._trusted(key, state, record):
                found[key] = state
        return list(found.items())

    def _trusted(self, key: str, state: dict[str, int], record: Record) -> str | None:
        if self._thorough:
            return None
        for known in (self._memory.get(key, {}), record):
            if known and all(known.get(name) in (None, state[name]) for name in _STATE):
                return known["sha256"]
        return None

    def _computed(self, key: str, state: dict[str, int]) -> str:
        checksum = sha256(key)
        self._memory[key] = {**state, "sha256": checksum}
        self._learned = True
        return checksum


class _Progress:
    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._tell, self._done = total, tell, 0
        self._began = self._told = time.monotonic()

    def add(self, size: int) -> None:
        self._done += size
        now = time.monotonic()
        if self._total < _TOLD_FROM_BYTES or now - self._told < _TOLD_EVERY_S:
            return
        self._told = now
        left = (now - self._began) * (self._total - self._done) / max(self._done, 1)
        gigabytes = f"{self._done / 1e9:.1f} of {self._total / 1e9:.1f} GB"
        self._tell(f"Comparing checksums: {gigabytes}, about {left / 60:.0f} min left")


def _state_of(path: Path) -> dict[str, int]:
    status = path.stat()
    return {
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "changed_ns": status.st_ctime_ns,
    }


def _read_memory(file: Path | None) -> dict[str, dict[str, Any]]:
    """Return the memory, empty where the file is missing or damaged: the memory only saves time."""
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file else {}
        return {
            str(key): {**entry, "sha256": str(entry["sha256"])} for key, entry in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
