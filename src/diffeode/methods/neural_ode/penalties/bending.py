"""The bending energy of the displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import Moved, PenaltyTerm

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Bending(PenaltyTerm):
    """The mean squared second derivatives of the displacement, so that the weight is in mm^2."""

    name: ClassVar[str] = "bending"

    def cost(self, moved: Moved) -> Tensor:
        """See :func:`diffeode.losses.regularisers.bending_energy`."""
        from diffeode.losses.regularisers import bending_energy

        return self.weight * bending_energy(moved.displacement, moved.spacing, moved.weights)
