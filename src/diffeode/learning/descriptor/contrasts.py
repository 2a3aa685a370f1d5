"""Contrasts for contrastive training: monotone maps of intensity, and contrasts drawn anew for
every structure.

Arrays are ``(X, Y, Z)``, intensities in [0, 1] and background exactly 0, as prepared scans are.
Background stays 0 and the rest above it whatever the contrast, because scans come skull-stripped.
"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy import ndimage

LEAST_IN_BRAIN = 1e-3
"""As :func:`diffeode.prepare.intensity.robust` leaves it."""
_BIAS_CORNERS = 4
_BIAS_STRENGTH = 0.3
_TEXTURE_GAIN = 1.0
_BLUR_VOX = 1.0
_NOISE = 0.06


def bezier(values: np.ndarray, control: np.ndarray) -> np.ndarray:
    """The Bezier curve of degree ``n`` with ``control`` points ``(n + 1,)`` at ``values`` in [0,
    1].

    arXiv 2512.22689, equations 16 and 17. It is strictly increasing where the control points are.
    """
    degree = len(control) - 1
    basis = (comb(degree, i) * values**i * (1 - values) ** (degree - i) for i in range(degree + 1))
    return sum(point * b for point, b in zip(control, basis, strict=True))


def increasing_control(count: int, generator: np.random.Generator) -> np.ndarray:
    """``count`` random control points, increasing from 0 to 1."""
    steps = generator.uniform(0.01, 1, count - 1)
    return np.concatenate([[0], np.cumsum(steps) / steps.sum()])


def shifted(
    image: np.ndarray, control_points: int, inversion: float, generator: np.random.Generator
) -> np.ndarray:
    """``image`` under a random monotone map, of ``1 - image`` with probability ``inversion``."""
    values = 1 - image if generator.random() < inversion else image
    mapped = bezier(values.astype(np.float64), increasing_control(control_points, generator))
    return _on_brain(mapped, image > 0)


def synthetic(
    labels: np.ndarray, texture: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """A contrast in the manner of SynthMorph (Hoffmann et al., TMI 2022): a random intensity for
    every label.

    Within a label the intensity follows ``texture`` by a random factor of either sign, which two
    contrasts of one person share otherwise; then come blur, a bias field and noise.

    Args:
        labels: 0 is background.
        texture: the person's scan, or any field that varies within labels.
    """
    numbers, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape)
    means = ndimage.mean(texture, places, np.arange(len(numbers)))
    levels, gains = (
        generator.uniform(0, 1, len(numbers)),
        generator.uniform(-1, 1, len(numbers)) * _TEXTURE_GAIN,
    )
    signal = levels[places] + gains[places] * (texture - means[places])
    signal = ndimage.gaussian_filter(signal, generator.uniform(0, _BLUR_VOX))
    signal = signal * np.exp(_bias(labels.shape, generator))
    return _on_brain(_scaled(noisy(signal, generator), labels > 0), labels > 0)


def noisy(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """``image`` with Gaussian noise of a random, small amplitude."""
    return image + generator.normal(0, generator.uniform(0, _NOISE), image.shape)


def random_texture(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Smooth noise of standard deviation 0.1, for label maps without a scan."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape), generator.uniform(0.7, 2))
    return 0.1 * field / field.std()


def _bias(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    corners = generator.normal(
        0, generator.uniform(0, _BIAS_STRENGTH), (_BIAS_CORNERS,) * len(shape)
    )
    places = np.meshgrid(*(np.linspace(0, _BIAS_CORNERS - 1, n) for n in shape), indexing="ij")
    return ndimage.map_coordinates(corners, places, order=1)


def _scaled(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    inside = image[brain]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 1.0)
    return (image - low) / max(high - low, np.finfo(float).tiny)


def _on_brain(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    return np.where(brain, np.clip(image, LEAST_IN_BRAIN, 1), 0).astype(np.float32)
