"""Registration by a Neural ODE: the flow of a velocity field, optimised for the pair at hand.

Rodríguez-Sanz and Hernández, arXiv 2512.22689, after NODEO (Wu et al., CVPR 2022). The defaults are our best settings
for MIND; ``config/methods`` holds the others and the papers' own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.descriptors.registry import descriptor_content, descriptor_names
from diffeode.errors import InputError
from diffeode.io import sha256
from diffeode.methods.base import Machine, Method, Needs, Pair, Registration, require_in, require_one_of

if TYPE_CHECKING:
    from torch import Tensor

    from diffeode.flows.integrate import Flow
    from diffeode.methods.motion import Motion

SIMILARITIES = ("mind", "lmi", "mi", "nmi", "ngf", "ncc", "ssd", "descriptor")
"""What ``weight_<name>`` weighs."""
CHOICES = {
    "field": ("grid", "network"),
    "mind_form": ("ssc", "mind"),
    "mind_precision": ("single", "half"),
    "descriptors": ("recomputed", "warped"),
    "smoother": ("gaussian", "box", "operator"),
    "operator_boundary": ("dirichlet", "periodic"),
    "border": ("free", "fixed"),
    "solver": ("exponential", "euler", "midpoint", "heun", "rk4"),
    "gradient": ("exact", "checkpoint", "adjoint"),
    "schedule": ("cosine", "constant"),
    "diffeomorphic": ("guaranteed", "penalised"),
}
"""The words that a parameter knows; said here, since planning a study must not import torch."""


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
        for name, known in CHOICES.items():
            require_one_of(name, getattr(self, name), known)
        require_one_of("descriptor", self.descriptor, descriptor_names())
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

    def load(self) -> None:
        """The engine, torch and the compiled kernels."""
        importlib.import_module("diffeode.methods.motion")

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; forward and inverse are the flows of the velocity and of its reverse.

        Raises:
            InputError: the device asked for is not there, a brain mask is empty, or the weight map cannot be used.
            RegistrationError: the brains do not overlap, and as :meth:`velocity_between`.
        """
        from diffeode.methods import motion

        return motion.register(self, pair, machine)

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
        from diffeode.methods import motion

        return motion.velocity_between(self, fixed, moving, spacing, mask, weights, progress)

    @property
    def flow(self) -> Flow:
        """From a velocity to its displacement."""
        from diffeode.flows.integrate import Flow

        return Flow(self.solver, self.steps, self.step_size, self.gradient, self.border == "fixed")

    @property
    def operator(self) -> tuple[float, float, str]:
        """Alpha, power and boundary of the operator."""
        return self.operator_alpha, self.operator_power, self.operator_boundary


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


def _content(path: str) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise InputError(f"The weight_map {path} cannot be read: {error.strerror}; correct the parameter.") from error
