"""The curve of the energy on a page about one registration, as a picture in SVG.

It shows what :mod:`diffeode.figures.convergence` shows of one run. A figure of matplotlib would
take as long as all other pictures of the page together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from diffeode.figures import style
from diffeode.figures.convergence import levels

_WIDTH, _HEIGHT = 72 * style.FULL_WIDTH_IN, 150.0
_TOP, _RIGHT, _BOTTOM = 18.0, _WIDTH - 6.0, _HEIGHT - 26.0
"""The size of the picture, and the box of the curve but for its left side, points."""
_LETTER = 3.7
"""The width of a digit in a label, points."""
_MARGIN = 0.05
"""The room beyond the least and the greatest value, as a share of the range."""
_MOST_DECIMALS, _LARGE = 6, 1e5
_FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def energy_picture(table: pd.DataFrame, title: str) -> str:
    """Return a picture in SVG of the energy over the iterations; empty where no energy is finite.

    Each resolution level has a curve of its own, finer levels darker, which begins at a thin line
    with the name of the level.

    Args:
        table: the trace, with the columns ``iteration``, ``energy`` and, where there are several
            levels, ``level``.
        title: the title of the run.
    """
    finite = table[np.isfinite(table["energy"]) & np.isfinite(table["iteration"])]
    if finite.empty:
        return ""
    up = _Axis(finite["energy"].to_numpy(float), _BOTTOM, _TOP)
    left = 16 + _LETTER * max(map(len, up.labels), default=0)
    across = _Axis(finite["iteration"].to_numpy(float), left, _RIGHT, whole=True)
    look = style.looks({"run": title}, "run")["run"]
    marks = [
        f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="white"/>',
        _text(left, _TOP - 9, look.title, "start", 7, f'font-weight="{look.weight}"'),
        *_ticks(across, up, left),
        *_curves(table, across, up, look.colour),
        _text((left + _RIGHT) / 2, _HEIGHT - 3, "Iteration", "middle", 7),
        f'<g transform="translate(8 {(_TOP + _BOTTOM) / 2:.1f}) rotate(-90)">',
        _text(0, 0, "Energy", "middle", 7),
        "</g>",
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}pt" height="{_HEIGHT:g}pt" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" font-family="{_FONTS}">'
        f"{''.join(marks)}</svg>"
    )


class _Axis:
    """An axis with round ticks, which holds some values and some room beyond them.

    Args:
        values: the values, ``(N,)``.
        start, end: where the axis begins and ends, points.
        whole: whether only whole numbers are marked.

    Attributes:
        ticks, labels: the values that are marked, and their words.
    """

    def __init__(self, values: np.ndarray, start: float, end: float, whole: bool = False) -> None:
        low, high = float(values.min()), float(values.max())
        room = _MARGIN * (high - low) or max(abs(low), 1.0) / 2
        self._low, self._high, self._start, self._end = low - room, high + room, start, end
        places = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=whole)
        ticks = places.tick_values(self._low, self._high)
        self.ticks = [float(tick) for tick in ticks if self._low <= tick <= self._high]
        self.labels = _labels(self.ticks)

    def __call__(self, values: np.ndarray | float) -> np.ndarray:
        """Return where ``values`` lie, points."""
        share = (np.asarray(values, dtype=float) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks in words, with as many decimals as the one that needs most."""
    for decimals in range(_MOST_DECIMALS + 1):
        labels = [f"{tick:.{decimals}f}" for tick in ticks]
        if np.allclose([float(label) for label in labels], ticks, rtol=1e-6, atol=0):
            break
    else:
        labels = [f"{tick:g}" for tick in ticks]
    return labels if max(map(abs, ticks), default=0) < _LARGE else [f"{tick:g}" for tick in ticks]


def _ticks(across: _Axis, up: _Axis, left: float) -> Iterable[str]:
    """Yield both axes with their ticks, and a faint line at each tick of the energy."""
    for tick, label in zip(up.ticks, up.labels, strict=True):
        y = float(up(tick))
        yield _line(left, y, _RIGHT, y, "#e6e6e6", 0.5)
        yield _line(left - 2.5, y, left, y, style.SOFT, 0.6)
        yield _text(left - 4, y + 2.3, label, "end")
    for tick, label in zip(across.ticks, across.labels, strict=True):
        x = float(across(tick))
        yield _line(x, _BOTTOM, x, _BOTTOM + 2.5, style.SOFT, 0.6)
        yield _text(x, _BOTTOM + 10, label, "middle")
    yield _line(left, _BOTTOM, _RIGHT, _BOTTOM, style.SOFT, 0.6)
    yield _line(left, _TOP, left, _BOTTOM, style.SOFT, 0.6)


def _curves(table: pd.DataFrame, across: _Axis, up: _Axis, colour: str) -> Iterable[str]:
    parts = levels(table)
    shades = np.linspace(0.45, 1, len(parts)) if len(parts) > 1 else np.ones(1)
    for shade, (level, part) in zip(shades, parts, strict=True):
        x, y = across(part["iteration"].to_numpy()), up(part["energy"].to_numpy())
        if level:
            yield _line(x[0], _TOP, x[0], _BOTTOM, style.FAINT, 0.6)
            yield _text(x[0] + 2, _TOP + 6, f"1/{level}", "start", 6, f'fill="{style.SOFT}"')
        for points in _unbroken(np.column_stack([x, y])):
            steps = " ".join(f"{a:.1f} {b:.1f}" for a, b in points)
            yield (
                f'<path d="M{steps}" fill="none" stroke="{colour}" stroke-width="1.2" '
                f'stroke-opacity="{shade:.2f}" stroke-linejoin="round"/>'
            )


def _unbroken(points: np.ndarray) -> Iterable[np.ndarray]:
    """Yield the pieces of a curve ``(N, 2)`` between the places at which it is not finite."""
    broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
    pieces = np.split(points, broken)
    return [piece[np.isfinite(piece).all(axis=1)] for piece in pieces if np.isfinite(piece).any()]


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, width: float) -> str:
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>'


def _text(x: float, y: float, words: str, anchor: str, size: float = 6.5, look: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}"'
    return f"<text {place} {look}>{escape(words)}</text>"
