"""The known map by which a virtual person differs from the template: a small affine and a
diffeomorphism.

The map sends points of the person to points of the template: first the affine, then ``exp(v)``, the
flow of a stationary velocity ``v``. That velocity is a smooth random field and, in persons with
dementia, a field that widens the ventricles and the fluid between the folds at the expense of the
tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from diffeode.datasets.virtual_anatomy import load_tissue_maps, template_labels
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField

_NODE_SPACING_MM = 3.0
_MARGIN_MM = 24.0
_SQUARINGS = 6
_MEAN_DISPLACEMENT_MM = 3.5
_SCALES_MM = (8.0, 14.0, 24.0)
_LEAST_JACOBIAN = 0.25
_LATERAL_VENTRICLES = (4, 43)
_OTHER_VENTRICLES = (14, 15)


@dataclass(frozen=True)
class Atrophy:
    """How much dementia widens the fluid spaces.

    The numbers are logarithms of the factors by which volumes grow, before smoothing.

    Attributes:
        ventricles: growth of the lateral ventricles; the third and fourth grow by half of it.
        sulci: growth of the fluid between the folds.
    """

    ventricles: float
    sulci: float


ATROPHY = {
    0.0: Atrophy(0.0, 0.0),
    0.5: Atrophy(0.5, 0.2),
    1.0: Atrophy(0.9, 0.35),
    2.0: Atrophy(1.2, 0.5),
    3.0: Atrophy(1.4, 0.6),
}
"""The atrophy by Clinical Dementia Rating: 0 healthy, 0.5 suspected dementia, 1 mild cognitive
impairment, 2 dementia, 3 severe dementia.
"""


@dataclass(frozen=True, eq=False)
class PersonMap:
    """The map from points of a virtual person to points of the template, RAS mm.

    It applies ``affine`` first, then ``deformation``.
    """

    affine: Affine
    deformation: DisplacementField

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the template points of person points ``(..., 3)``, RAS mm."""
        return self.deformation(self.affine(points_mm))

    def inverse(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the person points of template points ``(..., 3)``, RAS mm, to within 0.001 mm.

        Raises:
            ArithmeticError: the iteration did not converge.
        """
        return self.affine.inverse()(_solved(self.deformation, points_mm))


def person_map(person: int, cdr: float, seed: int) -> PersonMap:
    """Return the map of virtual person number ``person`` (1, 2, ...).

    It does not depend on the size of the cohort or on the voxel size.
    """
    return person_maps(person, [cdr], seed)[0]


def person_maps(person: int, cdrs: Sequence[float], seed: int) -> list[PersonMap]:
    """Return the maps of one person at several ratings, which differ by the atrophy alone.

    Where the velocity of one of them has to be scaled down, so that no determinant of its map is
    below 0.25, the velocities of all are.
    """
    rng = np.random.default_rng([seed, person, 0])
    affine = _small_affine(rng)
    velocity = _random_velocity(rng)
    atrophies = [_atrophy_velocity(ATROPHY[cdr]) for cdr in cdrs]
    deformations = [_deformation(velocity + atrophy) for atrophy in atrophies]
    while min(jacobian(one).min() for one in deformations) < _LEAST_JACOBIAN:
        velocity, atrophies = 0.95 * velocity, [0.95 * atrophy for atrophy in atrophies]
        deformations = [_deformation(velocity + atrophy) for atrophy in atrophies]
    return [PersonMap(affine, deformation) for deformation in deformations]


def _deformation(velocity_mm: np.ndarray) -> DisplacementField:
    return DisplacementField(exponential(velocity_mm, _nodes()), _nodes())


def exponential(velocity_mm: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the displacement of the unit-time flow of a stationary velocity, ``(X, Y, Z, 3)`` mm.

    It is computed by scaling and squaring (Arsigny et al., MICCAI 2006).
    """
    displacement = velocity_mm / 2**_SQUARINGS
    voxels = grid.voxels(np.float32)
    for _ in range(_SQUARINGS):
        reached = np.moveaxis(voxels + grid.vectors_to_voxel(displacement), -1, 0)
        displacement = displacement + np.stack(
            [
                ndimage.map_coordinates(
                    displacement[..., axis], reached, order=1, mode="nearest", prefilter=False
                )
                for axis in range(3)
            ],
            axis=-1,
        )
    return displacement.astype(np.float32)


def jacobian(field: DisplacementField) -> np.ndarray:
    """Return the determinant of the derivative of ``x + u(x)`` by central differences, ``(X, Y,
    Z)``.

    Args:
        field: a field on a grid with RAS axes, as all grids of velocities here have them.
    """
    gradients = np.stack(
        [
            np.stack(np.gradient(field.displacement_mm[..., axis], *field.grid.spacing), axis=-1)
            for axis in range(3)
        ],
        axis=-2,
    )
    return np.linalg.det(gradients + np.eye(3))


@cache
def _nodes() -> Grid:
    """Return the grid of every velocity: the template's box and a margin around it, RAS axes."""
    template = load_tissue_maps().grid
    extent = np.array(template.shape) * template.spacing + 2 * _MARGIN_MM
    affine = np.diag([_NODE_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = template.to_world(np.zeros(3)) - _MARGIN_MM
    return Grid(tuple(np.ceil(extent / _NODE_SPACING_MM).astype(int)), affine)


@cache
def _brain_at_nodes() -> np.ndarray:
    return _at_nodes(load_tissue_maps().brain) > 0.5


def _at_nodes(volume: np.ndarray) -> np.ndarray:
    """Return a volume of the template, smoothed to the nodes' spacing and sampled at the nodes."""
    return antialiased(volume, load_tissue_maps().grid, _nodes())


def _small_affine(rng: np.random.Generator) -> Affine:
    """Return a random affine: up to 4 degrees, 4 % of scale and 4 mm along each axis."""
    angles = np.deg2rad(rng.uniform(-4, 4, 3))
    scales = 1 + rng.uniform(-0.04, 0.04, 3)
    shift = rng.uniform(-4, 4, 3)
    matrix = np.eye(4)
    for axis, angle in enumerate(angles):
        first, second = [a for a in range(3) if a != axis]
        turn = np.eye(4)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, :3] = matrix[:3, :3] * scales
    matrix[:3, 3] = shift
    return Affine(matrix)


def _random_velocity(rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of several scales, ``(X, Y, Z, 3)`` mm.

    Its mean length inside the brain is ``_MEAN_DISPLACEMENT_MM``.
    """
    squared = sum(k**2 for k in _frequencies(_nodes().shape))
    smoothing = np.zeros_like(squared)
    for scale in _SCALES_MM:
        gaussian = np.exp(-squared * scale**2 / 2)
        smoothing += scale * gaussian / np.sqrt((gaussian**2).mean())
    noise = rng.standard_normal((3, *squared.shape))
    velocity = np.stack([np.fft.ifftn(np.fft.fftn(n) * smoothing).real for n in noise], axis=-1)
    length = np.linalg.norm(velocity[_brain_at_nodes()], axis=-1).mean()
    return (velocity * (_MEAN_DISPLACEMENT_MM / length)).astype(np.float32)


def _atrophy_velocity(atrophy: Atrophy) -> np.ndarray:
    """Return the velocity that widens the fluid spaces of a person, ``(X, Y, Z, 3)`` mm.

    The map goes from the person to the template, so where a space grew in the person, the
    divergence is negative. Tissue shrinks evenly, so that the volume of the brain stays.
    """
    if atrophy == ATROPHY[0.0]:
        return np.zeros((*_nodes().shape, 3), dtype=np.float32)
    lateral, other, sulci, tissue = _fluid_spaces()
    divergence = -atrophy.ventricles * (lateral + other / 2) - atrophy.sulci * sulci
    divergence = divergence - tissue * (divergence.sum() / tissue.sum())
    return _with_divergence(divergence)


@cache
def _fluid_spaces() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the fractions of four spaces at the nodes, each ``(X, Y, Z)``.

    They are the lateral ventricles, the third and fourth ventricle, the fluid between the folds,
    and the tissue.
    """
    template, labels = load_tissue_maps(), template_labels().data
    lateral = np.isin(labels, _LATERAL_VENTRICLES).astype(np.float32)
    other = np.isin(labels, _OTHER_VENTRICLES).astype(np.float32)
    sulci = template.fluid * (1 - lateral - other)
    return tuple(_at_nodes(v) for v in (lateral, other, sulci, template.grey + template.white))


def _with_divergence(divergence: np.ndarray) -> np.ndarray:
    """Return the periodic gradient field ``v = grad f`` with this divergence.

    The potential ``f`` solves ``laplace f = divergence``, by Fourier transform.
    """
    frequencies = _frequencies(divergence.shape)
    squared = sum(k**2 for k in frequencies)
    # the mean of the potential is free, and the divergence has no mean: any number but 0 will do
    squared[0, 0, 0] = 1
    potential = -np.fft.fftn(divergence) / squared
    return np.stack([np.fft.ifftn(1j * k * potential).real for k in frequencies], axis=-1).astype(
        np.float32
    )


def _frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return the angular frequencies of the nodes' Fourier transform along each axis, radians per
    mm.

    The arrays have the shapes ``(X, 1, 1)``, ``(1, Y, 1)`` and ``(1, 1, Z)``.
    """
    return np.ix_(*[2 * np.pi * np.fft.fftfreq(n, _NODE_SPACING_MM) for n in shape])


def _solved(
    field: DisplacementField, points_mm: np.ndarray, tolerance_mm: float = 1e-3
) -> np.ndarray:
    """Return the points that ``field`` sends to ``points_mm``, RAS mm.

    They are found by Newton's method, with derivatives by differences.
    """
    step_mm = 0.05
    solution = 2 * points_mm - field(points_mm)
    for _ in range(30):
        reached = field(solution)
        residual = points_mm - reached
        if np.abs(residual).max() < tolerance_mm:
            return solution
        derivative = np.stack(
            [(field(solution + step_mm * axis) - reached) / step_mm for axis in np.eye(3)], axis=-1
        )
        solution = solution + np.linalg.solve(derivative, residual[..., None])[..., 0]
    raise ArithmeticError(
        f"The inverse of a virtual person's map is {np.abs(residual).max():.3g} mm off."
    )
