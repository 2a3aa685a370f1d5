"""Slices of very many pixels are registered on a coarser lattice.

A deformation of tissue is smooth over many pixels of such a picture, and the finest pixels would
take most of the time. The map that is found is continuous, so the result still lies on every pixel.
"""

from __future__ import annotations

import math

import numpy as np

from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice
from diffeode.geometry.resample import coarser_slice
from diffeode.registration.base import Pair

MOST_PIXELS = 1_500_000
"""Largest number of pixels with which a slice is registered as it is."""


def with_fewer_pixels(pair: Pair) -> Pair:
    """Return ``pair``; where it consists of slices of more than :data:`MOST_PIXELS`, with pixels a
    whole number of times as wide, so that there are no more than that.
    """
    grid = pair.fixed.grid
    pixels = math.prod(grid.shape)
    if not is_slice(grid) or pixels <= MOST_PIXELS:
        return pair
    factor = math.ceil(math.sqrt(pixels / MOST_PIXELS))

    def coarser(image: Image) -> Image:
        return coarser_slice(image, (factor, factor))

    def coarser_mask(mask: np.ndarray) -> np.ndarray:
        return coarser(Image(mask.astype(np.float32), grid)).data >= 0.5

    images = coarser(pair.fixed), coarser(pair.moving)
    masks = coarser_mask(pair.fixed_mask), coarser_mask(pair.moving_mask)
    return Pair(*images, *masks, None if pair.counts is None else coarser_mask(pair.counts))
