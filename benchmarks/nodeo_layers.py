"""Compare NODEO's published code with our run ``nodeo`` layer by layer, on the same weights; see
README.md.

    python benchmarks/nodeo_layers.py --checkout ../NODEO-DIR

The reference registers one pair of adults at half size. Its weights are copied into our network
before its first step and after 30 steps. Outputs of the layers, displacement, energy and gradients
of both are compared: first of our run as it is, and then with one change after another that makes
it more like the reference.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import final
from unittest.mock import patch

import torch
from _cases import Case
from _command import add_pairs, explains_errors
from _machine import provenance
from _nodeo_layers_page import CHANGES, write_layers_page
from _nodeo_reference import DEFAULTS, add_checkout, compared_case, registration_of
from _nodeo_watched import Moment, State, in_our_order, layers_of, outputs_of, watched
from _tables import Table
from torch import Tensor, nn

from diffeode.errors import InputError
from diffeode.flows import fields
from diffeode.flows.cloud import CloudFlow, Rate
from diffeode.flows.fields import NetworkField
from diffeode.flows.velocity import zero_velocity
from diffeode.geometry.warp import resize
from diffeode.losses.similarity import Warped
from diffeode.methods.neural_ode import NeuralODE
from diffeode.methods.neural_ode.energy import PairTensors, energy_on
from diffeode.methods.neural_ode.motion import spacing_of, tensor_of
from diffeode.methods.neural_ode.penalties.jacobian import Jacobian
from diffeode.optimise.memory import keep_freed_memory
from diffeode.optimise.pyramid import Lattice
from diffeode.process.threads import use_threads
from diffeode.registration.runs import load_run

KEYS = ("steps", "part", "name", "change")
STEPS = (0, 30)
NODEO = load_run("nodeo")
_SEED = 1
_EPSILON = 1e-8
"""Adam's epsilon in the reference, torch's own."""


def rows_of(reference: ModuleType, case: Case, steps: Sequence[int]) -> Iterator[dict[str, object]]:
    """Yield the rows of the comparison after each number of ``steps``.

    Args:
        reference: the checkout's module ``Registration``.
    Raises:
        InputError: the layers of the reference are not those of our network.
    """
    for moment in watched(reference, case, _SEED, steps):
        about = {"steps": moment.steps}
        for name, output in our_outputs(moment, case).items():
            row = about | {"part": "output", "name": name, "change": CHANGES[0]}
            yield row | compared(moment.outputs[name], output)
        for number, change in enumerate(CHANGES):
            ours = our_state(moment, case, CHANGES[: number + 1], reference)
            for row in state_rows(moment.state, ours):
                yield about | {"change": change} | row


def state_rows(theirs: State, ours: State) -> Iterator[dict[str, object]]:
    """Yield the rows of displacement, energy and gradients, without their moment and change."""
    row: dict[str, object] = {"part": "displacement", "name": "displacement"}
    yield row | compared(theirs.displacement, ours.displacement)
    for name, value in theirs.terms.items():
        yield {"part": "energy", "name": name, "reference": value, "ours": ours.terms[name]}
    for name, gradient in theirs.gradients.items():
        row = {"part": "gradient", "name": name}
        below = 100 * (gradient.abs() < _EPSILON).double().mean().item()
        yield row | compared(gradient, ours.gradients[name]) | {"below_epsilon_percent": below}


def compared(theirs: Tensor, ours: Tensor) -> dict[str, float]:
    """Return how alike two fields or vectors of one size are.

    The columns are the length of the difference in units of the reference's length, the cosine of
    the angle between both, and the length of ours in units of the reference's.
    """
    theirs, ours = theirs.flatten().double(), ours.flatten().double()
    length = theirs.norm()
    return {
        "relative_difference": float((ours - theirs).norm() / length),
        "cosine": float(torch.dot(theirs, ours) / (length * ours.norm())),
        "length_ratio": float(ours.norm() / length),
    }


def our_outputs(moment: Moment, case: Case) -> dict[str, Tensor]:
    """Return the outputs of the layers of our network with the weights of ``moment``."""
    field = our_network(moment, case, NODEO.build())
    return outputs_of(layers_of(field), field)


def our_state(moment: Moment, case: Case, changes: Sequence[str], reference: ModuleType) -> State:
    """Return what our run computes with the weights of ``moment`` and with ``changes``."""
    method = NODEO.changed(settings_with(changes, case.fixed.grid.shape)).build()
    field = our_network(moment, case, method)
    if "adjoint" in changes:
        field.flow = AxesExchanged(field.flow)
    fixed, moving, lattice = _tensors(case)
    energy = energy_on(PairTensors(fixed, moving, None, None), lattice, lattice, method)
    with _interpolation("interpolation" in changes):
        velocity = field()
        displacement = method.integrator(velocity)
        terms = energy(velocity)
        if "correlation" in changes:
            correlation = reference.NCC(win=DEFAULTS["NCC_win"])
            terms["ncc"] = correlation(Warped(moving, displacement).image, fixed)
        sum(terms.values()).backward()
    gradients = {
        name: torch.cat([layer.weight.grad.flatten(), layer.bias.grad])
        for name, layer in layers_of(field).items()
    }
    numbers = {name: term.item() for name, term in terms.items()}
    return State(displacement.detach(), numbers, gradients)


def settings_with(changes: Sequence[str], shape: Sequence[int]) -> dict[str, object]:
    """Return the settings of our run that ``changes`` change."""
    settings: dict[str, object] = {}
    if "determinant" in changes:
        # Penalising determinants that are k times as large is the same as lowering the barrier by
        # k and raising the weight of the squared excess by k^2.
        (term,) = (one for one in NODEO.build().penalties if isinstance(one, Jacobian))
        larger = math.prod(n / (n - 1) for n in shape)
        settings["penalties.jacobian.barrier"] = term.barrier / larger
        settings["penalties.jacobian.weight"] = term.weight * larger**2
    if "adjoint" in changes:
        settings["flow.gradient"] = "adjoint"
    return settings


@final
class AxesExchanged:
    """A flow whose network is told of moved voxels as the reference's is.

    The reference adds the displacement along the first axis to the position along the last, and the
    other way round. It counts half a width as n / 2 voxels there, where we count (n - 1) / 2.
    """

    def __init__(self, flow: CloudFlow) -> None:
        self._flow = flow

    def velocities(self, rate: Rate, weights: Iterable[Tensor]) -> Tensor:
        """Return :meth:`diffeode.flows.cloud.CloudFlow.velocities`."""

        def rate_there(fraction: float, moved: Tensor | None) -> Tensor:
            return rate(fraction, None if moved is None else exchanged(moved))

        return self._flow.velocities(rate_there, weights)


def exchanged(moved: Tensor) -> Tensor:
    """Return the displacement that makes our network see the positions that the reference sees.

    Args:
        moved: the displacement, voxels, ``(1, 3, *size)``.
    """
    voxels = torch.tensor(moved.shape[2:]).to(moved).view(1, -1, 1, 1, 1)
    return (moved / voxels).flip(1) * (voxels - 1)


def our_network(moment: Moment, case: Case, method: NeuralODE) -> NetworkField:
    """Return our network with the weights of ``moment``, as the run makes it on the whole grid."""
    _, _, lattice = _tensors(case)
    settings, flow = method.velocity, method.integrator
    start = flow.carried_on(zero_velocity(lattice.size, torch.zeros(1)))
    smoother = settings.smoother(lattice.spacing)
    field = settings.field.from_base(start, smoother, flow, still=False)
    copy_weights(moment.network, field)
    return field


@torch.no_grad()
def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy the weights of the reference's network into ours.

    Raises:
        InputError: the layers differ in number or in shape.
    """
    sources, targets = layers_of(theirs), layers_of(ours)
    if _shapes(sources) != _shapes(targets):
        raise InputError(
            "The layers of the checkout's network are not those of our run nodeo: "
            f"{_shapes(sources)} and {_shapes(targets)}; give the checkout's own, unchanged code."
        )
    for name, target in targets.items():
        target.weight.copy_(in_our_order(name, sources[name].weight))
        target.bias.copy_(sources[name].bias)


