"""Contrasts for contrastive training: monotone maps of intensities, and synthetic contrasts.

Arrays are ``(X, Y, Z)`` with intensities in [0, 1] and a background of exactly 0, as prepared scans
are. In every contrast the background stays 0 and the brain stays above it, because scans come
skull-stripped.
"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy import ndimage

LEAST_IN_BRAIN = 1e-3
"""The least intensity in the brain, that of :func:`diffeode.prepare.intensity.robust`."""
_BIAS_CORNERS = 4
"""Number of points along each axis between which the bias field is linear."""
_BIAS_STRENGTH = 0.3
"""Largest standard deviation of the logarithm of the bias field."""
_TEXTURE_GAIN = 1.0
"""Largest factor of the texture within a label."""
_BLUR_VOX = 1.0
"""Largest standard deviation of the blur, voxels."""
_NOISE = 0.06
"""Largest standard deviation of the noise."""


def bezier(values: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return the Bezier curve with ``control`` points ``(n + 1,)`` at ``values`` in [0, 1].

    The curve is ``sum_i control_i B_i`` with the Bernstein polynomials ``B_i`` of degree ``n``
    (arXiv 2512.22689, equations 16 and 17). It is strictly increasing where the control points are.

    >>> bezier(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    >>> bezier(np.array([0.5]), np.array([0.0, 0.0, 1.0])).tolist()
    [0.25]
    """
    degree = len(control) - 1
    basis = (comb(degree, i) * values**i * (1 - values) ** (degree - i) for i in range(degree + 1))
    return sum(point * b for point, b in zip(control, basis, strict=True))


def increasing_control(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return ``count`` random control points that increase from 0 to 1."""
    steps = generator.uniform(0.01, 1, count - 1)
    return np.concatenate([[0], np.cumsum(steps) / steps.sum()])


def shifted(
    image: np.ndarray, control_points: int, inversion: float, generator: np.random.Generator
) -> np.ndarray:
    """Return ``image``, or with probability ``inversion`` ``1 - image``, under a random monotone
    map.
    """
    values = 1 - image if generator.random() < inversion else image
    mapped = bezier(values.astype(np.float64), increasing_control(control_points, generator))
    return _on_brain(mapped, image > 0)


def synthetic(
    labels: np.ndarray, texture: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return a synthetic contrast, after SynthMorph (Hoffmann et al., TMI 41(3), 2022).

    Every label has a random intensity. Within a label the intensity follows ``texture`` times a
    random factor of either sign, so two contrasts of one person share the texture and differ in its
    strength and sign. The result is blurred and given a bias field and noise.

    Args:
        labels: the label map, background 0.
        texture: the person's scan, or any field that varies within labels.
    """
    numbers, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape)
    means = ndimage.mean(texture, places, np.arange(len(numbers)))
    levels = generator.uniform(0, 1, len(numbers))
    gains = generator.uniform(-1, 1, len(numbers)) * _TEXTURE_GAIN
    signal = levels[places] + gains[places] * (texture - means[places])
    signal = ndimage.gaussian_filter(signal, generator.uniform(0, _BLUR_VOX))
    signal = signal * np.exp(_bias(labels.shape, generator))
    return _on_brain(_scaled(noisy(signal, generator), labels > 0), labels > 0)


def noisy(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return ``image`` with Gaussian noise of a small, random standard deviation."""
    return image + generator.normal(0, generator.uniform(0, _NOISE), image.shape)


def random_texture(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return smooth noise of standard deviation 0.1, a texture for label maps without a scan."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape), generator.uniform(0.7, 2))
    return 0.1 * field / field.std()


def _bias(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return the logarithm of a random, smooth bias field."""
    corners = generator.normal(
        0, generator.uniform(0, _BIAS_STRENGTH), (_BIAS_CORNERS,) * len(shape)
    )
    places = np.meshgrid(*(np.linspace(0, _BIAS_CORNERS - 1, n) for n in shape), indexing="ij")
    return ndimage.map_coordinates(corners, places, order=1)


def _scaled(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return ``image`` scaled to [0, 1] over the brain."""
    inside = image[brain]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 1.0)
    return (image - low) / max(high - low, np.finfo(float).tiny)


def _on_brain(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return ``image`` within [``LEAST_IN_BRAIN``, 1] on the brain and 0 elsewhere, float32."""
    return np.where(brain, np.clip(image, LEAST_IN_BRAIN, 1), 0).astype(np.float32)
