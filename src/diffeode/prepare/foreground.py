"""Find what an image shows: everything but its background, whatever the image is of."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.geometry.image import Image
from diffeode.prepare.brain import stripped_brain_or_none

# Padding is one value that fills most of the volume's faces, as resampling, skull stripping and
# the corners around a CT's circle leave it.
_FACES_PADDED = 0.25
# Air is a narrow peak at the dark end. In raw heads of four scanners, 52 to 78 % of all voxels lie
# in the lowest tenth of the range; in crops of tissue 2 to 5 % do.
_RANGE = (0.1, 99.5)
_DARK, _LEAST_AIR = 0.1, 0.25
# A peak is narrow where the second tenth of the range holds far fewer voxels than the first.
_STEEP = 0.5
_SPECK = 0.01


def found_foreground(image: Image) -> np.ndarray:
    """Return what ``image`` shows, ``(X, Y, Z)`` bool: all voxels but its background.

    The background is found by the first rule that applies:

    1. In a skull-stripped brain it is what :func:`diffeode.prepare.brain.stripped_brain` takes for
       background.
    2. One value that fills at least a quarter of the volume's faces is padding.
    3. Of the other voxels, air is what is darker than a tenth of their range (0.1 to 99.5
       percentile), where at least a quarter of them are so dark and few are a little brighter.

    Enclosed holes belong to what is shown. Where no rule applies, everything is.
    """
    brain = stripped_brain_or_none(image)
    if brain is not None:
        return brain
    shown = _without_padding(image.data)
    return _filled(_without_air(image.data, shown))


def _without_padding(data: np.ndarray) -> np.ndarray:
    faces = np.concatenate([np.take(data, (0, -1), axis=axis).ravel() for axis in range(data.ndim)])
    values, counts = np.unique(faces, return_counts=True)
    most = counts.argmax()
    if counts[most] < _FACES_PADDED * faces.size:
        return np.ones(data.shape, dtype=bool)
    return data != values[most]


def _without_air(data: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return ``shown`` without the voxels that are air, where air can be told from tissue."""
    if not shown.any():
        return shown
    low, high = np.percentile(data[shown], _RANGE)
    first, second = low + _DARK * (high - low), low + 2 * _DARK * (high - low)
    dark = (data[shown] <= first).mean()
    darkish = (data[shown] <= second).mean() - dark
    if not high > low or dark < _LEAST_AIR or darkish > _STEEP * dark:
        return shown
    smooth = ndimage.uniform_filter(np.where(shown, data, low), 3)
    return _without_specks((smooth > first) & (data > first) & shown)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Return the pieces of ``mask`` that have at least a hundredth of the largest one's voxels."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes >= _SPECK * sizes.max())[pieces] & mask


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return ``mask`` with its holes, and with those that only a face of the volume opens."""
    filled = mask.copy()
    for axis in range(mask.ndim):
        for plane in (0, -1):
            index = tuple(plane if a == axis else slice(None) for a in range(mask.ndim))
            filled[index] = ndimage.binary_fill_holes(filled[index])
    outside, _ = ndimage.label(~filled)
    reached = {
        int(piece)
        for axis in range(mask.ndim)
        for piece in np.unique(np.take(outside, (0, -1), axis=axis))
    }
    return ~np.isin(outside, sorted(reached - {0}))
