"""Receipts: what a finished unit of work produced, with checksums, so that a damaged file is noticed and made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffeode.errors import DamagedFileError
from diffeode.io import sha256, write_json

RECEIPT = "receipt.json"


def write_receipt(folder: Path, files: list[str], content: dict[str, Any]) -> None:
    """Write ``folder/receipt.json``: ``content``, and size and SHA-256 of ``files`` (names inside ``folder``)."""
    outputs = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in files}
    write_json(folder / RECEIPT, {**content, "outputs": outputs})


def read_receipt(path: Path | str) -> dict[str, Any]:
    """A receipt's content.

    Raises:
        DamagedFileError: missing or not a receipt.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        content["outputs"].items()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DamagedFileError(f"{path} is missing or damaged; remove it and run the workflow again.") from None
    return content


def damage(path: Path | str, thorough: bool = False) -> str | None:
    """Why the unit behind receipt ``path`` cannot be used, or None where all is well.

    Args:
        thorough: compare checksums too, not only sizes.
    """
    path = Path(path)
    try:
        outputs = read_receipt(path)["outputs"]
    except DamagedFileError as error:
        return str(error)
    for name, expected in outputs.items():
        file = path.parent / name
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != expected["bytes"]:
            return f"{file} has {file.stat().st_size} bytes instead of {expected['bytes']}"
        if thorough and sha256(file) != expected["sha256"]:
            return f"{file} has changed since it was made"
    return None


def require_intact(path: Path | str) -> dict[str, Any]:
    """The receipt's content, after checking every file it lists, checksums included.

    Raises:
        DamagedFileError: a file is missing or differs.
    """
    reason = damage(path, thorough=True)
    if reason:
        raise DamagedFileError(f"{reason}; remove {path} and run the workflow again.")
    return read_receipt(path)
