"""Registration by a Neural ODE: the flow of a velocity field that is optimised for each pair.

Rodríguez-Sanz and Hernández, arXiv 2512.22689, after NODEO (Wu et al., CVPR 2022). The defaults are
our best settings for MIND; ``config/methods`` holds other runs, among them those of the papers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.errors import InputError
from diffeode.files.io import sha256
from diffeode.methods.neural_ode.formerly import FORMERLY
from diffeode.methods.neural_ode.penalties import PENALTIES
from diffeode.methods.neural_ode.penalties.gradient import Gradient
from diffeode.methods.neural_ode.settings import DescentSettings, FlowSettings, Levels
from diffeode.methods.neural_ode.similarities import SIMILARITIES
from diffeode.methods.neural_ode.similarities.descriptor import Descriptor
from diffeode.methods.neural_ode.similarities.mind import Mind
from diffeode.methods.neural_ode.terms import PenaltyTerm, SimilarityTerm
from diffeode.methods.neural_ode.velocity import Network, Velocity
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration
from diffeode.registration.knobs import any_of, anything, group, knob, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from diffeode.flows.cloud import CloudFlow
    from diffeode.flows.integrate import Flow
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.geometry.transform import KeptVelocity
    from diffeode.methods.neural_ode.motion import Motion


@final
@dataclass(frozen=True)
class NeuralODE(Method):
    """Diffeomorphic registration that optimises a velocity for each pair.

    The map is the flow of the velocity. The energy that is minimised is the sum of all similarities
    and penalties, each times its weight. The velocity has a grid of its own, which is coarser than
    that of the image. Where voxels differ in length along the axes, a length in voxels is meant in
    voxels of the finest axis.
    """

    title: ClassVar[str] = "Neural ODE"
    needs: ClassVar[Needs] = Needs(packages=("torch",), gpu=True)
    leaves_out: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "Rodríguez-Sanz, S., Hernández, M.: Multimodal diffeomorphic registration with Neural "
        "ODEs and structural descriptors. arXiv:2512.22689, 2025. Wu, Y. et al.: NODEO: a neural "
        "ordinary differential equation based optimization framework for deformable image "
        "registration. CVPR, 2022."
    )
    licence: ClassVar[str] = "MIT (diffeode)"
    takes_slices: ClassVar[bool] = True
    formerly: ClassVar[Mapping[str, str]] = FORMERLY

    similarity: tuple[SimilarityTerm, ...] = knob(
        (Mind(),),
        any_of(SIMILARITIES, SimilarityTerm),
        "Terms of the energy that make the warped image like the fixed one",
    )
    penalties: tuple[PenaltyTerm, ...] = knob(
        (Gradient(0.2),),
        any_of(PENALTIES, PenaltyTerm),
        "Terms of the energy that keep the map smooth and free of folds",
    )
    velocity: Velocity = knob(Velocity(), group(), "The velocity that is optimised")
    flow: FlowSettings = knob(FlowSettings(), group(), "How the velocity is integrated")
    descent: DescentSettings = knob(DescentSettings(), group(), "How the energy is descended")
    levels: Levels = knob(Levels(), group(), "The levels of resolution")
    masked: bool = knob(
        False,
        anything(),
        "Whether the similarity counts the voxels of the fixed brain only, instead of all voxels "
        "of the box around both brains",
    )
    weight_map: str = knob(
        "",
        anything(),
        "Path of a NIfTI in the frame of the fixed scan. Its values, 0 or above, multiply the "
        "penalties of gradient and bending at each place; outside its box they are 1. Empty for "
        "none",
    )
    deterministic: bool = knob(
        False,
        anything(),
        "Whether a GPU computes the same map every time, which takes more time and memory; a CPU "
        "always does",
    )
    diffeomorphic: str = knob(
        "guaranteed",
        one_of("guaranteed", "penalised"),
        "`guaranteed`: on the fixed grid, in the map and in its inverse, every determinant of "
        "one-sided differences is positive, and so are the volumes of both tetrahedra of every "
        "cube of voxels; folds are repaired, or the map is refused. `penalised`: the map stays as "
        "the optimiser left it",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_solver()
        self._require_times()
        self._require_levels()
        if not any(term.weight for term in self.similarity):
            raise InputError(
                "Parameter similarity has no term with a weight above 0; one similarity is needed."
            )

    def _require_solver(self) -> None:
        if self.flow.solver != "exponential":
            return
        needs = "it needs the solver euler, midpoint, heun or rk4."
        if self.velocity.knots > 1:
            raise InputError(f"Parameter velocity.knots is {self.velocity.knots}; {needs}")
        if self.flow.gradient == "adjoint":
            raise InputError(f"Parameter flow.gradient is adjoint; {needs}")
        if self._timed:
            raise InputError(f"Parameter velocity.field.network.timed is true; {needs}")

    def _require_times(self) -> None:
        knots, of_cloud = self.velocity.knots, self.velocity.field.of_cloud
        if of_cloud and knots > 1:
            raise InputError(
                f"Parameter velocity.knots is {knots}, and a network that follows the voxels has "
                "no knots; set velocity.knots to 1 and velocity.field.network.timed to true, or "
                "set velocity.field.network.cloud to fixed."
            )
        if self._timed and not of_cloud and knots == 1:
            raise InputError(
                "Parameter velocity.field.network.timed is true, and with a fixed cloud and one "
                "knot the network is evaluated at one time only; set velocity.knots to 2 or more, "
                "or velocity.field.network.cloud to moved."
            )

    @property
    def _timed(self) -> bool:
        field = self.velocity.field
        return isinstance(field, Network) and field.timed

    def _require_levels(self) -> None:
        factors, iterations = self.levels.factors, self.levels.iterations
        if len(factors) != len(iterations) or not factors:
            raise InputError(
                f"Parameters levels.factors {factors} and levels.iterations {iterations} must have "
                "the same number of values, at least one."
            )
        if list(factors) != sorted(factors, reverse=True):
            raise InputError(
                f"Parameter levels.factors is {factors}; it must fall from coarse to fine."
            )

    def reads(self) -> dict[str, str]:
        """Return the hashes of the descriptor and of the weight map, where they are used."""
        found: dict[str, str] = {}
        for term in (*self.similarity, *self.penalties):
            if term.weight:
                found |= term.reads()
        if self.weight_map:
            found["weight_map"] = _content(self.weight_map)
        return found

    @property
    def descriptor_weights(self) -> str:
        """The weights of the learned descriptor, by name or path; empty where it is not used."""
        used = [term for term in self.similarity if isinstance(term, Descriptor) and term.weight]
        return used[0].weights if used else ""

    def load(self) -> None:
        """Import torch, what computes the map, and the compiled kernels."""
        importlib.import_module("diffeode.methods.neural_ode.motion")
        from diffeode.fused.compiler import load_ahead

        load_ahead()

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; forward and inverse are the flows of the velocity and of its reverse.

        Raises:
            InputError: there is no such device, a brain mask is empty, or the weight map cannot be
                used.
            RegistrationError: the brains do not overlap, or a reason of :meth:`velocity_between`.
        """
        from diffeode.methods.neural_ode import motion

        return motion.register(self, pair, machine)

    def expanded(self, velocity: KeptVelocity, machine: Machine) -> Registration:
        """Return forward and inverse map of the velocity of an earlier registration, on a CPU."""
        from diffeode.methods.neural_ode import motion

        return motion.expanded(self, velocity, machine)

    def velocity_between(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        spacing: Sequence[float],
        mask: MaskTensor | None = None,
        weights: Tensor | None = None,
        progress: Callable[[float, str], None] = lambda fraction, message: None,
    ) -> Motion:
        """Find the motion that carries ``moving`` onto ``fixed``.

        The images have two or three axes and lie on one grid and one device. The parameters
        ``masked`` and ``weight_map`` are not used here; the arguments replace them.

        Args:
            fixed, moving: the images, with intensities of order 1 and background 0.
            spacing: the spacing of the grid along each axis, mm.
            mask: the voxels that count in the similarities; None: all.
            weights: the factor of the penalties of gradient and bending at each voxel, ``(1, 1,
                *size)``; None: 1.
            progress: a function that receives a fraction in [0, 1] and a short message.
        Raises:
            InputError: the tensors differ in shape or type, or the spacing does not fit them.
            RegistrationError: the energy is not finite at the start, folds could not be repaired,
                or memory ran out.
        """
        from diffeode.methods.neural_ode import motion

        return motion.velocity_between(self, fixed, moving, spacing, mask, weights, progress)

    @property
    def integrator(self) -> Flow | CloudFlow:
        """The flow, which turns a velocity into a displacement."""
        return self.flow.flow(
            fixed_border=self.velocity.border == "fixed", of_cloud=self.velocity.field.of_cloud
        )


def _content(path: str) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise InputError(
            f"The weight_map {path} cannot be read: {error.strerror}; correct the parameter."
        ) from error
