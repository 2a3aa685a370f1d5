"""Registration by a Neural ODE: the flow of a velocity field, optimised for the pair at hand.

Rodríguez-Sanz and Hernández, arXiv 2512.22689, after NODEO (Wu et al., CVPR 2022). The defaults are our best settings
for MIND; ``config/methods`` holds the others and the papers' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from diffeode.errors import InputError, RegistrationError
from diffeode.flows.fields import GridField, NetworkField, Smoother
from diffeode.flows.integrate import GRADIENTS, SOLVERS, Flow
from diffeode.flows.operator import BOUNDARIES, inverse_operator, operator_norm
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.unfold import unfold
from diffeode.flows.velocity import kinetic_energy, reverse, still_border, zero_velocity
from diffeode.image import bounding_box
from diffeode.losses.mutual_information import local_mutual_information_to
from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier
from diffeode.losses.similarity import Similarity, mind_similarity, ncc_similarity
from diffeode.methods.base import Machine, Method, Needs, Pair, Registration, require_in, require_one_of
from diffeode.optimise.loop import minimise
from diffeode.optimise.memory import keep_freed_memory
from diffeode.optimise.pyramid import Lattice, reduce
from diffeode.space import Grid
from diffeode.transform import DisplacementField
from diffeode.warp import pull_back_from_rest, resize_displacement

_MARGIN_MM = 6.0
"""Room around the two brains within which the optimisation works; beyond it the map continues as at its border."""


@final
@dataclass(frozen=True)
class NeuralODE(Method):
    """Instance-optimised diffeomorphic registration.

    Lengths called "voxels" are voxels of the level's finest axis; the velocity lives on its own, coarser grid.

    Attributes:
        weight_mind, weight_lmi, weight_ncc: of MIND-SSC, local mutual information and squared local correlation; at
            least one is above 0, and their sum is the similarity.
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
        weight_jacobian, barrier, barrier_squared: ``mean ReLU(barrier - |J|)``, or its square.
        weight_gradient: of the mean squared gradient of the displacement.
        weight_magnitude: of the mean squared length of the velocity times the time it acts.
        weight_operator: the same of the operator's image of the velocity, its squared V-norm.
        mind_radius, mind_dilation: of MIND-SSC, voxels.
        mi_patch, mi_bins: patches of local mutual information, voxels, and bins.
        ncc_window: of the local correlation, voxels.
        network_reductions: halvings of the network's output.
        unfolded: take the last folds out of the map (:func:`diffeode.flows.unfold.unfold`) or refuse it.
    """

    title: ClassVar[str] = "Neural ODE"
    needs: ClassVar[Needs] = Needs(packages=("torch",), gpu=True)
    citation: ClassVar[str] = (
        "Rodríguez-Sanz, S., Hernández, M.: Multimodal diffeomorphic registration with Neural ODEs and structural "
        "descriptors. arXiv:2512.22689, 2025. Wu, Y. et al.: NODEO: a neural ordinary differential equation based "
        "optimization framework for deformable image registration. CVPR, 2022."
    )

    weight_mind: float = 1.0
    weight_lmi: float = 0.0
    weight_ncc: float = 0.0
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
    weight_jacobian: float = 0.0
    barrier: float = 0.5
    barrier_squared: bool = False
    weight_gradient: float = 0.2
    weight_magnitude: float = 0.0
    weight_operator: float = 0.0
    mind_radius: int = 1
    mind_dilation: int = 2
    mi_patch: int = 5
    mi_bins: int = 16
    ncc_window: int = 9
    network_reductions: int = 1
    unfolded: bool = True

    def __post_init__(self) -> None:
        require_one_of("field", self.field, ("grid", "network"))
        require_one_of("smoother", self.smoother, ("gaussian", "box", "operator"))
        require_one_of("operator_boundary", self.operator_boundary, BOUNDARIES)
        require_one_of("border", self.border, ("free", "fixed"))
        require_one_of("solver", self.solver, SOLVERS)
        require_one_of("gradient", self.gradient, GRADIENTS)
        if self.solver == "exponential" and (self.knots > 1 or self.gradient == "adjoint"):
            name, value = ("knots", self.knots) if self.knots > 1 else ("gradient", self.gradient)
            raise InputError(f"Parameter {name} is {value}; it needs the solver euler, midpoint, heun or rk4.")
        if len(self.levels) != len(self.iterations) or not self.levels:
            raise InputError(
                f"Parameters levels {self.levels} and iterations {self.iterations} must be as many, one at least."
            )
        if list(self.levels) != sorted(self.levels, reverse=True):
            raise InputError(f"Parameter levels is {self.levels}; it must fall from coarse to fine.")
        if not (self.weight_mind or self.weight_lmi or self.weight_ncc):
            raise InputError("Parameters weight_mind, weight_lmi and weight_ncc are all 0; one similarity is needed.")
        odd = {"ncc_window": self.ncc_window} | ({"smoothing": self.smoothing} if self.smoother == "box" else {})
        for name, value in odd.items():
            if value % 2 != 1:
                raise InputError(f"Parameter {name} is {value}; a window needs an odd, whole number of voxels.")
        for name, low, high in _RANGES:
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                require_in(name, value, low, high)

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; forward and inverse are the flows of the velocity and of its reverse.

        Raises:
            InputError: the device asked for is not there.
            RegistrationError: the energy is not finite from the start, or folds could not be taken out.
        """
        device = _device(machine.device)
        torch.set_num_threads(machine.threads)
        keep_freed_memory()
        grid, fixed, moving = _cropped(pair, device)
        lattice = Lattice(grid.shape, tuple(float(s) for s in grid.spacing))
        trace: list[dict[str, float]] = []
        velocity = self._coarse_to_fine(fixed, moving, lattice, trace, machine)
        if self.unfolded:
            velocity = _without_folds(velocity, self._flow, grid)
        forward = _as_field(self._flow(velocity), grid)
        inverse = _as_field(self._flow(reverse(velocity)), grid) if self._inverts_exactly() else None
        return Registration(forward, inverse, tuple(trace))

    def _coarse_to_fine(
        self, fixed: Tensor, moving: Tensor, lattice: Lattice, trace: list[dict[str, float]], machine: Machine
    ) -> Tensor:
        velocity = None
        report = _Reporter(trace, self._iteration_costs(), machine.progress)
        for level, iterations in zip(self.levels, self.iterations, strict=True):
            images = lattice.coarser(level)
            fields = lattice.coarser(level * self.velocity_spacing)
            start = zero_velocity(fields.size, fixed, self.knots) if velocity is None else velocity
            field = self._field(resize_displacement(start, fields.size), fields)
            objective = self._objective(reduce(fixed, images.size), reduce(moving, images.size), fields)
            report.level = level
            velocity = minimise(field.to(fixed.device), objective, iterations, self.learning_rate, report)
        return velocity

    def _objective(self, fixed: Tensor, moving: Tensor, fields: Lattice) -> Callable[[Tensor], dict[str, Tensor]]:
        similarities = self._similarities(fixed)
        size = fixed.shape[2:]

        def terms(velocity: Tensor) -> dict[str, Tensor]:
            displacement = self._flow(velocity)
            warped = pull_back_from_rest(moving, resize_displacement(displacement, size))
            energy = {name: weight * similarity(warped) for name, (weight, similarity) in similarities.items()}
            if self.weight_gradient:
                energy["gradient"] = self.weight_gradient * gradient_magnitude(displacement, fields.spacing)
            if self.weight_jacobian:
                barrier = jacobian_barrier(displacement, self.barrier, self.barrier_squared)
                energy["jacobian"] = self.weight_jacobian * barrier
            if self.weight_magnitude:
                energy["magnitude"] = self.weight_magnitude * kinetic_energy(self._flow.time * velocity)
            if self.weight_operator:
                energy["operator"] = self.weight_operator * operator_norm(self._flow.time * velocity, *self._operator)
            return energy

        return terms

    def _similarities(self, fixed: Tensor) -> dict[str, tuple[float, Similarity]]:
        makers = {
            "mind": (self.weight_mind, lambda: mind_similarity(fixed, self.mind_radius, self.mind_dilation)),
            "lmi": (self.weight_lmi, lambda: local_mutual_information_to(fixed, self.mi_patch, self.mi_bins)),
            "ncc": (self.weight_ncc, lambda: ncc_similarity(fixed, self.ncc_window)),
        }
        return {name: (weight, make()) for name, (weight, make) in makers.items() if weight}

    def _field(self, base: Tensor, fields: Lattice) -> nn.Module:
        if self.field == "grid":
            return GridField(base, self._smoother(fields))
        return NetworkField(base, self._smoother(fields), self.network_reductions)

    def _smoother(self, fields: Lattice) -> Smoother:
        smooth = self._kernel(fields)
        return (lambda field: still_border(smooth(field))) if self.border == "fixed" else smooth

    def _kernel(self, fields: Lattice) -> Smoother:
        if self.smoother == "operator":
            return lambda field: inverse_operator(field, *self._operator)
        if self.smoother == "box":
            return lambda field: box(field, int(self.smoothing))
        widths = [self.smoothing * min(fields.spacing) / s for s in fields.spacing]
        return lambda field: gaussian(field, widths)

    @property
    def _flow(self) -> Flow:
        return Flow(self.solver, self.steps, self.step_size, self.gradient, self.border == "fixed")

    @property
    def _operator(self) -> tuple[float, float, str]:
        return self.operator_alpha, self.operator_power, self.operator_boundary

    def _inverts_exactly(self) -> bool:
        """A single step is no flow: the step back does not undo it."""
        return self.solver == "exponential" or self.steps > 1

    def _iteration_costs(self) -> list[float]:
        return [level**-3 for level, n in zip(self.levels, self.iterations, strict=True) for _ in range(n)]


