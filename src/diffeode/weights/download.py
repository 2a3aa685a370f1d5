"""Download one file: the download resumes where it broke off, and the file is checked before it
takes its name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, final

import requests

from diffeode.errors import InputError

Progress = Callable[[float, str], None]
"""A function that is called with the fraction that is there, 0 to 1, and a line such as
``IXI-T1.tar: 1.2 of 4.8 GB, 8.1 MB/s, 7 min left``.
"""

_IDLE_ATTEMPTS = 4
_FIRST_WAIT_S = 1.0
_TIMEOUT_S = 60.0
_MOST_LOCKS = 100
"""After as many locks a file stays without one: some file systems cannot tell that two files are
the same, and there the loop would not end.
"""
_CHUNK_BYTES = 1 << 16
_PROGRESS_PERIOD_S = 1.0
_EXTENT = re.compile(r"bytes (\d+)-")
_TOO_MANY_REQUESTS, _RANGE_NOT_SATISFIABLE = 429, 416


def fetch(
    urls: str | Sequence[str],
    to: Path | str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    bytes: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the file ``to`` from the first of ``urls`` that has it, and return ``to``.

    A file that is there already is only checked. What arrived before a break is kept in
    ``<to>.part``, and this call and later ones continue from there (HTTP Range). After a broken
    connection or a busy server the download is tried again, after longer and longer pauses, until
    four attempts in a row bring nothing. An attempt brings nothing where the part file did not grow
    beyond its largest size so far, or where the server began with the first byte, because it knows
    no ranges. Processes that want the same file wait for the first of them.

    Args:
        urls: one address, or several addresses of the same content in order of preference.
        sha256, md5: hexadecimal checksum of the whole file; without one, only its size is checked.
        bytes: size of the whole file; without it, the size that the server states is taken.

    Raises:
        InputError: no address brought the file; its size or checksum is wrong, in which case
            nothing is kept; the disk is too full; the folder cannot be written; or a file that was
            there already has another checksum.
    """
    to = Path(to)
    expected = _Expected(to.name, sha256, md5, bytes)
    if to.exists():
        return _checked(to, expected)
    with _part_of(to) as part:
        if not to.exists():  # another process may have fetched it meanwhile
            _fetch_from_any(
                [urls] if isinstance(urls, str) else urls, part, expected, progress or _silent
            )
            part.replace(to)
    return to


def checksum(path: Path | str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal checksum of a file's content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


@final
@dataclass(frozen=True)
class _Expected:
    """The size and checksums that the whole file must have."""

    name: str
    sha256: str | None
    md5: str | None
    bytes: int | None

    def wrong(self, path: Path) -> str | None:
        """Return how the file at ``path`` differs from this, or None where it is right."""
        size = path.stat().st_size
        if self.bytes is not None and size != self.bytes:
            return f"has {size} bytes instead of {self.bytes}"
        for algorithm in ("sha256", "md5"):
            wanted = getattr(self, algorithm)
            if wanted and (found := checksum(path, algorithm)) != wanted.lower():
                return f"has the {algorithm} {found} instead of {wanted.lower()}"
        return None


class _UnusableError(Exception):
    """This address will not bring the file; the message says why."""


class _BrokenError(Exception):
    """This attempt failed; another may succeed.

    Attributes:
        anew: whether the server began with the first byte, though it was asked for the rest.
    """

    anew = False


def _checked(path: Path, expected: _Expected) -> Path:
    if wrong := expected.wrong(path):
        raise InputError(f"{path} {wrong}; remove it, and it will be fetched again.")
    return path


@contextmanager
def _part_of(to: Path) -> Iterator[Path]:
    """Yield ``<to>.part``, a file that is there and that no other process writes in the meantime;
    remove it if it is empty in the end.
    """
    part = to.with_name(f"{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(part)
    except OSError as error:
        raise InputError(
            f"Cannot write {to}: {error.strerror}; free or choose another folder."
        ) from None
    with handle:
        try:
            yield part
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()


def _locked(part: Path) -> BinaryIO:
    """Return the file ``part``, open and locked, after waiting for a process that has locked it.

    That process may have renamed or removed the file meanwhile. Then the lock that was waited for
    is worth nothing, and the file that has the name now is locked instead.
    """
    for _ in range(_MOST_LOCKS):
        handle = part.open("ab")
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), part.stat()):
                return handle
        handle.close()
    return part.open("ab")


def _fetch_from_any(
    urls: Sequence[str], part: Path, expected: _Expected, progress: Progress
) -> None:
    reasons = []
    for url in urls:
        try:
            _fetch_patiently(url, part, expected, progress)
        except _UnusableError as error:
            reasons.append(f"{url} {error}")
        else:
            return
    raise InputError(
        f"Cannot fetch {expected.name}: {'; '.join(reasons)}; check the address and the connection."
    )


