"""Terms of the energy: settings with a name and a weight, and a function that computes the term."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from diffeode.registration.knobs import between, knob

if TYPE_CHECKING:
    from torch import Tensor

    from diffeode.flows.cloud import CloudFlow
    from diffeode.flows.integrate import Flow
    from diffeode.geometry.shapes import (
        DisplacementTensor,
        ImageTensor,
        LossTensor,
        MaskTensor,
        VelocityTensor,
    )
    from diffeode.losses.similarity import Similarity


@dataclass(frozen=True)
class Term(ABC):
    """A term of the energy; subclasses are final frozen dataclasses that add their own knobs."""

    name: ClassVar[str]
    """The term's name in parameters."""

    weight: float = knob(1.0, between(0, 1e6), "Weight of this term in the energy; 0 leaves it out")

    @property
    def column(self) -> str:
        """The term's name in traces."""
        return self.name

    def reads(self) -> dict[str, str]:
        """Return the hashes of the files that this term reads, by name.

        See :meth:`diffeode.registration.base.Method.reads`.

        Raises:
            InputError: such a file is not there.
        """
        return {}


@dataclass(frozen=True)
class SimilarityTerm(Term):
    """A term that tells how unlike the fixed image the warped one is."""

    @abstractmethod
    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return the loss of the moving image under a map, without the weight of the term.

        Args:
            mask: the voxels that count; None: all.
            spacing: the spacing of the grid along each axis, mm.
        """


class Moved(NamedTuple):
    """What a penalty is computed from; all tensors lie on the grid of the velocity.

    Attributes:
        velocity: the velocity.
        displacement: the displacement of its flow.
        flow: the flow that turns the velocity into the displacement.
        spacing: the spacing of the grid along each axis, mm.
        weights: the factor of the penalties of gradient and bending at each voxel, ``(1, 1,
            *size)``; None: 1.
    """

    velocity: VelocityTensor
    displacement: DisplacementTensor
    flow: Flow | CloudFlow
    spacing: Sequence[float]
    weights: Tensor | None


@dataclass(frozen=True)
class PenaltyTerm(Term):
    """A term that tells how unlikely a map is."""

    @abstractmethod
    def cost(self, moved: Moved) -> LossTensor:
        """Return the penalty times its weight."""
