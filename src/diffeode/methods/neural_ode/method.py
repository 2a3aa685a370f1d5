"""Registration by a Neural ODE: the flow of a velocity field, optimised for the pair at hand.

Rodríguez-Sanz and Hernández, arXiv 2512.22689, after NODEO (Wu et al., CVPR 2022). The defaults are
our best settings for MIND; ``config/methods`` holds the others and the papers' own.
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
    from diffeode.methods.neural_ode.motion import Motion


@final
@dataclass(frozen=True)
class NeuralODE(Method):
    """Instance-optimised diffeomorphic registration.

    The energy is the sum of all similarities and penalties, each times its weight. The velocity
    lives on a grid of its own, coarser than that of the image. A length in voxels means voxels of
    the finest axis.
    """

    title: ClassVar[str] = "Neural ODE"
    needs: ClassVar[Needs] = Needs(packages=("torch",), gpu=True)
    citation: ClassVar[str] = (
        "Rodríguez-Sanz, S., Hernández, M.: Multimodal diffeomorphic registration with Neural "
        "ODEs and structural descriptors. arXiv:2512.22689, 2025. Wu, Y. et al.: NODEO: a neural "
        "ordinary differential equation based optimization framework for deformable image "
        "registration. CVPR, 2022."
    )
    licence: ClassVar[str] = "MIT (diffeode)"
    formerly: ClassVar[Mapping[str, str]] = FORMERLY

    similarity: tuple[SimilarityTerm, ...] = knob(
        (Mind(),),
        any_of(SIMILARITIES, SimilarityTerm),
        "What makes the warped image like the fixed one",
    )
    penalties: tuple[PenaltyTerm, ...] = knob(
        (Gradient(0.2),), any_of(PENALTIES, PenaltyTerm), "What keeps the map likely"
    )
    velocity: Velocity = knob(Velocity(), group(), "The velocity that is optimised")
    flow: FlowSettings = knob(FlowSettings(), group(), "How the velocity is integrated")
    descent: DescentSettings = knob(DescentSettings(), group(), "How the energy is descended")
    levels: Levels = knob(Levels(), group(), "The levels of resolution")
    masked: bool = knob(
        False,
        anything(),
        "Whether the similarity looks at the fixed brain only, instead of at the box of both "
        "brains",
    )
    weight_map: str = knob(
        "",
        anything(),
        "Path of a NIfTI in the fixed scan's frame whose values (0 and above; 1 outside its box) "
        "multiply the penalties of gradient and bending from place to place; empty for none",
    )
    deterministic: bool = knob(
        False,
        anything(),
        "Whether a GPU finds the same map every time, which takes more time and memory; a CPU "
        "always does",
    )
    diffeomorphic: str = knob(
        "guaranteed",
        one_of("guaranteed", "penalised"),
        "`guaranteed`: in the map on the fixed grid, and in the way back on the same grid, every "
        "determinant of one-sided differences and both tetrahedra of every cube are positive; "
        "folds are repaired, or the map is refused. `penalised`: the map stays as the optimiser "
        "left it",
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
                "no knots; set velocity.field.network.timed to true, or "
                "velocity.field.network.cloud to fixed."
            )
        if self._timed and not of_cloud and knots == 1:
            raise InputError(
                "Parameter velocity.field.network.timed is true, and a fixed cloud is asked at one "
                "time alone; set velocity.knots to 2 or more, or velocity.field.network.cloud to "
                "moved."
            )

    @property
    def _timed(self) -> bool:
        field = self.velocity.field
        return isinstance(field, Network) and field.timed

    def _require_levels(self) -> None:
        factors, iterations = self.levels.factors, self.levels.iterations
        if len(factors) != len(iterations) or not factors:
            raise InputError(
                f"Parameters levels.factors {factors} and levels.iterations {iterations} must be "
                "as many, one at least."
            )
        if list(factors) != sorted(factors, reverse=True):
            raise InputError(
                f"Parameter levels.factors is {factors}; it must fall from coarse to fine."
            )

    def reads(self) -> dict[str, str]:
        """The descriptor's code and weights, and the map of weights, where they are used."""
        found: dict[str, str] = {}
        for term in (*self.similarity, *self.penalties):
            if term.weight:
                found |= term.reads()
        if self.weight_map:
            found["weight_map"] = _content(self.weight_map)
        return found

    @property
    def descriptor_weights(self) -> str:
        """Those of the learned descriptor, where it is used."""
        used = [term for term in self.similarity if isinstance(term, Descriptor) and term.weight]
        return used[0].weights if used else ""

    def load(self) -> None:
        """The engine, torch and the compiled kernels."""
        importlib.import_module("diffeode.methods.neural_ode.motion")

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; forward and inverse are the flows of the velocity and of its reverse.

        Raises:
            InputError: the device asked for is not there, a brain mask is empty, or the weight map
                cannot be used.
            RegistrationError: the brains do not overlap, and as :meth:`velocity_between`.
        """
        from diffeode.methods.neural_ode import motion

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
        """What moves ``moving`` onto ``fixed``, two images or two volumes ``(1, 1, *size)`` on one
        grid and device.

        Intensities are of order 1, background 0. Parameters ``masked`` and ``weight_map`` concern
        :meth:`register`; here the tensors are given.

        Args:
            spacing: of the grid, mm, by axis.
            mask: voxels the similarity looks at, shaped as the images; None: all.
            weights: of the penalties of gradient and bending, as the images; None: 1.
            progress: called with a fraction in [0, 1] and a short message.
        Raises:
            InputError: the tensors do not belong together.
            RegistrationError: the energy is not finite from the start, folds could not be taken
                out, or memory ran out.
        """
        from diffeode.methods.neural_ode import motion

        return motion.velocity_between(self, fixed, moving, spacing, mask, weights, progress)

    @property
    def integrator(self) -> Flow | CloudFlow:
        """From a velocity to its displacement."""
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
