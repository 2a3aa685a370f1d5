"""Receipts: records of the files of a finished unit of work, and of what they were made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from diffeode.errors import DamagedFileError
from diffeode.files.io import sha256, write_json
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import is_origin
from diffeode.provenance.removal import removed_files

RECEIPT = "receipt.json"
_CHECKSUM, _ORIGIN, _TIMES = "receipt_sha256", "made_from", "modified_ns"
_LEFT_OUT = "left_out"


def write_receipt(folder: Path, files: list[str], content: dict[str, Any]) -> None:
    """Write ``folder/receipt.json``: ``content``, and the size and SHA-256 of ``files``.

    Args:
        files: names of files in ``folder``.
    """
    outputs = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in files
    }
    _write(folder / RECEIPT, {**content, "outputs": outputs})


def add_origin(path: Path, origin: dict[str, Any]) -> None:
    """Add to the receipt ``path`` what its unit was made from
    (:func:`diffeode.provenance.origin.origin_of`).

    The times of the unit's files are added too, so that a plan need not read files that nobody has
    touched. The time at which the system noted a change is left out, because copying a whole study
    changes it.

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    content = read_receipt(path)
    there = content["outputs"].keys() - removed_files(path.parent, content["outputs"])
    times = {name: (path.parent / name).stat().st_mtime_ns for name in sorted(there)}
    _write(path, {**content, _ORIGIN: origin, _TIMES: times})


def read_receipt(path: Path | str) -> dict[str, Any]:
    """Return the content of a receipt.

    Raises:
        DamagedFileError: the file is missing or not a receipt.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        for name, record in content["outputs"].items():
            _ = int(record["bytes"]), str(record["sha256"])
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name} is not in the unit's folder")
        _ = content.get(_TIMES, {}).get
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        RecursionError,
        OverflowError,
    ):
        raise DamagedFileError(
            f"{path} is missing or damaged; remove it and run the workflow again."
        ) from None
    return content


def failure_in(path: Path | str) -> str | None:
    """Return why the unit of the receipt ``path`` failed, or None where it did not.

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    content = read_receipt(path)
    if content.get("status") != "failed":
        return None
    return str(content.get("reason", "no reason given"))


def note_left_out(path: Path, reasons: dict[str, str]) -> None:
    """Add to the receipt ``path`` which files of the input were left out because they cannot be
    used: why, by what they are (``labels``, ``landmarks``).

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    _write(path, {**read_receipt(path), _LEFT_OUT: reasons})


def note_verdict(path: Path, verdict: dict[str, Any]) -> None:
    """Replace in the receipt ``path`` of a registration what it says of its verdict
    (:func:`diffeode.registration.harness.recorded`).

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    _write(path, {**read_receipt(path), **verdict})


def left_out_in(path: Path | str) -> dict[str, str]:
    """Return what :func:`note_left_out` added to the receipt ``path``; empty where that is nothing.

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    return dict(read_receipt(path).get(_LEFT_OUT, {}))


def origin_in(receipt: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the unit of a receipt was made from, or None where the receipt does not say."""
    origin = receipt.get(_ORIGIN)
    return origin if is_origin(origin) else None


def records_in(receipt: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return size, SHA-256 and, where it is known, time of every file of a receipt's unit,
    by name.
    """
    times = receipt.get(_TIMES, {})
    return {
        name: {**record, "modified_ns": times.get(name)}
        for name, record in receipt["outputs"].items()
    }


def damage(path: Path | str, checksums: Checksums | None = None) -> str | None:
    """Return why the unit of the receipt ``path`` cannot be used, or None where it can.

    A file that was removed on purpose (:mod:`diffeode.provenance.removal`) is no damage.

    Args:
        checksums: gives the checksums of files; by default they are computed for those files only
            whose size or time differs from the receipt's. A receipt to which no origin was added
            (:func:`add_origin`) holds no times, so that the sizes alone decide.
    """
    try:
        content = read_receipt(path)
    except DamagedFileError as error:
        return str(error)
    return damage_of(Path(path), content, checksums or Checksums())


def damage_of(path: Path, content: dict[str, Any], checksums: Checksums) -> str | None:
    """Return what :func:`damage` returns for a receipt whose ``content`` was read already."""
    if content.get(_CHECKSUM, _checksum_of(content)) != _checksum_of(content):
        return f"{path} is not as it was written"
    if not content["outputs"] and content.get("status") != "failed":
        return f"{path} lists no files"
    # Receipts of earlier versions hold no checksum of themselves, but no origin either.
    if _CHECKSUM not in content and origin_in(content) is not None:
        return f"{path} is not as it was written"
    removed = removed_files(path.parent, content["outputs"])
    reasons = (
        _fault_of(path.parent / name, record, checksums)
        for name, record in records_in(content).items()
        if name not in removed
    )
    return next(filter(None, reasons), None)


def require_intact(path: Path | str) -> dict[str, Any]:
    """Return the content of a receipt after comparing the checksums of all files that it lists and
    that were not removed on purpose (:mod:`diffeode.provenance.removal`).

    Raises:
        DamagedFileError: a file is missing or differs.
    """
    reason = damage(path, Checksums(thorough=True))
    if reason:
        raise DamagedFileError(f"{reason}; remove {path} and run the workflow again.")
    return read_receipt(path)


def _fault_of(file: Path, record: dict[str, Any], checksums: Checksums) -> str | None:
    if not file.is_file():
        return f"{file} is missing"
    size = file.stat().st_size
    if size != record["bytes"]:
        return f"{file} has {size} bytes instead of {record['bytes']}"
    if checksums.of(file, record) != record["sha256"]:
        return f"{file} has changed since it was made"
    return None


def _write(path: Path, content: dict[str, Any]) -> None:
    # JSON turns tuples into lists and keys into texts. The checksum has to be that of the content
    # as it will be read.
    content = json.loads(json.dumps(content))
    write_json(path, {**content, _CHECKSUM: _checksum_of(content)})


def _checksum_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the content of a receipt without this checksum."""
    rest = {key: value for key, value in content.items() if key != _CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
