"""The Neural ODE with guidance: several contrasts, labels, landmarks, stiff places, and a mask that
moves with the moving image (:mod:`diffeode.registration.guidance`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from diffeode.errors import InputError
from diffeode.flows.unfold import unfold
from diffeode.geometry.determinism import deterministic
from diffeode.geometry.image import Window
from diffeode.geometry.shapes import (
    DisplacementTensor,
    LossTensor,
    MaskTensor,
    VelocityTensor,
)
from diffeode.geometry.space import Grid
from diffeode.losses.label_overlap import LabelBorders
from diffeode.losses.landmark_distance import landmark_distance_to
from diffeode.losses.similarity import Warped
from diffeode.methods.neural_ode.energy import PairTensors, cost_on
from diffeode.methods.neural_ode.method import NeuralODE
from diffeode.methods.neural_ode.motion import (
    LIGHTER,
    Motion,
    coarse_to_fine,
    counted,
    cropped_to_brains,
    registration_of,
    spacing_of,
    tensor_of,
    weights_on,
    without_folds,
)
from diffeode.methods.neural_ode.penalties.bending import Bending
from diffeode.methods.neural_ode.penalties.gradient import Gradient
from diffeode.optimise.loop import Objective
from diffeode.optimise.memory import keep_freed_memory, shortage_explained
from diffeode.optimise.pyramid import Lattice, reduce
from diffeode.optimise.report import Reporter
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.guidance import Guidance, LandmarkPair

COARSE_BAND = 2.0
"""Half the width of the band around the borders of labels on the levels before the finest one,
voxels of the grid where the labels are compared; on the finest level it is 1.
"""
MOST_VOXELS = 2_000_000
"""Number of voxels at which labels are compared at most on the grid of the finest images."""
BLOCK = 3
"""A landmark counts as a block of voxels of the velocity does, so many of them along each axis."""
STIFFNESS = 100.0
"""How many times the penalties of gradient and bending count where the map is held stiff."""
_Cost = Callable[[VelocityTensor, DisplacementTensor], dict[str, LossTensor]]
"""Named terms of the energy as a function of the velocity and of the displacement of its flow."""


def guided(method: NeuralODE, guidance: Guidance) -> Method:
    """Return ``method`` with its guidance.

    Raises:
        InputError: places are to be held stiff, and the method has no penalty that does so.
    """
    stiffens = any(
        isinstance(term, Gradient | Bending) and term.weight for term in method.penalties
    )
    if guidance.stiff is not None and not stiffens:
        raise InputError(
            "Nothing holds a place stiff without the penalties of gradient and bending; give one "
            "of them a weight above 0, such as penalties.gradient.weight."
        )
    return GuidedNeuralODE(method, guidance)


@final
@dataclass(frozen=True)
class GuidedNeuralODE(Method):
    """:class:`NeuralODE` with settings ``method`` and with ``guidance``."""

    title: ClassVar[str] = NeuralODE.title
    needs: ClassVar[Needs] = NeuralODE.needs
    leaves_out: ClassVar[bool] = NeuralODE.leaves_out
    citation: ClassVar[str] = NeuralODE.citation
    licence: ClassVar[str] = NeuralODE.licence
    takes_slices: ClassVar[bool] = NeuralODE.takes_slices

    method: NeuralODE
    guidance: Guidance

    def __post_init__(self) -> None:
        """The settings were checked when ``method`` was made."""

    def lacking(self) -> str:
        """Return what ``method`` lacks."""
        return self.method.lacking()

    def load(self) -> None:
        """Import what ``method`` uses."""
        self.method.load()

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``, whose images are the first contrast of the guidance.

        Raises:
            InputError, RegistrationError: as :meth:`NeuralODE.register`.
        """
        require_device(machine.device)
        device = torch.device(machine.device)
        use_threads(machine.threads)
        cropped = cropped_to_brains(pair)
        grid = cropped.fixed.grid
        tensors = _tensors(self.method, pair, self.guidance.for_pair(pair), grid, device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(machine.seed)
            found = guided_motion(self.method, tensors, spacing_of(grid), machine.progress)
        return registration_of(self.method, found, grid)


# --------------------------------------------------------------------------------------- the energy


@final
@dataclass(frozen=True)
class ContrastTensors:
    """One contrast on the grids of one level.

    Attributes:
        pair: its images, the mask of the fixed one and the weights of the penalties.
        share: its share of the similarity.
        moving_counts: the voxels of the moving image that count; None: all of them.
    """

    pair: PairTensors
    share: float = 1.0
    moving_counts: MaskTensor | None = None

    def reduced(self, size: Sequence[int], field_size: Sequence[int]) -> ContrastTensors:
        """Return the contrast on coarser grids, as :meth:`PairTensors.reduced` does."""
        follows = self.moving_counts
        follows = None if follows is None else reduce(follows, size)
        return ContrastTensors(self.pair.reduced(size, field_size), self.share, follows)


@final
@dataclass(frozen=True)
class GuidingLabels:
    """Labels of both images.

    Attributes:
        borders: their borders, which reach as far as :func:`reach_of` says.
        weight: the weight of the term.
    """

    borders: LabelBorders
    weight: float


@final
@dataclass(frozen=True)
class LandmarkPlaces:
    """Landmarks of both images on the finest grid.

    Attributes:
        fixed, moving: places in voxels, ``(d, N)`` each.
        to_mm: the matrix ``(3, d)`` from differences in voxels to mm of the moving scan.
        weight: the weight of the term.
    """

    fixed: np.ndarray
    moving: np.ndarray
    to_mm: np.ndarray
    weight: float


@final
@dataclass(frozen=True)
class GuidedTensors:
    """What the energy is computed from, on the finest grid.

    Attributes:
        contrasts: one or more; the shares add up to 1.
        labels, landmarks: None for none.
    """

    contrasts: tuple[ContrastTensors, ...]
    labels: GuidingLabels | None = None
    landmarks: LandmarkPlaces | None = None


def guided_energy(
    tensors: GuidedTensors, images: Lattice, fields: Lattice, method: NeuralODE
) -> Objective:
    """Return the terms of the energy on one level as a function of the velocity.

    Each similarity is the mean over the contrasts, weighted by their shares; the penalties are
    those of one pair. Labels are compared on the grid of the images; on the finest level, where
    their boxes hold more than ``MOST_VOXELS`` voxels, on that of the velocity.

    Args:
        images: the grid of the images on this level.
        fields: the grid of the velocity.
    """
    like = tensors.contrasts[0].pair.fixed
    finest = tuple(like.shape[2:])
    costs = [
        _contrast_cost(
            contrast.reduced(images.size, fields.size),
            images,
            fields,
            _of_share(method, contrast.share, with_penalties=place == 0),
        )
        for place, contrast in enumerate(tensors.contrasts)
    ]
    if tensors.labels is not None:
        costs.append(_label_cost(tensors.labels, images, fields, like))
    if tensors.landmarks is not None:
        costs.append(_landmark_cost(tensors.landmarks, finest, fields, like))
    flow = method.integrator

    def energy(velocity: VelocityTensor) -> dict[str, LossTensor]:
        displacement = flow(velocity)
        found: dict[str, LossTensor] = {}
        for cost in costs:
            for name, value in cost(velocity, displacement).items():
                found[name] = found[name] + value if name in found else value
        return found

    return energy


def _of_share(method: NeuralODE, share: float, with_penalties: bool) -> NeuralODE:
    """Return ``method`` with weights of the similarities times ``share``."""
    weighted = (replace(term, weight=share * term.weight) for term in method.similarity)
    penalties = method.penalties if with_penalties else ()
    return replace(method, similarity=tuple(weighted), penalties=penalties)


def _contrast_cost(
    contrast: ContrastTensors, images: Lattice, fields: Lattice, method: NeuralODE
) -> _Cost:
    """Return the similarities of one contrast, and the penalties of ``method``.

    A mask of the moving image is warped anew by every displacement, and no gradient is taken of it.
    """
    pair, follows = contrast.pair, contrast.moving_counts
    if follows is None:
        return cost_on(pair, images, fields, method)

    def cost(velocity: VelocityTensor, displacement: DisplacementTensor) -> dict[str, LossTensor]:
        with torch.no_grad():
            mask = Warped(pair.moving, displacement).pull(follows)
            mask = mask if pair.mask is None else mask * pair.mask
        here = cost_on(replace(pair, mask=mask), images, fields, method)
        return here(velocity, displacement)

    return cost


def _label_cost(labels: GuidingLabels, images: Lattice, fields: Lattice, like: Tensor) -> _Cost:
    borders = labels.borders
    finest = images.size == borders.box.shape[: len(images.size)]
    lattice = images
    if finest and borders.number_of_voxels(images.size) > MOST_VOXELS:
        lattice = fields
    band = (1 if finest else COARSE_BAND) * min(lattice.spacing)
    loss = borders.misfit_on(lattice.size, band, like)
    return lambda velocity, displacement: {"labels": labels.weight * loss(displacement)}


def reach_of(method: NeuralODE, finest: Lattice) -> float:
    """Return up to which distance from the borders of labels the energy needs the distances, mm."""
    coarsest = finest.coarser(method.levels.factors[0])
    fields = finest.coarser(method.velocity.spacing)
    return max(COARSE_BAND * min(coarsest.spacing), min(fields.spacing))


def _landmark_cost(
    landmarks: LandmarkPlaces, finest: Sequence[int], fields: Lattice, like: Tensor
) -> _Cost:
    """Return the term of landmarks: ``weight * BLOCK^d * sum |distance / voxel|^2 / voxels``.

    The similarity is a mean over voxels, and Adam multiplies the gradient by their number. Beside
    it, the pull of a landmark depends neither on the number of voxels nor on that of landmarks, and
    in units of the voxels it does not depend on the size of what is imaged either.
    """
    # Both grids cover one box, see diffeode.geometry.warp.
    ratio = np.array(fields.size) / np.array(finest)
    places = [(place + 0.5) * ratio[:, None] - 0.5 for place in (landmarks.fixed, landmarks.moving)]
    fixed, moving, to_mm = (
        torch.from_numpy(array).to(like) for array in (*places, landmarks.to_mm / ratio)
    )
    loss = landmark_distance_to(fixed, moving, to_mm)
    dimensions, number = fixed.shape
    voxel_mm = np.prod(fields.spacing) ** (1 / dimensions)
    share = number * BLOCK**dimensions / np.prod(fields.size)
    weight = float(landmarks.weight * share / voxel_mm**2)
    return lambda velocity, displacement: {"landmarks": weight * loss(displacement)}


# --------------------------------------------------------------------------------------- the motion


def guided_motion(
    method: NeuralODE,
    tensors: GuidedTensors,
    spacing: Sequence[float],
    progress: Callable[[float, str], None] = lambda fraction, message: None,
) -> Motion:
    """Find a motion that lowers the energy of ``tensors``, as
    :meth:`diffeode.methods.neural_ode.NeuralODE.velocity_between` finds that of a pair.

    Args:
        spacing: the spacing of the grid along each axis, mm.
        progress: a function that receives a fraction in [0, 1] and a short message.

    Raises:
        RegistrationError: as ``velocity_between``.
    """
    keep_freed_memory()
    like = tensors.contrasts[0].pair.fixed
    size = tuple(like.shape[2:])
    report = Reporter(method.levels.factors, method.levels.iterations, progress)
    repeatable = deterministic(like.device, method.deterministic)
    # In the inference mode of a caller torch would compute no gradients.
    with torch.inference_mode(False), shortage_explained(size, LIGHTER), repeatable:

        def energy_at(images: Lattice, fields: Lattice) -> Objective:
            return guided_energy(tensors, images, fields, method)

        lattice, knots = Lattice(size, tuple(spacing)), method.velocity.knots
        velocity = coarse_to_fine(method, energy_at, lattice, like, knots, report)
        if method.diffeomorphic == "guaranteed":
            velocity = without_folds(unfold(velocity, method.integrator, size), report)
    return Motion(velocity, method.integrator, size, tuple(report.trace), tuple(report.notes))


def _tensors(
    method: NeuralODE, pair: Pair, guidance: Guidance, box: Grid, device: torch.device
) -> GuidedTensors:
    """Return the guidance of ``pair`` within ``box``, a part of its grid."""
    window = _window_of(box, pair.fixed.grid)
    weights = weights_on(method.weight_map, box, device)
    if guidance.stiff is not None:
        factor = np.where(guidance.stiff[window], STIFFNESS, 1).astype(np.float32)
        stiff = tensor_of(factor, device)
        weights = stiff if weights is None else weights * stiff

    def mask(counts: np.ndarray | None) -> MaskTensor | None:
        return None if counts is None else tensor_of(counts.astype(np.float32), device)

    contrasts = []
    for contrast in guidance.contrasts:
        brains = pair.fixed_mask, pair.moving_mask
        seen = Pair(contrast.fixed, contrast.moving, *brains, contrast.counts).cropped(window)
        images = (tensor_of(image.data, device) for image in (seen.fixed, seen.moving))
        tensors = PairTensors(*images, mask(counted(method, seen)), weights)
        follows = contrast.moving_counts
        follows = None if follows is None else follows[window]
        contrasts.append(ContrastTensors(tensors, contrast.share, mask(follows)))
    labels = guidance.labels
    guiding = None
    if labels is not None:
        spacing = spacing_of(box)
        reach = reach_of(method, Lattice(box.shape[: len(spacing)], spacing))
        maps = labels.fixed, labels.moving
        borders = LabelBorders.between(maps, labels.ids, labels.to_scan, box, len(spacing), reach)
        guiding = GuidingLabels(borders, labels.weight)
    landmarks = guidance.landmarks
    places = None if landmarks is None else _places(landmarks, box, len(spacing_of(box)))
    return GuidedTensors(tuple(contrasts), guiding, places)


def _places(landmarks: LandmarkPair, box: Grid, dimensions: int) -> LandmarkPlaces:
    fixed, moving = (
        box.to_voxel(points)[:, :dimensions].T
        for points in (landmarks.fixed_mm, landmarks.aligned_mm)
    )
    to_mm = landmarks.to_scan.matrix[:3, :3] @ box.affine[:3, :dimensions]
    return LandmarkPlaces(fixed, moving, to_mm, landmarks.weight)


def _window_of(box: Grid, whole: Grid) -> Window:
    """Return the voxels of ``whole`` that ``box``, a part of it, consists of."""
    lower = np.rint(whole.to_voxel(box.to_world(np.zeros(3)))).astype(int)
    x, y, z = (slice(int(a), int(a) + n) for a, n in zip(lower, box.shape, strict=True))
    return x, y, z
