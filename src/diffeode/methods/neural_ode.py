"""Registration by a Neural ODE: the flow of a velocity field, optimised for the pair at hand.

Rodríguez-Sanz and Hernández, arXiv 2512.22689, after NODEO (Wu et al., CVPR 2022). The defaults are our best settings
for MIND; ``config/methods`` holds the others and the papers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from diffeode.descriptors.registry import descriptor_content, descriptor_names
from diffeode.determinism import deterministic
from diffeode.errors import InputError, RegistrationError
from diffeode.flows.fields import GridField, NetworkField, Smoother
from diffeode.flows.integrate import GRADIENTS, SOLVERS, Flow
from diffeode.flows.operator import BOUNDARIES, inverse_operator
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.unfold import unfold
from diffeode.flows.velocity import reverse, still_border, zero_velocity
from diffeode.image import Image, bounding_box
from diffeode.io import read_weights, sha256
from diffeode.losses.similarity import MIND_FORMS
from diffeode.methods.base import (
    Machine,
    Method,
    Needs,
    Pair,
    Registration,
    require_device,
    require_in,
    require_one_of,
)
from diffeode.methods.energy import SIMILARITIES, Scene, energy_on
from diffeode.optimise.loop import SCHEDULES, Descent, Objective, minimise
from diffeode.optimise.memory import keep_freed_memory, shortage_explained
from diffeode.optimise.pyramid import Lattice
from diffeode.optimise.report import Reporter
from diffeode.space import Grid
from diffeode.threads import use_threads
from diffeode.transform import Affine, DisplacementField, warp_image
from diffeode.warp import resize_displacement

_MARGIN_MM = 6.0
"""Room around the two brains within which the optimisation works; beyond it the map continues as at its border."""
_LIGHTER = "coarser levels, a larger velocity_spacing, gradient 'checkpoint' or fewer mi_bins need less"


@final
@dataclass(frozen=True)
class NeuralODE(Method):
    """Instance-optimised diffeomorphic registration.

    Lengths called "voxels" are voxels of the level's finest axis; the velocity lives on its own, coarser grid.

    Attributes:
        weight_ssd, weight_ncc, weight_mi, weight_nmi, weight_lmi, weight_ngf, weight_mind, weight_descriptor: of the
            squared difference, local correlation, mutual information (global, normalised, local), normalised gradient
            fields, MIND and ``descriptor``; at least one is above 0, and their sum is the similarity.
        masked: the similarity looks at the fixed brain only; else at the box of both brains.
        field: ``grid`` (a free velocity per voxel) or ``network`` (NODEO's convolutional network).
        levels: reductions of the image, coarse to fine.
        iterations: of each level.
        velocity_spacing: spacing of the velocity grid in voxels of the level.
        smoother: ``gaussian`` (standard deviation ``smoothing``), ``box`` (window ``smoothing``), both in voxels of the
            velocity grid, or ``operator``, the inverse of ``(Id - operator_alpha Laplacian)^operator_power``.
        operator_boundary: beyond the border of the operator's grid the field is 0 (``dirichlet``) or goes on at the
            opposite side (``periodic``).
        knots: times at which the velocity is free, linear in between; 1 is a stationary one.
        border: ``free``, or ``fixed``: the outermost voxels of the velocity's grid stay where they are.
        solver: ``exponential`` (``steps`` squarings, to time 1; one knot only), or ``euler``, ``midpoint``, ``heun``,
            ``rk4`` (``steps`` steps of ``step_size``).
        gradient: ``exact`` back-propagation; ``checkpoint``, the same in less memory and more time; ``adjoint``, memory
            that does not grow with ``steps``, and a gradient that is exact only as they shrink.
        learning_rate, schedule, damping, tolerance: see :class:`diffeode.optimise.loop.Descent`; of velocities in
            voxels, or of the network's weights.
        weight_jacobian, barrier, barrier_squared: ``mean ReLU(barrier - |J|)``, or its square.
        weight_gradient: of the mean squared gradient of the displacement.
        weight_magnitude: of the mean squared length of the velocity times the time it acts.
        weight_operator: the same of the operator's image of the velocity, its squared V-norm.
        weight_bending: of the mean squared second derivatives of the displacement, mm^2.
        weight_map: path of a NIfTI in the fixed scan's frame whose values (0 and above; 1 outside its box) multiply the
            penalties of gradient and bending from place to place. Empty: none.
        mind_form: ``ssc`` (self-similarity context) or ``mind`` (plain).
        mind_radius, mind_dilation: of MIND, voxels.
        mind_precision: on a GPU ``single``, or ``half`` where the descriptor is made anew; a CPU knows only ``single``.
        descriptor: a name of :mod:`diffeode.descriptors.registry`.
        descriptor_weights: a name of weights in the package, or the path of a file; empty: the descriptor's own.
        descriptors: ``recomputed`` on the warped image, or ``warped`` from the moving one.
        mi_bins: of all kinds of mutual information.
        mi_patch: of the local one, voxels.
        ngf_eta: edge parameter, in units of the image's mean gradient.
        ncc_window: of the local correlation, voxels.
        ncc_squared: blind to the sign of the contrast; False for scans of one contrast.
        network_reductions: halvings of the network's output.
        deterministic: on a GPU, find the same map every time, in more time and memory; a CPU always does.
        diffeomorphic: ``guaranteed``: in the map on the fixed grid, and in the way back on the same grid, every
            determinant of one-sided differences and both tetrahedra of every cube are positive; folds are repaired
            (:func:`diffeode.flows.unfold.unfold`), or the map is refused. ``penalised``: as the optimiser left it.
    """

    title: ClassVar[str] = "Neural ODE"
    needs: ClassVar[Needs] = Needs(packages=("torch",), gpu=True)
    citation: ClassVar[str] = (
        "Rodríguez-Sanz, S., Hernández, M.: Multimodal diffeomorphic registration with Neural ODEs and structural "
        "descriptors. arXiv:2512.22689, 2025. Wu, Y. et al.: NODEO: a neural ordinary differential equation based "
        "optimization framework for deformable image registration. CVPR, 2022."
    )
    licence: ClassVar[str] = "MIT (diffeode)"

    weight_mind: float = 1.0
    weight_lmi: float = 0.0
    weight_mi: float = 0.0
    weight_nmi: float = 0.0
    weight_ngf: float = 0.0
    weight_ncc: float = 0.0
    weight_ssd: float = 0.0
    weight_descriptor: float = 0.0
    masked: bool = False
    field: str = "grid"
    levels: tuple[float, ...] = (2.0, 1.0)
    iterations: tuple[int, ...] = (60, 30)
    velocity_spacing: float = 2.0
    smoother: str = "gaussian"
    smoothing: float = 0.7
    operator_alpha: float = 0.0025
    operator_power: float = 2.0
    operator_boundary: str = "dirichlet"
    knots: int = 1
    border: str = "free"
    solver: str = "exponential"
    steps: int = 4
    step_size: float = 0.25
    gradient: str = "exact"
    learning_rate: float = 0.2
    schedule: str = "cosine"
    damping: float = 0.003
    tolerance: float = 0.0
    weight_jacobian: float = 0.0
    barrier: float = 0.5
    barrier_squared: bool = False
    weight_gradient: float = 0.2
    weight_bending: float = 0.0
    weight_map: str = ""
    weight_magnitude: float = 0.0
    mind_form: str = "ssc"
    weight_operator: float = 0.0
    mind_radius: int = 1
    mind_dilation: int = 2
    mind_precision: str = "single"
    descriptor: str = "learned"
    descriptor_weights: str = ""
    descriptors: str = "recomputed"
    mi_bins: int = 16
    mi_patch: int = 5
    ngf_eta: float = 1.0
    ncc_window: int = 9
    ncc_squared: bool = True
    network_reductions: int = 1
    deterministic: bool = False
    diffeomorphic: str = "guaranteed"

    def __post_init__(self) -> None:
        require_one_of("field", self.field, ("grid", "network"))
        require_one_of("mind_form", self.mind_form, tuple(MIND_FORMS))
        require_one_of("mind_precision", self.mind_precision, ("single", "half"))
        require_one_of("descriptors", self.descriptors, ("recomputed", "warped"))
        require_one_of("descriptor", self.descriptor, descriptor_names())
        require_one_of("smoother", self.smoother, ("gaussian", "box", "operator"))
        require_one_of("operator_boundary", self.operator_boundary, BOUNDARIES)
        require_one_of("border", self.border, ("free", "fixed"))
        require_one_of("solver", self.solver, SOLVERS)
        require_one_of("gradient", self.gradient, GRADIENTS)
        require_one_of("schedule", self.schedule, SCHEDULES)
        require_one_of("diffeomorphic", self.diffeomorphic, ("guaranteed", "penalised"))
        if self.solver == "exponential" and (self.knots > 1 or self.gradient == "adjoint"):
            name, value = ("knots", self.knots) if self.knots > 1 else ("gradient", self.gradient)
            raise InputError(f"Parameter {name} is {value}; it needs the solver euler, midpoint, heun or rk4.")
        if len(self.levels) != len(self.iterations) or not self.levels:
            raise InputError(
                f"Parameters levels {self.levels} and iterations {self.iterations} must be as many, one at least."
            )
        if list(self.levels) != sorted(self.levels, reverse=True):
            raise InputError(f"Parameter levels is {self.levels}; it must fall from coarse to fine.")
        weights = [f"weight_{name}" for name in SIMILARITIES]
        if not any(getattr(self, weight) for weight in weights):
            raise InputError(f"Parameters {', '.join(weights)} are all 0; one similarity is needed.")
        odd = {"ncc_window": self.ncc_window} | ({"smoothing": self.smoothing} if self.smoother == "box" else {})
        for name, width in odd.items():
            if width % 2 != 1:
                raise InputError(f"Parameter {name} is {width}; a window needs an odd, whole number of voxels.")
        for name, low, high in _RANGES:
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                require_in(name, value, low, high)

    def reads(self) -> dict[str, str]:
        """The descriptor's code and weights, and the map of weights, where they are used."""
        found = {}
        if self.weight_descriptor:
            found["descriptor"] = descriptor_content(self.descriptor, self.descriptor_weights)
        if self.weight_map:
            found["weight_map"] = _content(self.weight_map)
        return found

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; forward and inverse are the flows of the velocity and of its reverse.

        Raises:
            InputError: the device asked for is not there, a brain mask is empty, or the weight map cannot be used.
            RegistrationError: the brains do not overlap, and as :meth:`velocity_between`.
        """
        require_device(machine.device)
        device = torch.device(machine.device)
        use_threads(machine.threads)
        grid, fixed, moving, mask = _cropped(pair, device)
        weights = _weights(self.weight_map, grid, device)
        spacing = tuple(float(s) for s in grid.spacing)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(machine.seed)
            found = self.velocity_between(
                fixed, moving, spacing, mask if self.masked else None, weights, progress=machine.progress
            )
        inverse = _as_field(found.inverse, grid) if self._inverts_exactly() else None
        return Registration(_as_field(found.forward, grid), inverse, found.trace, found.notes)

    def velocity_between(
        self,
        fixed: Tensor,
        moving: Tensor,
        spacing: Sequence[float],
        mask: Tensor | None = None,
        weights: Tensor | None = None,
        progress: Callable[[float, str], None] = lambda fraction, message: None,
    ) -> Motion:
        """What moves ``moving`` onto ``fixed``, two images or two volumes ``(1, 1, *size)`` on one grid and device.

        Intensities are of order 1, background 0. Parameters ``masked`` and ``weight_map`` concern :meth:`register`;
        here the tensors are given.

        Args:
            spacing: of the grid, mm, by axis.
            mask: voxels the similarity looks at, shaped as the images; None: all.
            weights: of the penalties of gradient and bending, as the images; None: 1.
            progress: called with a fraction in [0, 1] and a short message.
        Raises:
            InputError: the tensors do not belong together.
            RegistrationError: the energy is not finite from the start, folds could not be taken out, or memory ran out.
        """
        _require_alike(fixed, moving, spacing, mask, weights)
        keep_freed_memory()
        size = tuple(fixed.shape[2:])
        report = Reporter(self.levels, self.iterations, progress)
        # A caller's inference mode would leave no gradient to descend.
        repeatable = deterministic(fixed.device, self.deterministic)
        with torch.inference_mode(False), shortage_explained(size, _LIGHTER), repeatable:
            maps = (None if t is None else _for_gradients(t.to(fixed)) for t in (mask, weights))
            scene = Scene(_for_gradients(fixed), _for_gradients(moving.to(fixed)), *maps)
            velocity = self._coarse_to_fine(scene, Lattice(size, tuple(spacing)), report)
            if self.diffeomorphic == "guaranteed":
                velocity = self._without_folds(velocity, size, report)
        return Motion(velocity, self.flow, size, tuple(report.trace), tuple(report.notes))

    def _coarse_to_fine(self, scene: Scene, lattice: Lattice, report: Reporter) -> Tensor:
        descent = Descent(self.learning_rate, self.schedule, self.damping, self.tolerance)
        coarsest = lattice.coarser(self.levels[0] * self.velocity_spacing)
        velocity = zero_velocity(coarsest.size, scene.fixed, self.knots)
        for index, (level, iterations) in enumerate(zip(self.levels, self.iterations, strict=True)):
            images = lattice.coarser(level)
            fields = lattice.coarser(level * self.velocity_spacing)
            start = resize_displacement(velocity, fields.size)
            field = self._field(start, fields, still=index > 0).to(start)
            energy = energy_on(scene.reduced(images.size, fields.size), images, fields, self)
            report.enter(index)
            found = minimise(field, energy, iterations, descent, report)
            velocity = found.velocity
            if found.reason:
                report.notes.append(f"level {level:g}: {found.reason}")
            if self.field == "network" and index == 0 and found.energy > _value(energy, start):
                velocity = start
                report.notes.append(f"level {level:g}: the network found nothing better than rest; it was left out")
        report.finish()
        return velocity

    def _without_folds(self, velocity: Tensor, size: Sequence[int], report: Reporter) -> Tensor:
        velocity, repaired, left = unfold(velocity, self.flow, size)
        if left:
            raise RegistrationError(f"The map still folds at {left} voxels; raise weight_gradient or smoothing.")
        if repaired:
            report.notes.append(f"the map folded at {repaired} voxels; it was smoothed there until it did not")
        return velocity

    def _field(self, base: Tensor, fields: Lattice, still: bool) -> nn.Module:
        if self.field == "grid":
            return GridField(base, self._smoother(fields))
        return NetworkField(base, self._smoother(fields), self.network_reductions, still)

    def _smoother(self, fields: Lattice) -> Smoother:
        smooth = self._kernel(fields)
        return (lambda field: still_border(smooth(field))) if self.border == "fixed" else smooth

    def _kernel(self, fields: Lattice) -> Smoother:
        if self.smoother == "operator":
            return lambda field: inverse_operator(field, *self.operator)
        if self.smoother == "box":
            return lambda field: box(field, int(self.smoothing))
        widths = [self.smoothing * min(fields.spacing) / s for s in fields.spacing]
        return lambda field: gaussian(field, widths)

    @property
    def flow(self) -> Flow:
        """From a velocity to its displacement."""
        return Flow(self.solver, self.steps, self.step_size, self.gradient, self.border == "fixed")

    @property
    def operator(self) -> tuple[float, float, str]:
        """Alpha, power and boundary of the operator."""
        return self.operator_alpha, self.operator_power, self.operator_boundary

    def _inverts_exactly(self) -> bool:
        """A single step is no flow: the step back does not undo it."""
        return self.solver == "exponential" or self.steps > 1


@final
@dataclass(frozen=True, eq=False)
class Motion:
    """A velocity and where it leads.

    Attributes:
        velocity: ``(K, d, *coarse)``, voxels of its own grid.
        size: of the images, ``d`` axes.
        trace: the energy's terms in each iteration.
        notes: see :class:`diffeode.methods.base.Registration`.
    """

    velocity: Tensor
    flow: Flow
    size: tuple[int, ...]
    trace: tuple[dict[str, float], ...]
    notes: tuple[str, ...]

    @property
    def forward(self) -> Tensor:
        """Displacement ``(1, d, *size)``, voxels of the images: ``moving(x + u(x))`` looks like ``fixed(x)``."""
        return resize_displacement(self.flow(self.velocity), self.size)

    @property
    def inverse(self) -> Tensor:
        """Displacement of the flow back, likewise; after a single step no exact inverse of :attr:`forward`."""
        return resize_displacement(self.flow(reverse(self.velocity)), self.size)


_RANGES = (
    *((f"weight_{name}", 0, 1e6) for name in SIMILARITIES),
    ("levels", 1, 64),
    ("iterations", 1, 100_000),
    ("velocity_spacing", 1, 16),
    ("smoothing", 0, 64),
    ("operator_alpha", 0, 10),
    ("operator_power", 0, 10),
    ("knots", 1, 16),
    ("steps", 1, 64),
    ("step_size", 1e-6, 10),
    ("learning_rate", 1e-6, 10),
    ("damping", 1e-12, 1e3),
    ("tolerance", 0, 1),
    ("weight_jacobian", 0, 1e6),
    ("barrier", 0, 1),
    ("weight_gradient", 0, 1e6),
    ("weight_magnitude", 0, 1e6),
    ("weight_operator", 0, 1e6),
    ("mind_radius", 0, 8),
    ("mind_dilation", 1, 16),
    ("weight_bending", 0, 1e6),
    ("ngf_eta", 1e-6, 1e3),
    ("mi_patch", 2, 64),
    ("mi_bins", 2, 256),
    ("ncc_window", 3, 63),
    ("network_reductions", 0, 4),
)


def _value(objective: Objective, velocity: Tensor) -> float:
    with torch.no_grad():
        return sum(term.item() for term in objective(velocity).values())


def _require_alike(fixed: Tensor, moving: Tensor, spacing: Sequence[float], *others: Tensor | None) -> None:
    size = tuple(fixed.shape)
    if len(size) not in (4, 5) or size[:2] != (1, 1) or min(size[2:]) < 2:
        raise InputError(f"Images must be (1, 1, *size) of two or three axes of 2 voxels at least, not {size}.")
    if len(spacing) != len(size) - 2 or not all(0 < s < np.inf for s in spacing):
        raise InputError(f"The spacing must be a number of mm above 0 for each axis of {size[2:]}, not {spacing}.")
    if not fixed.is_floating_point() or moving.dtype != fixed.dtype:
        raise InputError(f"Images must be of one floating-point type, not {fixed.dtype} and {moving.dtype}.")
    for tensor in (moving, *others):
        if tensor is not None and tuple(tensor.shape) != size:
            raise InputError(f"Images, mask and weights must have one shape, not {size} and {tuple(tensor.shape)}.")


def _for_gradients(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() else tensor


def _cropped(pair: Pair, device: torch.device) -> tuple[Grid, Tensor, Tensor, Tensor]:
    """The box of both brains with a margin, and fixed image, moving image and fixed mask on it, ``(1, 1, X, Y, Z)``."""
    if not pair.fixed_mask.any() or not pair.moving_mask.any():
        which = "moving" if pair.fixed_mask.any() else "fixed"
        raise InputError(f"The mask of the {which} brain is empty; check the skull stripping.")
    if not (pair.fixed_mask & pair.moving_mask).any():
        raise RegistrationError("The fixed and moving brains do not overlap; align them affinely first.")
    margin = int(np.ceil(_MARGIN_MM / pair.fixed.grid.spacing.min()))
    lower, upper = bounding_box(pair.fixed_mask | pair.moving_mask, margin)
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    arrays = (pair.fixed.data, pair.moving.data, pair.fixed_mask.astype(np.float32))
    fixed, moving, mask = (_tensor(array[window], device) for array in arrays)
    return pair.fixed.grid.crop(lower, upper), fixed, moving, mask


def _weights(path: str, grid: Grid, device: torch.device) -> Tensor | None:
    """The map of weights at ``path`` on ``grid``, linear, 1 outside its box; None where no path is given."""
    if not path:
        return None
    given = read_weights(path)
    excess = warp_image(Image(given.data - 1, given.grid), Affine(), grid).data  # 0, so weight 1, outside
    return _tensor(excess + 1, device)


def _content(path: str) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise InputError(f"The weight_map {path} cannot be read: {error.strerror}; correct the parameter.") from error


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array.copy())[None, None].to(device)


def _as_field(displacement: Tensor, grid: Grid) -> DisplacementField:
    return DisplacementField(grid.vectors_to_world(np.moveaxis(displacement[0].cpu().numpy(), 0, -1)), grid)
