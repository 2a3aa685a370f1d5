"""What is told of a descent through the levels: trace, notes, progress."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import final


@final
class Reporter:
    """Collects trace and notes, and turns iterations into progress, weighting each by its level's
    voxels.
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
        self._before = [
            0.0,
            *itertools.accumulate(c * n for c, n in zip(self._costs, iterations, strict=True)),
        ]
        self._level, self._done = 0, 0.0

    def enter(self, level: int) -> None:
        """The level of this index begins; what was left out of the one before counts as done."""
        self._level, self._done = level, self._before[level]

    def __call__(self, terms: dict[str, float]) -> None:
        level = self._levels[self._level]
        self.trace.append({"level": level, **terms})
        self._done += self._costs[self._level]
        self._progress(
            self._done / self._before[-1], f"level {level:g}, energy {terms['energy']:.5f}"
        )

    def finish(self) -> None:
        """The last level ended, early maybe."""
        if self._done < self._before[-1] * (1 - 1e-9):
            self._progress(1.0, "done")
