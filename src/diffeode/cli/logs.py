"""What ``--verbose`` adds: a log on standard error of what a command works with and how long it
takes.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

_LOG = logging.getLogger(__name__)
_EVERY = 10
"""Of so many iterations one is logged."""


@contextmanager
def logged(options: argparse.Namespace) -> Iterator[None]:
    """Let all that ``diffeode`` logs in the block appear on standard error, where ``--verbose`` was
    given.

    The log begins with versions and the machine, and ends with the seconds that the block took.
    """
    if not getattr(options, "verbose", False):
        yield
        return
    logger = logging.getLogger("diffeode")
    handler, level = logging.StreamHandler(), logger.level
    handler.setFormatter(logging.Formatter("diffeode: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    begun = time.perf_counter()
    try:
        _log_circumstances(options)
        yield
    finally:
        _LOG.info("the command took %.1f s", time.perf_counter() - begun)
        logger.setLevel(level)
        logger.removeHandler(handler)


def _log_circumstances(options: argparse.Namespace) -> None:
    from diffeode import __version__
    from diffeode.process.surroundings import processors
    from diffeode.provenance.software import desk_versions

    versions = {**desk_versions(), "diffeode": __version__}
    _LOG.info("command: %s", shlex.join(options.typed))
    _LOG.info("versions: %s", ", ".join(f"{name} {versions[name]}" for name in sorted(versions)))
    _LOG.info(
        "machine: %s, %d processors for this process, working folder %s",
        platform.platform(),
        processors(),
        os.getcwd(),
    )
    given = {name: getattr(options, name, None) for name in ("threads", "device", "seed")}
    told = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    if told:
        _LOG.info("settings: %s", told)


@final
class ProgressLog:
    """Logs each stage of a registration, its seconds, and every tenth iteration of the method."""

    def __init__(self) -> None:
        self._stage, self._begun = "", 0.0
        self._level, self._count, self._last = "", 0, ""

    def __enter__(self) -> ProgressLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def plan(self, seconds: Mapping[str, float | None]) -> None:
        """Hear how long the stages are likely to take, which is not logged."""

    def begin(self, stage: str) -> None:
        """Log the end of the stage before, and that ``stage`` begins."""
        self._end()
        self._stage, self._begun = stage, time.perf_counter()
        self._level, self._count = "", 0
        _LOG.info("%s ...", stage)

    def __call__(self, share: float, message: str) -> None:
        """Log ``message`` where it is the first or the last of a level, or one of ten."""
        level = message.partition(",")[0]
        if level != self._level:
            self._tell_last()
            self._level, self._count = level, 0
        self._count += 1
        self._last = f"{self._stage}: iteration {self._count}, {message}"
        if self._count == 1 or self._count % _EVERY == 0:
            self._tell_last()

    def _tell_last(self) -> None:
        if self._last:
            _LOG.info("%s", self._last)
        self._last = ""

    def _end(self) -> None:
        self._tell_last()
        if self._stage:
            _LOG.info("%s took %.2f s", self._stage, time.perf_counter() - self._begun)
        self._stage = ""
