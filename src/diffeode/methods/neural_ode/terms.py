"""What a term of the energy is: settings with a weight and a name, and what computes it."""

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
    from diffeode.losses.similarity import Similarity


@dataclass(frozen=True)
class Term(ABC):
    """A term of the energy; subclasses are final frozen dataclasses that add their own knobs."""

    name: ClassVar[str]
    """How parameters call it."""

    weight: float = knob(1.0, between(0, 1e6), "Weight of this term in the energy; 0 leaves it out")

    @property
    def column(self) -> str:
        """How traces call it."""
        return self.name

    def reads(self) -> dict[str, str]:
        """Hashes of the files that this term reads, see
        :meth:`diffeode.registration.base.Method.reads`.

        Raises:
            InputError: such a file is not there.
        """
        return {}


@dataclass(frozen=True)
class SimilarityTerm(Term):
    """How unlike the warped image is to the fixed one."""

    @abstractmethod
    def to(
        self, fixed: Tensor, moving: Tensor, mask: Tensor | None, spacing: Sequence[float]
    ) -> Similarity:
        """The loss, without its weight, of the moving image under a map.

        Args:
            fixed, moving: ``(1, 1, *size)``.
            mask: the voxels that count, likewise; None: all.
            spacing: of the grid, mm, by axis.
        """


class Moved(NamedTuple):
    """What a penalty looks at.

    Attributes:
        velocity: ``(K, d, *coarse)``, voxels of its grid.
        displacement: where its flow leads, ``(1, d, *coarse)``, likewise.
        flow: what leads there.
        spacing: of that grid, mm, by axis.
        weights: ``(1, 1, *coarse)``, by which penalties of the displacement are multiplied; None:
            1.
    """

    velocity: Tensor
    displacement: Tensor
    flow: Flow | CloudFlow
    spacing: Sequence[float]
    weights: Tensor | None


@dataclass(frozen=True)
class PenaltyTerm(Term):
    """How unlikely a map is."""

    @abstractmethod
    def cost(self, moved: Moved) -> Tensor:
        """The penalty times its weight, a scalar."""
