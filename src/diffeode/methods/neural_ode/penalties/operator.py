"""The penalty of the velocity's norm in the space that an operator defines, as in LDDMM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm
from diffeode.methods.neural_ode.velocity import OperatorKernel
from diffeode.registration.knobs import with_default

if TYPE_CHECKING:
    from diffeode.geometry.shapes import LossTensor


@final
@dataclass(frozen=True)
class Operator(PenaltyTerm):
    """The squared V-norm of the velocity times its time.

    This is the mean squared length of the velocity after the operator ``(Id - alpha
    Laplacian)^power`` on the unit cube.
    """

    name: ClassVar[str] = "operator"

    alpha: float = with_default(OperatorKernel, "alpha", 0.0025)
    power: float = with_default(OperatorKernel, "power", 2.0)
    boundary: str = with_default(OperatorKernel, "boundary", "dirichlet")

    def cost(self, moved: Moved) -> LossTensor:
        """Return the weighted :func:`diffeode.flows.operator.operator_norm` times the squared
        time.
        """
        from diffeode.flows.operator import operator_norm

        how = self.alpha, self.power, self.boundary, moved.flow.mean_square
        return self.weight * moved.flow.time**2 * operator_norm(moved.velocity, *how)
