"""Show the progress of a command on a line of the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

_PAINTER = Path(__file__).with_name("painter.py")


class ProgressLine:
    """Shows a bar, the share that is done, the time left and what is being done on a line.

    Another process draws the line (:mod:`diffeode.cli.painter`), so that it moves all the time. It
    shows nothing where ``stream`` is no terminal, or where the command is to be quiet.
    """

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream, self._shown = stream, stream.isatty() and not quiet
        self._painter: subprocess.Popen | None = None
        self._is_planned = False

    def __enter__(self) -> ProgressLine:
        if self._shown:
            # isolated and without packages, so that it starts at once
            command = [sys.executable, "-I", "-S", str(_PAINTER)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with suppress(OSError):  # without a bar, the work goes on
                self._painter = subprocess.Popen(command, **pipes, stderr=self._stream)
                self._painter.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._painter is not None and self._painter.stdin and self._painter.stdout:
            # Closing does not suffice: a process that was forked meanwhile may keep the pipe open.
            self._tell({"end": True})
            with suppress(BrokenPipeError):
                self._painter.stdin.close()
            self._painter.stdout.read()  # it ends when the line has been removed
            self._painter.stdout.close()

    def plan(self, seconds: Mapping[str, float | None]) -> None:
        """Say how many seconds each stage of the work takes, in their order; None where nobody
        knows.
        """
        self._is_planned = True
        self._tell({"plan": dict(seconds)})

    def begin(self, stage: str) -> None:
        """Say that a stage of the plan begins."""
        self._tell({"begin": stage, "say": stage})

    def __call__(self, share: float, message: str) -> None:
        """Say that ``share`` of the present stage is done, from 0 to 1.

        Without a plan, 0 begins the whole work again.
        """
        told: dict[str, Any] = {"share": share, "say": message}
        if share <= 0 and not self._is_planned:
            told["begin"] = message
        self._tell(told)

    def _tell(self, told: Mapping[str, Any]) -> None:
        if self._painter is None or self._painter.stdin is None:
            return
        with suppress(BrokenPipeError):  # the line is lost, and the work goes on
            self._painter.stdin.write(json.dumps(told).encode() + b"\n")
            self._painter.stdin.flush()
