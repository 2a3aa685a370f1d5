"""The penalty of the gradient of the displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm

if TYPE_CHECKING:
    from diffeode.geometry.shapes import LossTensor


@final
@dataclass(frozen=True)
class Gradient(PenaltyTerm):
    """The mean squared gradient of the displacement (arXiv 2512.22689, equation 11)."""

    name: ClassVar[str] = "gradient"

    def cost(self, moved: Moved) -> LossTensor:
        """Return the weighted :func:`diffeode.losses.regularisers.gradient_magnitude`."""
        from diffeode.losses.regularisers import gradient_magnitude

        return self.weight * gradient_magnitude(moved.displacement, moved.spacing, moved.weights)
