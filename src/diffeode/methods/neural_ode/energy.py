"""The energy that :class:`diffeode.methods.neural_ode.NeuralODE` minimises on one level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from diffeode.losses.similarity import Warped
from diffeode.methods.neural_ode.terms import Moved
from diffeode.optimise.loop import Objective
from diffeode.optimise.pyramid import Lattice, reduce

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE


@final
@dataclass(frozen=True)
class Scene:
    """What the energy is made of, on one grid.

    Attributes:
        fixed, moving: the images, ``(1, 1, *size)``.
        mask: voxels the similarity looks at; None: all.
        weights: of the penalties, on the grid of the fields; None: 1.
    """

    fixed: Tensor
    moving: Tensor
    mask: Tensor | None
    weights: Tensor | None

    def reduced(self, size: Sequence[int], field_size: Sequence[int]) -> Scene:
        """The scene with images of ``size`` and fields of ``field_size``."""
        mask = None if self.mask is None else reduce(self.mask, size)
        weights = None if self.weights is None else reduce(self.weights, field_size)
        return Scene(reduce(self.fixed, size), reduce(self.moving, size), mask, weights)


def energy_on(scene: Scene, images: Lattice, fields: Lattice, method: NeuralODE) -> Objective:
    """The weighted terms of ``method`` as a function of a velocity on ``fields``.

    They are named as in the trace; those without a weight are left out. ``scene`` lies on both
    grids.
    """
    flow, cost = method.integrator, cost_on(scene, images, fields, method)
    return lambda velocity: cost(velocity, flow(velocity))


def cost_on(
    scene: Scene, images: Lattice, fields: Lattice, method: NeuralODE
) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """As :func:`energy_on`, of a velocity ``(K, d, *coarse)`` and of the displacement ``(1, d,
    *coarse)`` that is asked about, wherever on the way of the flow that is.
    """
    used = [term for term in method.similarity if term.weight]
    similarities = [term.to(scene.fixed, scene.moving, scene.mask, images.spacing) for term in used]
    penalties = [term for term in method.penalties if term.weight]
    time = method.integrator.time

    def terms(velocity: Tensor, displacement: Tensor) -> dict[str, Tensor]:
        warped = Warped(scene.moving, displacement)
        moved = Moved(velocity, displacement, time, fields.spacing, scene.weights)
        energy = {}
        for term, similarity in zip(used, similarities, strict=True):
            energy[term.column] = term.weight * similarity(warped)
        for penalty in penalties:
            energy[penalty.column] = penalty.cost(moved)
        return energy

    return terms
