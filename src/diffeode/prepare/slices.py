"""Prepare a slice: find its background, and bring its intensities to a common scale.

In microscopy the background is the light of the lamp, white or grey. In photographs and scans of
other kinds it may be black, or there may be none. All thresholds are shares of the slice's own
range, so nothing has to be set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.prepare.intensity import LEAST_IN_BRAIN

_RANGE = (0.1, 99.9)
"""Percentiles between which the range of intensities is measured."""
_BINS, _BIN_SMOOTHING = 128, 1.5
_RIM = 0.02
"""Width of the rim in which a background is looked for, as a share of the slice's shorter side."""
_NEAR = 0.06
"""Largest distance from the background's level, as a share of the range, of what looks like it."""
_LEAST_OF_RIM, _MOST_BEYOND = 1 / 3, 0.1
"""A level is that of a background where at least the first share of the rim lies near it, and at
most the second share of the slice lies beyond it.
"""
_NOISE, _SIGMA_PER_MEDIAN = 3.0, 1.4826
_TISSUE_PERCENTILE = 99.5
_CLOSED = 0.01
"""Radius of the gaps within the tissue that count as tissue, as a share of the diagonal."""
_LEAST_EMPTY = 0.01
"""Smallest share of a slice that padding of one value fills."""


@final
@dataclass(frozen=True, eq=False)
class PreparedSlice:
    """A slice as methods get it.

    Attributes:
        image: intensities in [0, 1] with background 0.
        tissue: what is not background, ``(X, Y, 1)`` bool.
        level: the intensity of the background in the slice as it was given; None where it has none
            besides padding.
    """

    image: Image
    tissue: np.ndarray
    level: float | None


def prepare_slice(image: Image, name: str) -> PreparedSlice:
    """Return ``image`` with its background at 0 and its tissue in (0, 1].

    Padding of exactly one value that touches the border is background. Besides, a background is
    found where much of the rim has nearly one intensity, at the bright or the dark end of the
    range. Where background or padding is bright, the slice is inverted. Intensities that differ
    from the background no more than its noise does become 0.

    Args:
        name: what messages call the slice.

    Raises:
        InputError: nothing but background is there.
    """
    values = image.data[..., 0]
    padding = _padding(values)
    seen = ~padding
    if not seen.any() or values[seen].min() == values[seen].max():
        raise InputError(f"{name} holds one value only besides its padding; give another slice.")
    low, high = np.percentile(values[seen], _RANGE)
    if not high > low:
        low, high = float(values[seen].min()), float(values[seen].max())
    scaled = (values - low) / (high - low)
    is_bright = padding.any() and np.median(values[padding]) > np.median(values[seen])
    level = _background(scaled, seen)
    if level is not None and padding.any() and not _is_lit(scaled, seen, level, is_bright):
        level = None
    if level is None:
        tissue = seen
        signal = np.clip(1 - scaled if is_bright else scaled, LEAST_IN_BRAIN, 1)
    else:
        signal = _above_background(scaled, seen, level)
        tissue = _filled(signal > 0, seen)
        if not tissue.any():
            raise InputError(f"{name} holds nothing but background; give another slice.")
        bright = np.percentile(signal[signal > 0], _TISSUE_PERCENTILE)
        signal = np.clip(signal / bright, LEAST_IN_BRAIN, 1)
    return PreparedSlice(
        Image(np.where(tissue, signal, 0)[..., None], image.grid),
        tissue[..., None],
        None if level is None else float(low + level * (high - low)),
    )


def _padding(values: np.ndarray) -> np.ndarray:
    """Return the pixels that touch the border in regions of exactly the least or the greatest
    value, ``(X, Y)`` bool.
    """
    padding = np.zeros(values.shape, dtype=bool)
    for extreme in (values.min(), values.max()):
        regions, _ = ndimage.label(values == extreme)
        edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
        sizes = np.bincount(regions.ravel())
        large = [i for i in np.unique(edge[edge > 0]) if sizes[i] >= _LEAST_EMPTY * values.size]
        padding |= np.isin(regions, large)
    return padding


def _background(scaled: np.ndarray, seen: np.ndarray) -> float | None:
    """Return the level of the background, or None where there is none.

    Args:
        scaled: intensities whose range is [0, 1], ``(X, Y)``.
        seen: the pixels that hold the slice, ``(X, Y)`` bool.
    """
    width = max(1, round(_RIM * min(scaled.shape)))
    rim = scaled[seen & ~ndimage.binary_erosion(seen, iterations=width)]
    counts, edges = np.histogram(np.clip(rim, 0, 1), bins=_BINS, range=(0, 1))
    peak = int(ndimage.gaussian_filter1d(counts.astype(float), _BIN_SMOOTHING).argmax())
    level = float((edges[peak] + edges[peak + 1]) / 2)
    inside = scaled[seen]
    beyond = min((inside > level + _NEAR).mean(), (inside < level - _NEAR).mean())
    if (np.abs(rim - level) <= _NEAR).mean() < _LEAST_OF_RIM or beyond > _MOST_BEYOND:
        return None
    return level


def _is_lit(scaled: np.ndarray, seen: np.ndarray, level: float, is_bright: bool) -> bool:
    """Return whether a slice within padding has the background ``level`` besides.

    The rim of tissue, such as the fluid around a brain, is often of one intensity. A lit background
    fills more of the slice, and lies at the other end of the range than the padding.

    Args:
        is_bright: whether the padding is brighter than the slice.
    """
    fills = (np.abs(scaled[seen] - level) <= _NEAR).mean()
    return bool(fills > _LEAST_OF_RIM and (level > 0.5) != is_bright)


def _above_background(scaled: np.ndarray, seen: np.ndarray, level: float) -> np.ndarray:
    """Return by how much each pixel differs from the background's level, less its noise."""
    inside = scaled[seen]
    is_bright = (inside > level + _NEAR).mean() <= (inside < level - _NEAR).mean()
    away = level - scaled if is_bright else scaled - level
    # Tissue lies on one side of the level only, so the other side shows the noise alone.
    other_side = -away[seen & (away < 0)]
    noise = _SIGMA_PER_MEDIAN * np.median(other_side) if other_side.size else 0.0
    return np.where(seen, np.maximum(away - min(_NOISE * noise, _NEAR), 0), 0)


def _filled(signal: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return ``signal (X, Y)`` without specks, with its gaps closed and its holes filled."""
    radius = max(1, round(_CLOSED * float(np.hypot(*signal.shape))))
    grown = ndimage.uniform_filter(signal.astype(np.float32), 2 * radius + 1, mode="nearest")
    return ndimage.binary_fill_holes((grown > 0.25) & seen) & seen
