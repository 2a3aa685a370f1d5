"""What the reference NODEO computes at chosen moments of its own registration.

The checkout's own ``registration`` runs. Its network, its terms of the energy and its optimiser are
wrapped, so that what they compute is kept; what they compute does not change.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any, final
from unittest.mock import patch

import torch
from _cases import Case
from _nodeo_reference import DEFAULTS
from torch import Tensor, nn

FIRST = "convolution 1"
_SIMILARITY = "NCC"
_PENALTIES = {
    "smoothloss_loss": ("gradient", "lambda_df"),
    "neg_Jdet_loss": ("jacobian", "lambda_J"),
    "magnitude_loss": ("magnitude", "lambda_v"),
}
"""For each penalty of the reference: our name of the term, and the name of its weight."""


@final
@dataclass(frozen=True, eq=False)
class State:
    """What one code computes from the weights of a network.

    Attributes:
        displacement: the displacement, voxels, ``(1, 3, *size)``.
        terms: the weighted terms of the energy, by our names.
        gradients: for each layer, the gradient of the energy by its weights and its bias, in the
            order of our weights, one vector.
    """

    displacement: Tensor
    terms: dict[str, float]
    gradients: dict[str, Tensor]


@final
@dataclass(frozen=True, eq=False)
class Moment:
    """The reference after some steps of its descent.

    Attributes:
        steps: the number of steps.
        network: a copy of its network.
        outputs: what every layer gives out, before its ReLU.
        state: what the reference computes from that network.
    """

    steps: int
    network: nn.Module
    outputs: dict[str, Tensor]
    state: State


def watched(reference: ModuleType, case: Case, seed: int, steps: Sequence[int]) -> list[Moment]:
    """Run the reference on the pair and return its moments after each number of ``steps``.

    Args:
        reference: the checkout's module ``Registration``.
        seed: seed of the network's start.
        steps: numbers of steps, which rise.
    """
    watch = _Watch(reference, steps)
    settings = argparse.Namespace(**DEFAULTS, epoches=steps[-1] + 1)
    with ExitStack() as stack:
        for name, stand_in in watch.stand_ins().items():
            stack.enter_context(patch.object(reference, name, stand_in))
        stack.enter_context(patch.object(torch.optim, "Adam", _watching(torch.optim.Adam, watch)))
        torch.manual_seed(seed)
        images = case.moving.data, case.fixed.data
        reference.registration(settings, torch.device("cpu"), *images)
    return watch.moments


@final
class _Watch:
    """Keeps what the reference's functions were last given and what they returned."""

    def __init__(self, reference: ModuleType, steps: Sequence[int]) -> None:
        self._reference, self._steps = reference, steps
        self._done = 0
        self._calls: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self.moments: list[Moment] = []

    def stand_ins(self) -> dict[str, Callable[..., Any]]:
        """Return what takes the place of the reference's network and of its terms."""
        kept = {name: self._kept(name, getattr(self._reference, name)) for name in _PENALTIES}
        similarity = getattr(self._reference, _SIMILARITY)
        kept[_SIMILARITY] = lambda **settings: self._kept(_SIMILARITY, similarity(**settings))
        return kept | {"BrainNet": self._kept("BrainNet", self._reference.BrainNet)}

    def before_step(self) -> None:
        """Keep the moment, where it is asked for; the gradients of the step are there."""
        if self._done in self._steps:
            self.moments.append(self._moment())
        self._done += 1

    def _kept(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def keeping(*given: Any, **named: Any) -> Any:
            returned = function(*given, **named)
            self._calls[name] = given, returned
            return returned

        return keeping

    def _moment(self) -> Moment:
        _, network = self._calls["BrainNet"]
        layers = layers_of(network)
        (displacement,), _ = self._calls["smoothloss_loss"]
        cloud = self._reference.generate_grid3D_tensor(displacement.shape[2:])[None]
        gradients = {
            name: torch.cat([in_our_order(name, layer.weight.grad).flatten(), layer.bias.grad])
            for name, layer in layers.items()
        }
        return Moment(
            self._done,
            copy.deepcopy(network),
            outputs_of(layers, lambda: network(cloud)),
            State(displacement.detach(), self._terms(), gradients),
        )

    def _terms(self) -> dict[str, float]:
        terms = {"ncc": self._calls[_SIMILARITY][1].item()}
        for function, (name, weight) in _PENALTIES.items():
            terms[name] = DEFAULTS[weight] * self._calls[function][1].item()
        return terms


def layers_of(network: nn.Module) -> dict[str, nn.Conv3d | nn.Linear]:
    """Return the convolutions and the dense layers of ``network``, numbered from its input on."""
    found: dict[str, nn.Conv3d | nn.Linear] = {}
    for name, kind in (("convolution", nn.Conv3d), ("dense", nn.Linear)):
        layers = (module for module in network.modules() if isinstance(module, kind))
        found |= {f"{name} {number}": layer for number, layer in enumerate(layers, start=1)}
    return found


def in_our_order(layer: str, weight: Tensor) -> Tensor:
    """Return a weight of the reference's ``layer`` as ours.

    The reference gives its first convolution the positions along the last axis first.
    """
    return weight.flip(1) if layer == FIRST else weight


def outputs_of(
    layers: Mapping[str, nn.Module], evaluate: Callable[[], object]
) -> dict[str, Tensor]:
    """Return what each of ``layers`` gives out while ``evaluate`` runs, flat."""
    found: dict[str, Tensor] = {}

    def keep_as(name: str) -> Callable[..., None]:
        def keep(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output.flatten()

        return keep

    handles = [layer.register_forward_hook(keep_as(name)) for name, layer in layers.items()]
    with torch.no_grad():
        evaluate()
    for handle in handles:
        handle.remove()
    return found


def _watching(adam: type, watch: _Watch) -> type:
    class Watching(adam):
        def step(self, *given: Any, **named: Any) -> Any:
            watch.before_step()
            return super().step(*given, **named)

    return Watching
