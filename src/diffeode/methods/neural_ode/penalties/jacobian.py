"""Small Jacobian determinants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm
from diffeode.registration.knobs import anything, between, knob

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Jacobian(PenaltyTerm):
    """The mean of what determinants lack to the barrier (arXiv 2512.22689, equation 10)."""

    name: ClassVar[str] = "jacobian"

    barrier: float = knob(0.5, between(0, 1), "Determinant above which nothing is penalised")
    squared: bool = knob(
        False, anything(), "Whether what a determinant lacks is squared, as in NODEO's code"
    )

    def cost(self, moved: Moved) -> Tensor:
        """See :func:`diffeode.losses.regularisers.jacobian_barrier`."""
        from diffeode.losses.regularisers import jacobian_barrier

        return self.weight * jacobian_barrier(moved.displacement, self.barrier, self.squared)
