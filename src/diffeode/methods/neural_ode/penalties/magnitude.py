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
        """Return the weighted :func:`diffeode.flows.velocity.kinetic_energy` times the squared
        time.
        """
        from diffeode.flows.velocity import kinetic_energy

        return self.weight * moved.time**2 * kinetic_energy(moved.velocity)
