"""The stages of a registration at a desk: how long each is likely to take, and which has begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

from diffeode.prepare.choices import LARGE_VOXELS

STARTING, READING, STRIPPING = "starting", "reading", "stripping the skulls"
PREPARING, ALIGNING = "preparing", "aligning"
REGISTERING, MEASURING, WRITING = "registering", "measuring", "writing"
DRAWING, REPORTING = "drawing", "making the page"


@final
@dataclass(frozen=True)
class _Cost:
    """The seconds of a stage on one processor: some, and more for each million voxels.

    Attributes:
        shared: the share of the work that several threads divide among themselves.
    """

    seconds: float
    per_million: float
    shared: float = 0.0

    def of(self, millions: float, threads: int) -> float:
        alone = self.seconds + self.per_million * millions
        return alone * (1 - self.shared + self.shared / threads)


# Measured by `python benchmarks/stages.py` on one processor: newborns at 0.4 and 2.3 million voxels
# (aligning 3.2 and 18.6 s, registering 8.5 and 27.1 s, all other stages 2.0 and 7.7 s).
_COSTS = {
    STARTING: _Cost(2.0, 0.0),
    READING: _Cost(0.05, 0.1),
    STRIPPING: _Cost(65.0, 0.0, 0.8),
    PREPARING: _Cost(0.05, 0.25),
    ALIGNING: _Cost(0.3, 7.8, 0.8),
    REGISTERING: _Cost(5.0, 9.4, 0.8),
    MEASURING: _Cost(0.1, 0.8),
    WRITING: _Cost(0.05, 0.4),
    DRAWING: _Cost(0.65, 0.95),
    REPORTING: _Cost(0.2, 0.25),
}
_ALIGNING_QUICKLY = _Cost(1.5, 0.1)
"""What the alignment of large volumes takes (:mod:`diffeode.prepare.quick_affine`)."""
_DESCENT = "neural-ode"
"""The method whose seconds are known; others say themselves how far they are, or nobody knows."""
_METHOD_ENDS = 0.85
"""The share of the stage ``registering`` after which a method says that it is done; folds are then
looked for, and the whole maps and the verdict are made.
"""
_USUAL_WORK = 25.6
"""The work of the default run: iterations, each weighted by the share of voxels of its level."""


@runtime_checkable
class Staged(Protocol):
    """A function that is told progress, and also hears of stages."""

    def plan(self, seconds: Mapping[str, float | None]) -> None:
        """Hear how many seconds each stage takes; None where nobody knows."""

    def begin(self, stage: str) -> None:
        """Hear that a stage begins."""

    def __call__(self, share: float, message: str) -> None:
        """Hear which share of the stage is done."""


@final
class Stages:
    """Tells the progress of a registration, stage by stage.

    Args:
        progress: a function of the share that is done, in [0, 1], and a message. Where it hears of
            stages (:class:`Staged`), it is told the share of the stage; otherwise, the share of the
            whole work by the plan.
        plan: the seconds of each stage; None where nobody knows.
    """

    def __init__(
        self, progress: Callable[[float, str], None], plan: Mapping[str, float | None]
    ) -> None:
        self._progress, self._stage = progress, next(iter(plan), "")
        self.plan(plan)

    def plan(self, seconds: Mapping[str, float | None]) -> None:
        """Tell how many seconds each stage takes, as far as is known by now."""
        self._plan = dict(seconds)
        if isinstance(self._progress, Staged):
            self._progress.plan(self._plan)

    def begin(self, stage: str) -> None:
        """Tell that ``stage`` begins."""
        self._stage = stage
        if isinstance(self._progress, Staged):
            self._progress.begin(stage)
        else:
            self(0.0, stage)

    def __call__(self, share: float, message: str) -> None:
        """Tell that ``share`` of the present stage is done; of registering, what a method says."""
        if self._stage == REGISTERING:
            share *= _METHOD_ENDS
        if isinstance(self._progress, Staged):
            self._progress(share, message)
        else:
            self._progress(self._of_all(share), message)

    def _of_all(self, share: float) -> float:
        """Return the share of the whole work that is done, given that of the present stage."""
        known = [seconds for seconds in self._plan.values() if seconds is not None]
        weights = {
            stage: max(known, default=1.0) if seconds is None else seconds
            for stage, seconds in self._plan.items()
        }
        names = list(weights)
        before = sum(weights[name] for name in names[: names.index(self._stage)])
        return (before + share * weights[self._stage]) / sum(weights.values())


def planned(
    method: str,
    parameters: Mapping[str, Any],
    millions: float,
    threads: int,
    device: str,
    *,
    aligns: bool,
    strips: bool,
    report: bool,
) -> dict[str, float | None]:
    """Return the seconds that each stage of a registration is likely to take, in their order; None
    where nobody knows.

    Args:
        method, parameters: of the run.
        millions: the number of voxels of the two scans, as a mean, in millions.
        aligns: whether an alignment is found first.
        strips: whether skulls are stripped.
        report: whether a page is made.
    """
    seconds = {stage: cost.of(millions, threads) for stage, cost in _COSTS.items()}
    if not aligns:
        seconds[ALIGNING] = 0.0
    elif millions * 1e6 > LARGE_VOXELS:
        seconds[ALIGNING] = _ALIGNING_QUICKLY.of(millions, threads)
    if not strips:
        del seconds[STRIPPING]
    if not report:
        del seconds[REPORTING]
    known = method == _DESCENT and device == "cpu"
    work = _work(parameters) / _USUAL_WORK if known else None
    return {
        **seconds,
        REGISTERING: None if work is None else seconds[REGISTERING] * work,
    }


def staged(progress: Callable[[float, str], None], plan: Mapping[str, float | None]) -> Stages:
    """Return ``progress`` where it is told stages already; otherwise, stages with ``plan``."""
    return progress if isinstance(progress, Stages) else Stages(progress, plan)


def _work(parameters: Mapping[str, Any]) -> float:
    """Return the number of iterations, each weighted by the share of voxels of its level."""
    levels = parameters["levels"]
    return sum(
        iterations * factor**-3
        for factor, iterations in zip(levels["factors"], levels["iterations"], strict=True)
    )
