"""The penalty of small Jacobian determinants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm
from diffeode.registration.knobs import anything, between, knob

if TYPE_CHECKING:
    from diffeode.geometry.shapes import LossTensor


@final
@dataclass(frozen=True)
class Jacobian(PenaltyTerm):
    """The mean amount by which Jacobian determinants fall below a barrier (arXiv 2512.22689,
    equation 10).
    """

    name: ClassVar[str] = "jacobian"

    barrier: float = knob(0.5, between(0, 1), "Determinant above which nothing is penalised")
    squared: bool = knob(
        False, anything(), "Whether that amount is squared before the mean, as in NODEO's code"
    )

    def cost(self, moved: Moved) -> LossTensor:
        """Return the weighted :func:`diffeode.losses.regularisers.jacobian_barrier`."""
        from diffeode.losses.regularisers import jacobian_barrier

        return self.weight * jacobian_barrier(moved.displacement, self.barrier, self.squared)
