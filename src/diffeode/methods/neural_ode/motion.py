"""How :class:`diffeode.methods.neural_ode.NeuralODE` finds its map.

The method imports this module only where a registration begins, because it imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from diffeode.errors import InputError, RegistrationError
from diffeode.files.io import read_weights
from diffeode.flows.cloud import CloudFlow
from diffeode.flows.integrate import Flow
from diffeode.flows.unfold import Unfolded, unfold
from diffeode.flows.velocity import reverse, zero_velocity
from diffeode.geometry.determinism import deterministic
from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice
from diffeode.geometry.shapes import (
    DisplacementTensor,
    ImageTensor,
    MaskTensor,
    VelocityTensor,
)
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, KeptVelocity, warp_image
from diffeode.geometry.warp import resize_displacement
from diffeode.methods.neural_ode.energy import PairTensors, energy_on
from diffeode.optimise.loop import Objective, minimise
from diffeode.optimise.memory import keep_freed_memory, shortage_explained
from diffeode.optimise.pyramid import Lattice
from diffeode.optimise.report import Reporter
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine, Pair, Registration, require_device
from diffeode.registration.displacements import field_of_tensor

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE

_MARGIN_MM = 6.0
"""Width of the background that is kept around the two brains. Beyond it the map continues as at the
border of the box.
"""
LIGHTER = (
    "coarser levels, a larger velocity.spacing, flow.gradient 'checkpoint' or fewer bins need less"
)


@final
@dataclass(frozen=True, eq=False)
class Motion:
    """A velocity and its flow.

    Attributes:
        velocity: the velocity, on a grid of its own, in the form that :attr:`flow` takes.
        flow: the flow that integrates it.
        size: the size of the images.
        trace: the terms of the energy in each iteration.
        notes: see :class:`diffeode.registration.base.Registration`.
    """

    velocity: VelocityTensor
    flow: Flow | CloudFlow
    size: tuple[int, ...]
    trace: tuple[dict[str, float], ...]
    notes: tuple[str, ...]

    @property
    def forward(self) -> DisplacementTensor:
        """The displacement ``u`` on the grid of the images: ``moving(x + u(x))`` looks like
        ``fixed(x)``.
        """
        return resize_displacement(self.flow(self.velocity), self.size)

    @property
    def inverse(self) -> DisplacementTensor:
        """The displacement of the flow back, on the grid of the images.

        With a single step of a solver, and with a cloud, it is not the inverse of :attr:`forward`.
        """
        return resize_displacement(self.flow(reverse(self.velocity)), self.size)


def register(method: NeuralODE, pair: Pair, machine: Machine) -> Registration:
    """Register ``pair``, see :meth:`diffeode.methods.neural_ode.NeuralODE.register`."""
    require_device(machine.device)
    device = torch.device(machine.device)
    use_threads(machine.threads)
    cropped = _cropped(pair)
    grid = cropped.fixed.grid
    fixed, moving = (_tensor(image.data, device) for image in (cropped.fixed, cropped.moving))
    counts = _counts(method, cropped)
    weights = _weights(method.weight_map, grid, device)
    spacing = _spacing(grid)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(machine.seed)
        found = velocity_between(
            method,
            fixed,
            moving,
            spacing,
            None if counts is None else _tensor(counts.astype(np.float32), device),
            weights,
            progress=machine.progress,
        )
    return _registration(method, found, grid)


def expanded(method: NeuralODE, kept: KeptVelocity, machine: Machine) -> Registration:
    """Return the maps of a velocity, see :meth:`diffeode.methods.neural_ode.NeuralODE.expanded`."""
    use_threads(machine.threads)
    velocity = torch.from_numpy(kept.values)
    with deterministic(velocity.device, method.deterministic):
        size = kept.grid.shape[: velocity.shape[1]]
        motion = Motion(velocity, method.integrator, size, (), ())
        return _registration(method, motion, kept.grid)


def _registration(method: NeuralODE, found: Motion, grid: Grid) -> Registration:
    """Return the maps of a motion on ``grid``, the grid of the images."""
    forward = field_of_tensor(found.forward, grid, method.title)
    inverse = None
    if method.integrator.inverts_exactly:
        inverse = field_of_tensor(found.inverse, grid, method.title)
    kept = KeptVelocity(found.velocity.detach().cpu().numpy(), grid)
    return Registration(forward, inverse, found.trace, found.notes, kept)


def velocity_between(
    method: NeuralODE,
    fixed: ImageTensor,
    moving: ImageTensor,
    spacing: Sequence[float],
    mask: MaskTensor | None = None,
    weights: Tensor | None = None,
    progress: Callable[[float, str], None] = lambda fraction, message: None,
) -> Motion:
    """Find a motion, see :meth:`diffeode.methods.neural_ode.NeuralODE.velocity_between`."""
    require_alike(fixed, moving, spacing, mask, weights)
    keep_freed_memory()
    size = tuple(fixed.shape[2:])
    report = Reporter(method.levels.factors, method.levels.iterations, progress)
    # In the inference mode of a caller torch would compute no gradients.
    repeatable = deterministic(fixed.device, method.deterministic)
    with torch.inference_mode(False), shortage_explained(size, LIGHTER), repeatable:
        maps = (None if t is None else for_gradients(t.to(fixed)) for t in (mask, weights))
        tensors = PairTensors(for_gradients(fixed), for_gradients(moving.to(fixed)), *maps)

        def energy_at(images: Lattice, fields: Lattice) -> Objective:
            return energy_on(tensors.reduced(images.size, fields.size), images, fields, method)

        lattice, knots = Lattice(size, tuple(spacing)), method.velocity.knots
        velocity = coarse_to_fine(method, energy_at, lattice, tensors.fixed, knots, report)
        if method.diffeomorphic == "guaranteed":
            velocity = without_folds(unfold(velocity, method.integrator, size), report)
    return Motion(velocity, method.integrator, size, tuple(report.trace), tuple(report.notes))


@final
@dataclass(frozen=True)
class ModelSize:
    """How many numbers the descent changes for a pair, and for how many voxels.

    Attributes:
        parameters: trainable parameters of the velocity on the finest level, counted as single
            numbers: a free velocity in space has three at each point of its grid and knot.
        voxels: voxels of the box around both brains, on which the images are registered.
    """

    parameters: int
    voxels: int


def model_size(method: NeuralODE, pair: Pair) -> ModelSize:
    """Return the size of what the descent of ``method`` changes on the finest level for ``pair``.

    Raises:
        InputError: as for :func:`register`.
        RegistrationError: the brains do not overlap.
    """
    grid = _cropped(pair).fixed.grid
    lattice, settings, flow = (
        Lattice(grid.shape[: len(_spacing(grid))], _spacing(grid)),
        method.velocity,
        method.integrator,
    )
    fields = lattice.coarser(method.levels.factors[-1] * settings.spacing)
    start = flow.carried_on(zero_velocity(fields.size, torch.zeros(1), settings.knots))
    field = settings.field.from_base(start, settings.smoother(fields.spacing), flow, still=True)
    parameters = sum(parameter.numel() for parameter in field.parameters())
    return ModelSize(parameters, math.prod(lattice.size))


def coarse_to_fine(
    method: NeuralODE,
    energy_at: Callable[[Lattice, Lattice], Objective],
    lattice: Lattice,
    like: Tensor,
    knots: int,
    report: Reporter,
) -> VelocityTensor:
    """Return the velocity that the descent finds on the finest level, with ``knots`` knots.

    The best velocity of each level is resized to the grid of the next one, where it is the base to
    which the field of that level adds.

    Args:
        energy_at: takes the grid of the images and that of the velocity on a level, and returns the
            energy there.
        lattice: the grid of the images on the finest level.
        like: a tensor of the device and the type of the velocity.
    """
    descent, levels, settings = method.descent.descent(), method.levels, method.velocity
    flow = method.integrator
    coarsest = lattice.coarser(levels.factors[0] * settings.spacing)
    velocity = zero_velocity(coarsest.size, like, knots)
    for index, (level, iterations) in enumerate(
        zip(levels.factors, levels.iterations, strict=True)
    ):
        images = lattice.coarser(level)
        fields = lattice.coarser(level * settings.spacing)
        start = resize_displacement(flow.carried_on(velocity), fields.size)
        field = settings.field.from_base(
            start, settings.smoother(fields.spacing), flow, still=index > 0
        ).to(start)
        energy = energy_at(images, fields)
        report.enter(index)
        found = minimise(field, energy, iterations, descent, report)
        velocity = found.velocity
        if found.reason:
            report.notes.append(f"level {level:g}: {found.reason}")
        # A network that starts at random can end above the energy of a velocity of 0.
        if settings.field.starts_at_random and index == 0 and found.energy > _value(energy, start):
            velocity = start
            report.notes.append(
                f"level {level:g}: the network found no velocity of lower energy than a velocity "
                "of 0; it was left out"
            )
    report.finish()
    return velocity


def without_folds(unfolded: Unfolded, report: Reporter) -> Tensor:
    """Return the velocity of ``unfolded``, and note how many voxels were repaired.

    Raises:
        RegistrationError: some voxels still fold.
    """
    velocity, repaired, left = unfolded
    if left:
        raise RegistrationError(
            f"The map still folds at {left} voxels; raise penalties.gradient.weight or the width "
            "of velocity.kernel."
        )
    if repaired:
        report.notes.append(
            f"the map folded at {repaired} voxels; it was smoothed there until it did not"
        )
    return velocity


def _value(objective: Objective, velocity: Tensor) -> float:
    with torch.no_grad():
        return sum(term.item() for term in objective(velocity).values())


def require_alike(
    fixed: Tensor, moving: Tensor, spacing: Sequence[float], *others: Tensor | None
) -> None:
    """Raise :class:`InputError` where images, spacing and ``others`` (mask, weights) do not belong
    together.
    """
    size = tuple(fixed.shape)
    if len(size) not in (4, 5) or size[:2] != (1, 1) or min(size[2:]) < 2:
        raise InputError(
            f"Images must be (1, 1, *size) with two or three axes of at least 2 voxels, not {size}."
        )
    if len(spacing) != len(size) - 2 or not all(0 < s < np.inf for s in spacing):
        raise InputError(
            f"The spacing must be a number of mm above 0 for each axis of {size[2:]}, not "
            f"{spacing}."
        )
    if not fixed.is_floating_point() or moving.dtype != fixed.dtype:
        raise InputError(
            f"Images must be of one floating-point type, not {fixed.dtype} and {moving.dtype}."
        )
    for tensor in (moving, *others):
        if tensor is not None and tuple(tensor.shape) != size:
            raise InputError(
                f"Images, mask and weights must have one shape, not {size} and "
                f"{tuple(tensor.shape)}."
            )


def for_gradients(tensor: Tensor) -> Tensor:
    """Return ``tensor``, or a copy where it was made in inference mode and allows no gradients."""
    return tensor.clone() if tensor.is_inference() else tensor


def _cropped(pair: Pair) -> Pair:
    """Return the pair within the box of both brains with a margin."""
    if not pair.fixed_mask.any() or not pair.moving_mask.any():
        which = "moving" if pair.fixed_mask.any() else "fixed"
        raise InputError(f"The mask of the {which} brain is empty; check the skull stripping.")
    if not (pair.fixed_mask & pair.moving_mask).any():
        raise RegistrationError(
            "The fixed and moving brains do not overlap; align them affinely first."
        )
    margin = int(np.ceil(_MARGIN_MM / pair.fixed.grid.spacing.min()))
    return pair.around_the_brains(margin)


def _counts(method: NeuralODE, pair: Pair) -> np.ndarray | None:
    """Return the voxels that count in the similarities, bool; None: all of them.

    Raises:
        RegistrationError: no voxel counts.
    """
    if not method.masked:
        return pair.counts
    counts = pair.fixed_mask if pair.counts is None else pair.fixed_mask & pair.counts
    if not counts.any():
        raise RegistrationError("No voxel of the fixed brain counts; look at the masks.")
    return counts


def _weights(path: str, grid: Grid, device: torch.device) -> Tensor | None:
    """Return the weight map at ``path``, interpolated linearly on ``grid``.

    It is 1 outside its box. Without a path the result is None.
    """
    if not path:
        return None
    given = read_weights(path)
    # Outside the box resampling gives 0. So the weights less 1 are resampled.
    excess = warp_image(Image(given.data - 1, given.grid), Affine(), grid).data
    return _tensor(excess + 1, device)


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Return ``array (X, Y, Z)`` as a tensor; that of a slice ``(X, Y, 1)`` has two axes."""
    in_plane = array[..., 0] if array.shape[2] == 1 else array
    return torch.from_numpy(in_plane.copy())[None, None].to(device)


def _spacing(grid: Grid) -> tuple[float, ...]:
    return tuple(float(s) for s in grid.spacing[: 2 if is_slice(grid) else 3])


# Renaming the functions would change the identity of every registration.
cropped_to_brains = _cropped
"""Return a pair within the box of both brains with a margin."""
counted = _counts
"""Return the voxels that count in the similarities; None: all of them."""
weights_on = _weights
"""Return the weight map at a path on a grid, or None."""
tensor_of = _tensor
"""Return an array ``(X, Y, Z)`` as a tensor ``(1, 1, *size)``."""
spacing_of = _spacing
"""Return the spacing of a grid along the axes that a registration moves along, mm."""
registration_of = _registration
"""Return the maps of a motion on the grid of the images."""
