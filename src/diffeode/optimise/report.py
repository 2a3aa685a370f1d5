"""The record of a descent through the levels: its trace, its notes and its progress."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import final


@final
class Reporter:
    """A collector of trace and notes that reports progress.

    An iteration on a level reduced by ``f`` is taken to cost ``f^-3`` of one at full resolution,
    after its number of voxels.

    Args:
        levels: the factor ``f`` of each level.
        iterations: the number of iterations on each level.
        progress: a function of a fraction in [0, 1] and a short message.
    Attributes:
        trace: the terms of the energy in each iteration.
        notes: what the user should know.
    """

    def __init__(
        self,
        levels: Sequence[float],
        iterations: Sequence[int],
        progress: Callable[[float, str], None],
    ) -> None:
        self.trace: list[dict[str, float]] = []
        self.notes: list[str] = []
        self._levels, self._progress = levels, progress
        self._costs = [level**-3 for level in levels]
        costs_of_levels = (c * n for c, n in zip(self._costs, iterations, strict=True))
        # The cost of all levels before each level; the last entry is the cost of all levels.
        self._before = [0.0, *itertools.accumulate(costs_of_levels)]
        self._level, self._done = 0, 0.0

    def enter(self, level: int) -> None:
        """Begin the level of this index; iterations that were left out before count as done."""
        self._level, self._done = level, self._before[level]

    def __call__(self, terms: dict[str, float]) -> None:
        """Record one iteration, given the terms of its energy."""
        level = self._levels[self._level]
        self.trace.append({"level": level, **terms})
        self._done += self._costs[self._level]
        self._progress(
            self._done / self._before[-1], f"level {level:g}, energy {terms['energy']:.5f}"
        )

    def finish(self) -> None:
        """End the last level, and report the work as done where iterations were left out."""
        if self._done < self._before[-1] * (1 - 1e-9):
            self._progress(1.0, "done")
