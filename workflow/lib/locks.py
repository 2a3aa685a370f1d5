"""Snakemake's locks, signed by the process that holds them.

Snakemake writes into a lock which files a run reads and writes. The first line of a lock of ours
says besides which process holds it, so that the lock of a run that was killed is known as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from diffeode.process.holder import Holder, holder_in, this_process

FOLDER = Path(".snakemake") / "locks"
_SIGNATURE = "# held by "


def signature() -> str:
    """Return the line by which this process signs its locks."""
    return f"{_SIGNATURE}{this_process()}"


def holders(folder: Path = FOLDER) -> Iterator[tuple[Path, Holder | None]]:
    """Yield every lock, and the process that signed it; None where nobody did."""
    for lock in sorted(folder.glob("*.lock")):
        with suppress(OSError, UnicodeDecodeError), lock.open(encoding="utf-8") as lines:
            first = lines.readline().strip()
            signed = first.startswith(_SIGNATURE)
            yield lock, holder_in(first.removeprefix(_SIGNATURE)) if signed else None


def remove_stale(folder: Path = FOLDER) -> list[Holder]:
    """Remove the locks of processes that have ended, and return these processes."""
    gone: dict[Holder, None] = {}
    for lock, holder in list(holders(folder)):
        if holder and holder.is_gone:
            with suppress(OSError):  # a folder that cannot be written says so itself
                lock.unlink()
                gone[holder] = None
    return list(gone)


def remove(locks: Iterable[str]) -> None:
    """Remove ``locks``."""
    for lock in locks:
        Path(lock).unlink(missing_ok=True)


def who_works(folder: Path = FOLDER) -> str:
    """Return a sentence about the runs that hold locks."""
    found = dict.fromkeys(holder for _, holder in holders(folder))
    here = [str(holder.pid) for holder in found if holder and holder.is_here]
    if here:
        return (
            f"Another run works on files of this study (process {', '.join(here)}); wait until it "
            "ends, or stop it. Nothing was changed."
        )
    places = ", ".join(sorted({holder.host for holder in found if holder}))
    on = f" on {places}" if places else ""
    return (
        f"Another run works on files of this study{on}, or was killed there. Where it does not run "
        "any more, remove its lock: snakemake --unlock. Nothing was changed."
    )
