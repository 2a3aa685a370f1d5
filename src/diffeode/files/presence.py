"""Whether a file is there and, if not, one sentence about what is there instead."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from diffeode.errors import InputError
from diffeode.names import short

_POINTERS = {b"/annex/objects/": "git annex get", b"version https://git-lfs": "git lfs pull"}
_LARGEST_POINTER_BYTES = 32768
_LONGEST_NAME = 100


def lies_at(path: Path | str) -> bool:
    """Return whether anything lies at ``path``, a link with a missing target included.

    ``Path.exists`` denies such a link.
    """
    return os.path.lexists(path)


def require_plain_name(name: str, what: str) -> None:
    """Raise :class:`InputError` where ``name`` could not be that of a file in a folder of ours.

    A name that held ``/`` or ``..`` would leave the folder.

    Args:
        what: what the message says that the name is of, such as ``"dataset"``.
    """
    is_plain = (
        name.isprintable()
        and not set(name) & set("/\\{}")
        and not name.startswith((".", "-"))
        and 0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME
    )
    if not is_plain:
        raise InputError(
            f"{short(name)} cannot be the name of a {what}: names have no slashes, braces or line "
            f"breaks, begin with neither a dot nor a hyphen, and have up to {_LONGEST_NAME} bytes."
        )


def without_hidden(paths: Iterable[Path]) -> list[Path]:
    """Return ``paths`` sorted, without those whose names begin with a dot.

    No user makes such files. macOS keeps ``._`` files beside others on foreign disks, and our own
    temporary files are named so while they are written.
    """
    return sorted(path for path in paths if not path.name.startswith("."))


def require_file(path: Path | str, what: str = "file") -> None:
    """Raise :class:`InputError` where no file with content lies at ``path``.

    The message says what lies there instead.

    Args:
        what: what the message calls the file.
    """
    reason = why_no_file(path, what)
    if reason:
        raise InputError(f"{reason}.")


def why_no_file(path: Path | str, what: str = "file") -> str | None:
    """Return why no file with content lies at ``path``, as a sentence without its full stop; None
    where one lies there.
    """
    if str(path) == "":
        return f"The name of a {what} is empty; give a path"
    path = Path(path)
    try:
        if path.is_file():
            return _why_no_content(path)
        if path.is_symlink():
            return _why_no_target(path)
        if path.is_dir():
            return f"{path} is a folder, not a {what}; name a file in it"
        if path.exists():
            return f"{path} is a pipe or a device, not a {what}; save its content to a file first"
    except (OSError, ValueError) as error:
        return f"{path} cannot be reached ({getattr(error, 'strerror', None) or error})"
    return f"There is no {what} {path}"


def _why_no_target(link: Path) -> str:
    target = os.readlink(link)
    if link.is_dir():
        return f"{link} is a link to a folder, {target}; name a file in it"
    if link.exists():
        return f"{link} is a link to a pipe or a device, {target}; save its content to a file first"
    if "annex/objects" in Path(target).as_posix():
        return (
            f"{link} is a link to {target}, whose content is not here; fetch it first (git "
            "annex get)"
        )
    return f"{link} is a link to {target}, which is not there; repair the link or fetch its target"


def _why_no_content(path: Path) -> str | None:
    """Return why ``path`` has no content: it may be a small text that Git keeps in place of a large
    file until that file is fetched.
    """
    if path.stat().st_size > _LARGEST_POINTER_BYTES or not os.access(path, os.R_OK):
        return None
    with path.open("rb") as file:
        beginning = file.read(64)
    for pointer, remedy in _POINTERS.items():
        if beginning.startswith(pointer):
            return (
                f"{path} only points to its content, which is not here; fetch it first ({remedy})"
            )
    return None