_RANGES = (
    ("weight_mind", 0, 1e6),
    ("weight_lmi", 0, 1e6),
    ("weight_ncc", 0, 1e6),
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
    ("weight_jacobian", 0, 1e6),
    ("barrier", 0, 1),
    ("weight_gradient", 0, 1e6),
    ("weight_magnitude", 0, 1e6),
    ("weight_operator", 0, 1e6),
    ("mind_radius", 0, 8),
    ("mind_dilation", 1, 16),
    ("mi_patch", 2, 64),
    ("mi_bins", 2, 256),
    ("ncc_window", 3, 63),
    ("network_reductions", 0, 4),
)


@dataclass
class _Reporter:
    """Collects the trace and turns iterations into progress, weighting each by its level's voxels."""

    trace: list[dict[str, float]]
    costs: list[float]
    progress: Callable[[float, str], None]
    level: float = 1.0

    def __call__(self, terms: dict[str, float]) -> None:
        self.trace.append({"level": self.level, **terms})
        done = sum(self.costs[: len(self.trace)]) / sum(self.costs)
        self.progress(done, f"level {self.level:g}, energy {terms['energy']:.5f}")


def _device(name: str) -> torch.device:
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            "A GPU was asked for (device cuda) but torch sees none; use --device cpu or install CUDA's torch."
        )
    return torch.device(name)


def _cropped(pair: Pair, device: torch.device) -> tuple[Grid, Tensor, Tensor]:
    """The box of both brains with a margin, and the images on it, ``(1, 1, X, Y, Z)``."""
    margin = int(np.ceil(_MARGIN_MM / pair.fixed.grid.spacing.min()))
    lower, upper = bounding_box(pair.fixed_mask | pair.moving_mask, margin)
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    tensors = (
        torch.from_numpy(image.data[window].copy())[None, None].to(device) for image in (pair.fixed, pair.moving)
    )
    return pair.fixed.grid.crop(lower, upper), *tensors


def _without_folds(velocity: Tensor, flow: Callable[[Tensor], Tensor], grid: Grid) -> Tensor:
    velocity, folded = unfold(velocity, flow, grid.shape)
    if folded:
        raise RegistrationError(f"The map still folds at {folded} voxels; raise weight_gradient or smoothing.")
    return velocity


def _as_field(displacement: Tensor, grid: Grid) -> DisplacementField:
    fine = resize_displacement(displacement, grid.shape)[0].cpu().numpy()
    return DisplacementField(grid.vectors_to_world(np.moveaxis(fine, 0, -1)), grid)
