"""The energy that :class:`diffeode.methods.neural_ode.NeuralODE` minimises on one level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from diffeode.geometry.shapes import (
    DisplacementTensor,
    ImageTensor,
    LossTensor,
    MaskTensor,
    VelocityTensor,
)
from diffeode.losses.similarity import Warped
from diffeode.methods.neural_ode.terms import Moved
from diffeode.optimise.loop import Objective
from diffeode.optimise.pyramid import Lattice, reduce

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE


@final
@dataclass(frozen=True)
class PairTensors:
    """A pair on the grids of one level, as the energy is computed from it.

    Attributes:
        fixed, moving: the images.
        mask: the voxels that count in the similarities; None: all.
        weights: the factor of the penalties of gradient and bending at each voxel of the velocity's
            grid, ``(1, 1, *size)``; None: 1.
    """

    fixed: ImageTensor
    moving: ImageTensor
    mask: MaskTensor | None
    weights: Tensor | None

    def reduced(self, size: Sequence[int], field_size: Sequence[int]) -> PairTensors:
        """Return the pair on coarser grids: ``size`` for images, ``field_size`` for weights."""
        mask = None if self.mask is None else reduce(self.mask, size)
        weights = None if self.weights is None else reduce(self.weights, field_size)
        return PairTensors(reduce(self.fixed, size), reduce(self.moving, size), mask, weights)


def energy_on(pair: PairTensors, images: Lattice, fields: Lattice, method: NeuralODE) -> Objective:
    """Return the weighted terms of the energy as a function of the velocity.

    The terms are named as in the trace. Those whose weight is 0 are left out.

    Args:
        pair: images on the grid ``images``, and weights on the grid ``fields``.
        images: the grid of the images.
        fields: the grid of the velocity.
        method: the settings of the energy.
    """
    flow, cost = method.integrator, cost_on(pair, images, fields, method)
    return lambda velocity: cost(velocity, flow(velocity))


def cost_on(
    pair: PairTensors, images: Lattice, fields: Lattice, method: NeuralODE
) -> Callable[[VelocityTensor, DisplacementTensor], dict[str, LossTensor]]:
    """Return the terms of :func:`energy_on` as a function of the velocity and of a displacement.

    The displacement is that of the flow at its end, or at another time on its way.
    """
    used = [term for term in method.similarity if term.weight]
    similarities = [term.to(pair.fixed, pair.moving, pair.mask, images.spacing) for term in used]
    penalties = [term for term in method.penalties if term.weight]
    flow = method.integrator

    def terms(velocity: VelocityTensor, displacement: DisplacementTensor) -> dict[str, LossTensor]:
        warped = Warped(pair.moving, displacement)
        moved = Moved(velocity, displacement, flow, fields.spacing, pair.weights)
        energy = {}
        for term, similarity in zip(used, similarities, strict=True):
            energy[term.column] = term.weight * similarity(warped)
        for penalty in penalties:
            energy[penalty.column] = penalty.cost(moved)
        return energy

    return terms
