"""The penalty of the length of the velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm

if TYPE_CHECKING:
    from diffeode.geometry.shapes import LossTensor


@final
@dataclass(frozen=True)
class Magnitude(PenaltyTerm):
    """The mean squared length of the velocity times its time (arXiv 2512.22689, equation 12)."""

    name: ClassVar[str] = "magnitude"

    def cost(self, moved: Moved) -> LossTensor:
        """Return the weighted mean square of the velocity times the squared time.

        :meth:`diffeode.flows.integrate.Flow.mean_square` says over what the mean is taken.
        """
        return self.weight * moved.flow.time**2 * moved.flow.mean_square(moved.velocity)
