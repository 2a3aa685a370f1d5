"""The lines of a grid that a map has moved, coloured by how far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.path import Path

SHIFT_COLOURS = LinearSegmentedColormap.from_list(
    "shift", ["#c4c4c8", "#b58ab8", "#8a2d8f", "#3b0f4f"]
)
SHADES = 40
"""Number of colours of the lines. All that has one colour is drawn at once; to draw each segment by
itself takes longer than all the rest of a figure.
"""


def moved_lines(
    lines: Iterable[np.ndarray], amounts: Iterable[np.ndarray], norm: Normalize
) -> PathCollection:
    """Return ``lines``, coloured by displacement on the scale ``norm``: a path for each shade.

    Args:
        lines: the points of each line, ``(N, 2)``.
        amounts: the displacement of each point, ``(N,)``, in the unit of ``norm``.
    """
    stretches = defaultdict(list)
    for line, amount in zip(lines, amounts, strict=True):
        of_segments = norm((amount[:-1] + amount[1:]) / 2).data
        shades = np.clip(np.floor(SHADES * of_segments), 0, SHADES - 1)
        starts = [0, *(np.flatnonzero(np.diff(shades)) + 1)]
        for start, end in zip(starts, [*starts[1:], len(shades)], strict=True):
            stretches[shades[start]].append(Path(line[start : end + 1]))
    return PathCollection(
        [Path.make_compound_path(*paths) for paths in stretches.values()],
        array=norm.inverse((np.array([*stretches]) + 0.5) / SHADES),
        cmap=SHIFT_COLOURS,
        norm=norm,
        facecolors="none",
        linewidths=0.5,
    )
