"""The penalty of the bending energy of the displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm

if TYPE_CHECKING:
    from diffeode.geometry.shapes import LossTensor


@final
@dataclass(frozen=True)
class Bending(PenaltyTerm):
    """The mean squared second derivatives of the displacement; the unit of the weight is mm^2."""

    name: ClassVar[str] = "bending"

    def cost(self, moved: Moved) -> LossTensor:
        """Return the weighted :func:`diffeode.losses.regularisers.bending_energy`."""
        from diffeode.losses.regularisers import bending_energy

        return self.weight * bending_energy(moved.displacement, moved.spacing, moved.weights)
