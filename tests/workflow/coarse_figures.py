"""Figures that the jobs of a process and its children save coarsely, which takes a third of the
time.

A job builds each figure completely. Where this module was imported, a picture of pixels is drawn
with few of them, and a file of a vector format holds a word instead of the figure. What figures
show is tested without jobs. The study that all tests share is finished in Pythons of its own, so
its jobs draw every figure as they do for a user (``conftest.untouched``).
"""

from pathlib import Path
from typing import IO, Any

from matplotlib.figure import Figure

_COARSE_DPI = 20
_PIXELS = {"png"}
_save = Figure.savefig


def _save_coarsely(figure: Figure, file: Path | str | IO, **options: Any) -> None:
    if options.get("format") in _PIXELS:
        _save(figure, file, **{**options, "dpi": _COARSE_DPI})
    else:
        Path(file).write_text("a figure", encoding="utf-8")


Figure.savefig = _save_coarsely
