"""The program that draws a bar of progress: a process of its own, which reads from its standard
input what another process has reached.

The bar moves although the other process computes, and although some of its tools (ANTs) let no
other thread of it run. This file is started as a script and uses Python's own library alone, so
that it starts at once.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

PERIOD_S = 0.2
"""The bar is drawn again after this time."""
_BAR = 20
_WIDEST = 100
_PRIOR_S = 2.0
"""Weight of the plan against what the stages took: that many seconds."""
_PRIOR_SHARE = 0.05
"""Weight of a stage's plan against what it says of itself: that share of the stage."""
_OVERDUE = 0.15
"""A stage that has reached its plan is taken to last that share of it longer."""
_LEAST_SHARE = 0.03
"""Smallest share from which a stage without a plan tells the time left."""
_UNKNOWN_S = 60.0


class Estimate:
    """How much of the work is done, and how long the rest takes.

    The work is a sequence of stages with planned seconds. The plan is corrected by how long the
    stages took that are over, because machines differ and may be busy, and by what the present one
    says of itself.

    Args:
        clock: the seconds since some moment.
        slowness: how many times as long as planned everything takes, as far as is known before
            anything has been done.
    """

    def __init__(self, clock: Callable[[], float], slowness: float = 1.0) -> None:
        self._clock, self._begun, self._slowness = clock, clock(), slowness
        self._plan: dict[str, float | None] = {}
        self._took: dict[str, float] = {}
        self._stage, self._stage_begun = "", clock()
        self._done, self._done_at = 0.0, clock()
        self._first: tuple[float, float] | None = None
        self._shown, self._shown_at = 0.0, clock()

    def plan(self, seconds: Mapping[str, float | None]) -> None:
        """Take the seconds of each stage, in their order; None where nobody knows.

        A later plan replaces an earlier one. What stages took that are over is kept.
        """
        self._plan = dict(seconds)

    def begin(self, stage: str) -> None:
        """Note that ``stage`` begins, and that the one before is over."""
        now = self._clock()
        if self._stage:
            self._took[self._stage] = now - self._stage_begun
        if stage not in self._plan:  # work without stages begins again
            self._begun, self._shown, self._shown_at = now, 0.0, now
        self._stage, self._stage_begun, self._done, self._done_at = stage, now, 0.0, now
        self._first = None

    def reach(self, share: float) -> None:
        """Note which share of the present stage is done."""
        self._done, self._done_at = share, self._clock()
        if self._first is None:
            self._first = self._done, self._done_at

    @property
    def share(self) -> float:
        """The share of the work that is done, from 0 to 1.

        Where the rest turns out to take longer than was thought before, the share grows at half of
        the speed and never becomes smaller.
        """
        if self._stage not in self._plan:
            return self._done
        now = self._clock()
        past, since = now - self._begun, now - self._shown_at
        left = self.seconds_left
        if left is None:
            left = self._left_of_stage(1.0) + sum(self._ahead().values())
        if left > 0:
            slowly = self._shown + (1 - self._shown) * since / (2 * left + since)
            self._shown = max(past / (past + left), slowly)
        elif past:
            self._shown = 1.0
        self._shown_at = now
        return self._shown

    @property
    def seconds_left(self) -> float | None:
        """The seconds that the rest takes; None where a stage has no plan and does not tell."""
        known = self._plan.get(self._stage) is not None
        if not known and self._done < _LEAST_SHARE:
            return None
        speed = self._speed()
        ahead = self._ahead()
        if any(self._plan[stage] is None for stage in ahead):
            return None
        return self._left_of_stage(speed) + speed * sum(ahead.values())

    def _ahead(self) -> dict[str, float]:
        """Return the planned seconds of the stages that have not begun."""
        stages = list(self._plan)
        later = stages[stages.index(self._stage) + 1 :] if self._stage in stages else []
        planned = {stage: self._plan[stage] for stage in later}
        return {stage: _UNKNOWN_S if s is None else s for stage, s in planned.items()}

    def _speed(self) -> float:
        """Return how many times as long as planned the stages took."""
        over = [stage for stage in self._took if self._plan.get(stage) is not None]
        planned = _PRIOR_S + sum(self._plan[stage] for stage in over)
        took = _PRIOR_S * self._slowness + sum(self._took[stage] for stage in over)
        present = self._plan.get(self._stage)
        if present is not None:
            share, seconds = self._since_the_first()
            planned += share * present
            took += seconds
        return took / planned

    def _since_the_first(self) -> tuple[float, float]:
        """Return the share of the stage, and the seconds, since it first told its share; what a
        stage does before, such as loading, has another pace.
        """
        if self._first is None:
            return 0.0, 0.0
        return self._done - self._first[0], self._done_at - self._first[1]

    def _left_of_stage(self, speed: float) -> float:
        now = self._clock()
        past = now - self._stage_begun
        planned = self._plan.get(self._stage)
        if planned is None and self._done < _LEAST_SHARE:
            return max(_UNKNOWN_S - past, _OVERDUE * past)
        if planned is None:
            whole = (self._done_at - self._stage_begun) / self._done
        elif self._first is not None:
            share, seconds = self._since_the_first()
            whole = (_PRIOR_SHARE * speed * planned + seconds) / (_PRIOR_SHARE + share)
            past = self._done * whole + now - self._done_at
        else:
            whole = speed * planned
        if self._done >= 1:
            return 0.0
        return max(whole - past, _OVERDUE * (now - self._done_at), 0.0)


