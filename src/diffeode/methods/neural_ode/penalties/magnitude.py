"""The length of the velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Magnitude(PenaltyTerm):
    """The mean squared length of velocity times time (arXiv 2512.22689, equation 12)."""

    name: ClassVar[str] = "magnitude"

    def cost(self, moved: Moved) -> Tensor:
        """See the flow's ``mean_square``."""
        return self.weight * moved.flow.time**2 * moved.flow.mean_square(moved.velocity)
