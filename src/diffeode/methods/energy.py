"""The energy that :class:`diffeode.methods.neural_ode.NeuralODE` minimises on one level; no method of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from diffeode.descriptors.registry import make_descriptor
from diffeode.flows.operator import operator_norm
from diffeode.flows.velocity import kinetic_energy
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.gradient_fields import normalised_gradient_fields_to
from diffeode.losses.mutual_information import local_mutual_information_to, mutual_information_to
from diffeode.losses.regularisers import bending_energy, gradient_magnitude, jacobian_barrier
from diffeode.losses.similarity import Similarity, Warped, descriptor_similarity, mind_similarity, of_image
from diffeode.losses.squared_difference import squared_difference_to
from diffeode.methods.neural_ode import SIMILARITIES
from diffeode.optimise.loop import Objective
from diffeode.optimise.pyramid import Lattice, reduce

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE


@final
@dataclass(frozen=True)
class Scene:
    """What the energy is made of, on one grid: images ``(1, 1, *size)``; the weights of penalties on the fields' own.

    Attributes:
        mask: voxels the similarity looks at; None: all.
        weights: of the penalties; None: 1.
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
    """The terms ``method`` weighs, by name, as a function of a velocity on ``fields``; ``scene`` lies on both grids."""
    similarities = _similarities(scene, images.spacing, method)
    flow = method.flow

    def terms(velocity: Tensor) -> dict[str, Tensor]:
        displacement = flow(velocity)
        warped = Warped(scene.moving, displacement)
        energy = {name: weight * similarity(warped) for name, (weight, similarity) in similarities.items()}
        if method.weight_gradient:
            roughness = gradient_magnitude(displacement, fields.spacing, scene.weights)
            energy["gradient"] = method.weight_gradient * roughness
        if method.weight_bending:
            energy["bending"] = method.weight_bending * bending_energy(displacement, fields.spacing, scene.weights)
        if method.weight_jacobian:
            barrier = jacobian_barrier(displacement, method.barrier, method.barrier_squared)
            energy["jacobian"] = method.weight_jacobian * barrier
        if method.weight_magnitude:
            energy["magnitude"] = method.weight_magnitude * flow.time**2 * kinetic_energy(velocity)
        if method.weight_operator:
            energy["operator"] = method.weight_operator * flow.time**2 * operator_norm(velocity, *method.operator)
        return energy

    return terms


def _similarities(scene: Scene, spacing: Sequence[float], method: NeuralODE) -> dict[str, tuple[float, Similarity]]:
    fixed, mask = scene.fixed, scene.mask
    described = scene.moving if method.descriptors == "warped" else None
    makers = {
        "mind": lambda: mind_similarity(
            fixed,
            method.mind_radius,
            method.mind_dilation,
            method.mind_form,
            described,
            mask,
            method.mind_precision == "half",
        ),
        "lmi": lambda: of_image(local_mutual_information_to(fixed, method.mi_patch, method.mi_bins, mask)),
        "mi": lambda: of_image(mutual_information_to(fixed, method.mi_bins, False, mask)),
        "nmi": lambda: of_image(mutual_information_to(fixed, method.mi_bins, True, mask)),
        "ngf": lambda: of_image(normalised_gradient_fields_to(fixed, method.ngf_eta, spacing, mask)),
        "ncc": lambda: of_image(local_correlation_to(fixed, method.ncc_window, method.ncc_squared, mask)),
        "ssd": lambda: of_image(squared_difference_to(fixed, mask)),
        "descriptor": lambda: descriptor_similarity(
            make_descriptor(method.descriptor, method.descriptor_weights, fixed.device, fixed.dtype),
            fixed,
            described,
            mask,
        ),
    }
    weights = {name: getattr(method, f"weight_{name}") for name in SIMILARITIES}
    return {name: (weight, makers[name]()) for name, weight in weights.items() if weight}
