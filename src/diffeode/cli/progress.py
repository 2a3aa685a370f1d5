"""Show the progress of a command on a line of the terminal."""

from __future__ import annotations

import math
import time
from typing import TextIO


class ProgressLine:
    """Shows the percentage, the time left and what is being done, on one line of a terminal.

    It shows nothing where ``stream`` is no terminal.
    """

    _LEAST_PERIOD_S = 0.1
    # Before that, setting up takes most of the time, and the time left would be wrong.
    _LEAST_FRACTION = 0.03

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, stream.isatty()
        self._last, self._started_at = -math.inf, None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._print("")

    def __call__(self, fraction: float, message: str) -> None:
        now = time.monotonic()
        if fraction <= 0:
            self._started_at = now
        elif now - self._last < self._LEAST_PERIOD_S:
            return
        self._last = now
        self._print(f"{100 * fraction:3.0f} %{self._left(fraction, now)}  {message}")

    def _left(self, fraction: float, now: float) -> str:
        if self._started_at is None or not self._LEAST_FRACTION <= fraction < 1:
            return ""
        minutes, seconds = divmod(round((now - self._started_at) * (1 - fraction) / fraction), 60)
        return f"  {minutes}:{seconds:02d} left"

    def _print(self, line: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)
