"""The scans that a virtual scanner makes of a virtual person: a T1w, and a contrast like T2w."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from diffeode.datasets.virtual_anatomy import load_tissue_maps, template_labels
from diffeode.datasets.virtual_deformation import PersonMap
from diffeode.geometry.image import Image, Labels, bounding_box, sample
from diffeode.geometry.space import Grid

_FINE_MM = 1.0
_MARGIN_VOXELS = 3
_T2_OF_TISSUE = {"fluid": 1.0, "grey": 0.55, "white": 0.36}
_T2_OF_IRON = {13: -0.10, 52: -0.10, 12: -0.03, 51: -0.03}
_T2_TEXTURE = -0.5


@dataclass(frozen=True)
class Sequence:
    """How a contrast is acquired.

    Attributes:
        noise: standard deviation of the noise in the real and in the imaginary channel, in units of
            the brightest tissue.
        bias: standard deviation of the logarithm of the bias field inside the brain.
        scales: range from which a scan's intensity scale is drawn.
    """

    noise: float
    bias: float
    scales: tuple[float, float]


SEQUENCES = {"T1w": Sequence(0.025, 0.08, (300, 900)), "T2w": Sequence(0.03, 0.10, (500, 1500))}


@cache
def template_contrast(modality: str) -> np.ndarray:
    """Return noise-free intensities on the template's grid, roughly in [0, 1], background 0.

    The T1w is the template itself. The T2w is a mixture of the tissues: fluid is bright, white
    matter dark, and nuclei with iron are darker. Within a tissue the T2w is darker where the T1w is
    brighter, because both depend on the tissue's water.
    """
    template = load_tissue_maps()
    if modality == "T1w":
        return template.t1
    tissues = {name: getattr(template, name) for name in _T2_OF_TISSUE}
    t2 = sum(_T2_OF_TISSUE[name] * fraction for name, fraction in tissues.items())
    t1_of_tissue = {
        name: np.average(template.t1, weights=fraction**4) for name, fraction in tissues.items()
    }
    expected = sum(t1_of_tissue[name] * fraction for name, fraction in tissues.items())
    t2 = t2 + _T2_TEXTURE * (template.t1 - expected)
    iron = np.zeros_like(t2)
    for number, darker in _T2_OF_IRON.items():
        iron[template_labels().data == number] = darker
    return (np.clip(t2 + ndimage.gaussian_filter(iron, 1), 0.05, 1.1) * template.brain).astype(
        np.float32
    )


def person_grid(to_template: PersonMap, spacing_mm: float) -> Grid:
    """Return a grid with RAS axes around the person's brain, in voxels of ``spacing_mm``."""
    template = load_tissue_maps()
    coarse = template.grid.resample(4.0)
    lower = coarse.to_world(np.full(3, -6.0))
    search = Grid(
        tuple(n + 12 for n in coarse.shape),
        np.block([[np.diag(coarse.spacing), lower[:, None]], [np.zeros(3), 1]]),
    )
    brain = (
        sample(template.brain, template.grid.to_voxel(to_template(search.points_mm())), order=1)
        > 0.5
    )
    first, last = bounding_box(brain, margin=1)
    start, end = search.to_world(first), search.to_world(last - 1)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = start - _MARGIN_VOXELS * spacing_mm
    shape = np.ceil((end - start) / spacing_mm).astype(int) + 1 + 2 * _MARGIN_VOXELS
    return Grid(tuple(shape), affine)


def acquire(
    to_template: PersonMap, grid: Grid, person: int, seed: int, visit: int = 0
) -> dict[str, Image]:
    """Return the person's skull-stripped scans on ``grid`` by modality.

    Each has its own noise, bias field and intensity scale, drawn from ``seed``, ``person`` and
    ``visit``.
    """
    clean, brain = _partial_volumes(to_template, grid)
    scans = {}
    for stream, (modality, sequence) in enumerate(SEQUENCES.items(), start=1):
        rng = np.random.default_rng([seed, person, stream + len(SEQUENCES) * visit])
        signal = clean[modality] * _bias_field(brain, sequence.bias, rng)
        noisy = _rician(signal, sequence.noise, rng) * rng.uniform(*sequence.scales)
        scans[modality] = Image(np.where(brain, noisy, 0), grid)
    return scans


def person_labels(to_template: PersonMap, grid: Grid) -> Labels:
    """Return the template's structures on the person's ``grid``, by nearest neighbour."""
    labels = template_labels()
    return Labels(
        sample(labels.data, labels.grid.to_voxel(to_template(grid.points_mm())), order=0), grid
    )


def _partial_volumes(
    to_template: PersonMap, grid: Grid
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the noise-free contrasts by modality, and the brain mask, on ``grid``.

    Every voxel is the mean of the brain at points about 1 mm apart within it.
    """
    template = load_tissue_maps()
    parts = max(1, round(float(grid.spacing[0]) / _FINE_MM))
    places = (np.arange(parts) + 0.5) / parts - 0.5
    offsets = np.stack(np.meshgrid(places, places, places, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = np.argwhere(_near_brain(to_template, grid))
    # shape (centres, offsets, 3)
    voxels = template.grid.to_voxel(to_template(grid.to_world(centres[:, None] + offsets))).astype(
        np.float32
    )

    def pooled(volume: np.ndarray) -> np.ndarray:
        whole = np.zeros(grid.shape, dtype=np.float32)
        whole[tuple(centres.T)] = sample(volume, voxels, order=1).mean(axis=1)
        return whole

    covered = pooled(template.brain)
    brain = covered >= 0.5
    clean = {
        m: np.where(brain, pooled(template_contrast(m)) / np.maximum(covered, 0.5), 0)
        for m in SEQUENCES
    }
    return clean, brain


def _near_brain(to_template: PersonMap, grid: Grid) -> np.ndarray:
    """Return the voxels of ``grid`` that may hold brain, ``(X, Y, Z)`` bool."""
    template = load_tissue_maps()
    centres = (
        sample(template.brain, template.grid.to_voxel(to_template(grid.points_mm())), order=1) > 0
    )
    return ndimage.binary_dilation(centres)


def _bias_field(brain: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Return a bias field: the exponential of a random polynomial of degree 3 over the box.

    Args:
        strength: standard deviation of the field's logarithm inside ``brain``.
    """
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in brain.shape], indexing="ij")
    logarithm = np.zeros(brain.shape)
    for powers in np.ndindex(4, 4, 4):
        if 0 < sum(powers) <= 3:
            logarithm += rng.standard_normal() * np.prod(
                [a**p for a, p in zip(axes, powers, strict=True)], axis=0
            )
    logarithm -= logarithm[brain].mean()
    return np.exp(strength * logarithm / logarithm[brain].std())


def _rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return the magnitude of a complex signal with independent Gaussian noise in both channels.

    Args:
        sigma: standard deviation of the noise in each channel.
    """
    real, imaginary = rng.normal(0, sigma, (2, *signal.shape))
    return np.hypot(signal + real, imaginary)
