"""Scans of one dataset whose files are copies of one image, so that it counts more than once.

A pair of two copies fails when it is aligned. Copies that never meet in a pair, such as two moving
scans, are found here alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from diffeode.datasets.scan import Scan
from diffeode.files.io import sha256

_Group = list[Scan]
_BLOCK_BYTES = 65536


def copies_among(scans: Iterable[Scan]) -> list[str]:
    """Return a sentence about each group of ``scans`` of one dataset whose files are equal, byte
    for byte.

    Of most files only the size is looked at, and of some a block in the middle. Files that are
    missing, unreadable or empty are left out; whoever prepares them says what is wrong.
    """
    groups = [list(scans)]
    for trait in (_size, _middle, _checksum):
        groups = [alike for group in groups for alike in _parted(group, trait)]
    return [_sentence(group) for group in groups]


def _parted(group: _Group, trait: Callable[[Scan], Hashable]) -> list[_Group]:
    """Return the groups of two and more scans that are alike in ``trait``; None is no trait."""
    parts: defaultdict[Hashable, _Group] = defaultdict(list)
    for scan in group:
        try:
            found = trait(scan)
        except OSError:
            continue  # the file cannot be read, so nothing can be told
        if found is not None:
            parts[found].append(scan)
    return [part for part in parts.values() if len(part) > 1]


def _size(scan: Scan) -> tuple[str, int] | None:
    count = scan.image.stat().st_size
    return (scan.dataset, count) if count and scan.image.is_file() else None


def _middle(scan: Scan) -> bytes:
    """Return a block from the middle of the file, where the voxels of two persons differ."""
    with scan.image.open("rb") as file:
        file.seek(max(0, (scan.image.stat().st_size - _BLOCK_BYTES) // 2))
        return file.read(_BLOCK_BYTES)


def _checksum(scan: Scan) -> str:
    return sha256(scan.image)


def _sentence(group: _Group) -> str:
    names = " and ".join(scan.id for scan in group)
    return (
        f"The files of {names} in dataset {group[0].dataset} are copies of one image, which counts "
        "more than once; give each scan its own, or leave the copies out (exclude)."
    )
