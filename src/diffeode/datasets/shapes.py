"""Drawn shapes in the plane, after the examples of arXiv 2108.03443 (Fig. 1): pictures that a
diffeomorphism can or cannot turn into each other.

A shape is 1 inside and 0 outside, with a linear edge of two pixels. It lies in the square [-1, 1]^2
that the picture covers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def circle(side: int) -> np.ndarray:
    """Return a disc of radius 0.6, ``(side, side)``."""
    return _soft(np.hypot(*_plane(side)) - 0.6)


def donut(side: int) -> np.ndarray:
    """Return a ring between radii 0.22 and 0.62, ``(side, side)``."""
    return _soft(np.abs(np.hypot(*_plane(side)) - 0.42) - 0.2)


def square(side: int) -> np.ndarray:
    """Return a square of half width 0.5, ``(side, side)``."""
    x, y = np.abs(_plane(side))
    return _soft(np.maximum(x, y) - 0.5)


def two_squares(side: int) -> np.ndarray:
    """Return two rectangles that lie apart along the first axis, ``(side, side)``."""
    x, y = np.abs(_plane(side))
    return _soft(np.maximum(np.abs(x - 0.4) - 0.25, y - 0.4))


def star(side: int) -> np.ndarray:
    """Return a star of five round points, ``(side, side)``."""
    x, y = _plane(side)
    return _soft(np.hypot(x, y) - 0.5 - 0.17 * np.cos(5 * np.arctan2(y, x)))


def cross(side: int) -> np.ndarray:
    """Return a cross with sharp corners, ``(side, side)``."""
    x, y = np.abs(_plane(side))
    arms = np.maximum(x - 0.2, y - 0.65), np.maximum(x - 0.65, y - 0.2)
    return _soft(np.minimum(*arms))


PAIRS: dict[str, tuple[Callable[[int], np.ndarray], Callable[[int], np.ndarray]]] = {
    "circle to square": (square, circle),
    "donut to circle": (circle, donut),
    "star to cross": (cross, star),
    "squares to one": (square, two_squares),
}
"""The fixed and the moving shape of each example, by a name that says which shape becomes which."""


def _plane(side: int) -> np.ndarray:
    """Return the coordinates of the pixels, ``(2, side, side)``."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    return np.stack(np.meshgrid(axis, axis, indexing="ij"))


def _soft(distance: np.ndarray) -> np.ndarray:
    """Return 1 where the distance to the border is negative and 0 where it is positive, with a
    linear edge of two pixels.
    """
    return np.clip(0.5 - distance * len(distance) / 4, 0, 1).astype(np.float32)