def _fetch_patiently(url: str, part: Path, expected: _Expected, progress: Progress) -> None:
    idle, reason, most = 0, "", _size(part)
    while idle < _IDLE_ATTEMPTS:
        if idle:
            time.sleep(_FIRST_WAIT_S * 2 ** (idle - 1))
        try:
            _continue(url, part, expected, progress)
        except _BrokenError as error:
            reason = str(error)
            idle = 0 if _size(part) > most and not error.anew else idle + 1
            most = max(most, _size(part))
            continue
        if wrong := expected.wrong(part):
            part.write_bytes(b"")
            raise _UnusableError(f"brought a file that {wrong} (removed)")
        return
    raise _UnusableError(f"broke off ({reason})")


def _continue(url: str, part: Path, expected: _Expected, progress: Progress) -> None:
    """Download what ``part`` lacks in one request."""
    have, anew = _size(part), False
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if response.status_code == _RANGE_NOT_SATISFIABLE:
                _accept_or_drop(part, expected, response)
                return
            _require_success(response)
            start = _start(response, part, have)
            anew = start < have
            _receive(response, part, start, expected, progress)
        return
    except _BrokenError as error:
        reason = str(error)
    except requests.Timeout:
        reason = f"silent for {_TIMEOUT_S:.0f} s"
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        reason = "the connection broke" if _size(part) > have else type(error).__name__
    except requests.RequestException as error:
        raise _UnusableError(f"cannot be asked ({type(error).__name__})") from None
    broken = _BrokenError(reason)
    broken.anew = anew
    raise broken


def _start(response: requests.Response, part: Path, have: int) -> int:
    """Return the position in the file at which the server's answer begins.

    It is the end of what is here, or 0 where the server knows no ranges.
    """
    if response.status_code != requests.codes.partial_content:
        return 0
    extent = _EXTENT.match(response.headers.get("Content-Range", ""))
    start = int(extent.group(1)) if extent else None
    if start not in (0, have):
        part.write_bytes(b"")
        raise _BrokenError("the server sent another part of the file than was asked for")
    return start


def _accept_or_drop(part: Path, expected: _Expected, response: requests.Response) -> None:
    """Empty ``part`` unless it is the whole file, after the server said that it has nothing more.

    Where its size is not that of the file, it is not the beginning of this file.
    """
    total = _total_of_range(response) or expected.bytes
    if _size(part) != total:
        part.write_bytes(b"")
        raise _BrokenError("the server's file is shorter than what was here")


def _require_success(response: requests.Response) -> None:
    status = f"answers {response.status_code} {response.reason}"
    if (
        response.status_code >= requests.codes.server_error
        or response.status_code == _TOO_MANY_REQUESTS
    ):
        raise _BrokenError(status)
    if not response.ok:
        raise _UnusableError(status)


def _receive(
    response: requests.Response, part: Path, have: int, expected: _Expected, progress: Progress
) -> None:
    total = _total(response, have)
    if expected.bytes is not None and total not in (None, expected.bytes):
        raise _UnusableError(f"has a file of {total} bytes instead of {expected.bytes}")
    total = total or expected.bytes
    _require_room(part, (total or 0) - have)
    meter = _Meter(expected.name, have, total, progress)
    with _opened_at(part, have) as handle:
        for chunk in response.iter_content(_CHUNK_BYTES):
            handle.write(chunk)
            meter.add(len(chunk))
    if total is not None and _size(part) != total:
        raise _BrokenError(f"{_size(part)} of {total} bytes came")
    meter.show()


@contextmanager
def _opened_at(part: Path, position: int) -> Iterator[BinaryIO]:
    try:
        with part.open("r+b") as handle:
            handle.truncate(position)
            handle.seek(position)
            yield handle
    except requests.RequestException:  # is an OSError too
        raise
    except OSError as error:
        raise InputError(
            f"Cannot write {part}: {error.strerror}; free or choose another folder."
        ) from None


def _total(response: requests.Response, have: int) -> int | None:
    if have:
        return _total_of_range(response)
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _total_of_range(response: requests.Response) -> int | None:
    """Return the whole file's size, from ``Content-Range: bytes 5-9/10``."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _require_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted > free:
        raise InputError(
            f"{part.parent} has {_amount(free)} free, but {_amount(wanted)} more are needed for "
            f"{part.name.removesuffix('.part')}; free the disk or choose another folder."
        )


@final
@dataclass
class _Meter:
    """Reports how much is there, how quickly it comes, and how long the rest will take."""

    name: str
    have: int
    total: int | None
    progress: Progress
    came: int = 0
    started: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)

    def add(self, count: int) -> None:
        self.came += count
        if time.monotonic() - self.shown >= _PROGRESS_PERIOD_S:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        there = self.have + self.came
        speed = self.came / max(self.shown - self.started, 1e-9)
        line = f"{self.name}: {_amount(there)}"
        if self.total is None:
            self.progress(0.0, f"{line}, {_amount(speed)}/s")
            return
        left = (
            f", {_duration((self.total - there) / speed)} left"
            if speed and there < self.total
            else ""
        )
        self.progress(
            there / max(self.total, 1), f"{line} of {_amount(self.total)}, {_amount(speed)}/s{left}"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _amount(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _silent(fraction: float, line: str) -> None:
    """Report nothing."""