def line_of(estimate: Estimate, message: str, width: int) -> str:
    """Return the bar, the share that is done, the time left and ``message`` on one line."""
    share, left = estimate.share, estimate.seconds_left
    full = int(_BAR * share)
    bar = "#" * full + "-" * (_BAR - full)
    words = "" if left is None else f"  {_in_words(left)} left"
    return f"[{bar}] {int(100 * share):3d} %{words}  {message}"[: width - 1]


def _in_words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Painter:
    """Draws the bar of an estimate, and understands what it is told.

    Args:
        stream: the terminal.
        slowness: as for :class:`Estimate`.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        width: int = _WIDEST,
        slowness: float = 1.0,
    ) -> None:
        self._stream, self._width = stream, width
        self._estimate, self._message = Estimate(clock, slowness), ""

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take in a message of the process that works: its plan, a stage that begins, or the share
        of the stage that is done.
        """
        if "plan" in told:
            self._estimate.plan(told["plan"])
        if "begin" in told:
            self._estimate.begin(told["begin"])
        if "share" in told:
            self._estimate.reach(told["share"])
        self._message = told.get("say", self._message)

    def draw(self) -> None:
        """Draw the line again, over the one before."""
        if self._message:
            self._put(line_of(self._estimate, self._message, self._width))

    def clear(self) -> None:
        """Remove the line."""
        self._put("")

    def _put(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()


def slowness_of(load: float, processors: int) -> float:
    """Return how many times as long as on an idle machine a process takes that joins ``load`` other
    ones on so many processors.

    >>> slowness_of(0.5, 2), slowness_of(5, 2)
    (1.0, 3.0)
    """
    return max(1.0, (load + 1) / processors)


def _paint_until_the_end(painter: Painter) -> None:
    """Draw until the other process says that it ends, or ends in any other way."""
    heard = b""
    while True:
        if select.select([0], [], [], PERIOD_S)[0]:
            more = os.read(0, 65536)
            if not more:
                return
            *lines, heard = (heard + more).split(b"\n")
            for told in map(json.loads, lines):
                if "end" in told:
                    return
                painter.hear(told)
        painter.draw()


def _main() -> None:
    # The bar is no child of the process that works, whose children's memory and time are measured.
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    slowness = slowness_of(os.getloadavg()[0], os.cpu_count() or 1)
    painter = Painter(sys.stderr, width=width, slowness=slowness)
    try:
        _paint_until_the_end(painter)
    finally:
        painter.clear()


if __name__ == "__main__":
    _main()