def _shapes(layers: dict[str, nn.Conv3d | nn.Linear]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(layer.weight.shape) for name, layer in layers.items()}


def _tensors(case: Case) -> tuple[Tensor, Tensor, Lattice]:
    """Return the fixed and the moving image, and their grid."""
    grid, cpu = case.fixed.grid, torch.device("cpu")
    fixed, moving = (tensor_of(image.data, cpu) for image in (case.fixed, case.moving))
    return fixed, moving, Lattice(grid.shape, spacing_of(grid))


def _interpolation(by_two: bool) -> AbstractContextManager[object]:
    """Return a context in which the network's output is interpolated by two until it is large."""
    return patch.object(fields, "resize", resized_by_two) if by_two else nullcontext()


def resized_by_two(image: Tensor, size: Sequence[int]) -> Tensor:
    """Return ``image`` on a grid of ``size`` voxels; no axis grows by more than two at a time."""
    while any(2 * n < m for n, m in zip(image.shape[2:], size, strict=True)):
        doubled = [min(2 * n, m) for n, m in zip(image.shape[2:], size, strict=True)]
        image = resize(image, doubled)
    return resize(image, size)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_checkout(parser)
    add_pairs(parser)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    keep_freed_memory()
    use_threads(1)
    case = compared_case(options.data, options.work)
    reference = registration_of(options.checkout, case.fixed.grid.shape)
    measured = [row | provenance() for row in rows_of(reference, case, STEPS)]
    table = Table(options.results / "nodeo_layers.tsv", KEYS)
    table.rows.clear()  # the rows belong together, and none of an earlier call is among them
    for row in measured:
        table.put(row)
    write_layers_page(table.rows, options.results / "nodeo_layers.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
