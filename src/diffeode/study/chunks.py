"""Chunks: the pairs that one job works on, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Step:
    """How a job makes one file of one pair of its chunk.

    Attributes:
        stage: ``alignment``, ``registration`` or ``evaluation``.
        unit: the names of the experiment and the pair, and of the run where there is one.
        job: the output of the job.
        log: the log of the unit.
        costs: the file that says how long the step took; None where no file says so.
        describe: returns, for ``unit``, the file, its inputs by name and its parameters.
    """

    stage: str
    unit: Any
    job: str
    log: str
    costs: str | None
    describe: Callable[[Any], Mapping[str, Any]]

    def described(self) -> Mapping[str, Any]:
        """Return the file, its inputs by name and its parameters."""
        return self.describe(self.unit)


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
