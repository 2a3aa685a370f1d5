"""Chunks: the pairs that one job registers with one run, one after the other."""

from __future__ import annotations

from collections.abc import Sequence


def chunks_of(pairs: Sequence[str], size: int) -> dict[str, tuple[str, ...]]:
    """Return ``pairs`` in chunks of at most ``size``, by the name of each chunk.

    The name of a chunk tells the places of its first and its last pair, as ``0001-0020``.

    Raises:
        ValueError: ``size`` is not positive.

    >>> chunks_of(["a", "b", "c"], 2)
    {'0001-0002': ('a', 'b'), '0003-0003': ('c',)}
    """
    if size < 1:
        raise ValueError(f"A chunk of {size} pairs holds nothing.")
    starts = range(0, len(pairs), size)
    parts = [tuple(pairs[start : start + size]) for start in starts]
    return {
        f"{start + 1:04d}-{start + len(part):04d}": part
        for start, part in zip(starts, parts, strict=True)
    }
