"""OTMorph: a network carries the moving image to the other contrast, and another registers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.learning.trained_method import (
    WEIGHT,
    WINDOW,
    WINDOW_MEANING,
    Maps,
    TrainedMethod,
    Views,
)
from diffeode.registration.knobs import between, knob, with_default

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True)
class OTMorph(TrainedMethod):
    """Three networks that are trained together, with the authors' settings.

    The transport makes an image of the other contrast out of the moving image, by neural optimal
    transport. The registration compares that image with the fixed one. The critic tells transported
    images from fixed ones, and is used in training alone.

    The transport leads from the contrast of the moving scans to that of the fixed ones, so the
    training shows every pair in that direction alone. If pairs were shown in both directions, both
    sides would hold both contrasts, and the transport would have nothing to change.
    """

    title: ClassVar[str] = "OTMorph"
    citation: ClassVar[str] = (
        "Kim, Zhuang, Mathai, Summers. OTMorph: unsupervised multi-domain abdominal medical "
        "image registration using neural optimal transport. IEEE Transactions on Medical Imaging "
        "44(1), 2025."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code states no licence)"
    learns_both_ways: ClassVar[bool] = False
    shape: ClassVar[tuple[str, ...]] = (
        "transport_features",
        "critic_features",
        "critic_reductions",
    )

    steps: int = with_default(TrainedMethod, "steps", 300_000)
    learning_rate: float = with_default(TrainedMethod, "learning_rate", 2e-4)
    transport_features: int = knob(
        32,
        between(1, 256),
        "Number of channels of the transport's first level (32 make 12.95 million weights)",
    )
    critic_features: int = knob(
        64,
        between(1, 256),
        "Number of channels of the critic's first level (64 channels and 5 reductions make 96.7 "
        "million weights)",
    )
    critic_reductions: int = knob(
        5, between(1, 6), "Number of times that the critic halves an image"
    )
    critic_interval: int = knob(
        100, between(1, 1e6), "Distance between two steps in which the critic is trained", "steps"
    )
    squarings: int = knob(7, between(1, 12), "Number of squarings in the integration")
    window: int = knob(9, WINDOW, WINDOW_MEANING, "voxels")
    weight_registration: float = knob(
        10.0, WEIGHT, "Weight of the local correlation and of the gradient together"
    )
    weight_gradient: float = knob(
        2.0,
        WEIGHT,
        "Weight of the mean squared gradient of the displacement, relative to the local "
        "correlation",
    )

    def network(self) -> nn.Module:
        """Return one module that holds the three networks and the number of steps so far."""
        import torch
        from torch import nn

        from diffeode.networks.otmorph import Critic, RegistrationNet, TransportNet

        parts = {
            "transport": TransportNet(self.transport_features),
            "registration": RegistrationNet(),
            "critic": Critic(self.critic_features, self.critic_reductions),
        }
        networks = nn.ModuleDict(parts)
        networks.register_buffer("step", torch.zeros((), dtype=torch.long))
        return networks

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the flows of the velocity and of its reverse.

        The velocity is found from the fixed and the transported image.
        """
        velocity = network["registration"](fixed, network["transport"](moving))
        return Maps(self._flow(velocity), self._flow(-velocity))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the terms of transport and registration, and that of the critic when it is
        trained.
        """
        import torch

        transported = network["transport"](views.moving)
        with _untrained(network["critic"]):
            score = network["critic"](transported)
        network.step += 1
        terms = {
            "transport": torch.mean((views.moving - transported) ** 2),
            "score": -score,
            **self._registration(network, views, transported),
            "critic": score.new_zeros(()),
        }
        if int(network.step) % self.critic_interval == 0:
            terms["critic"] = self._critic(network, views.fixed, transported)
        return terms

    def judge(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the terms of the registration alone.

        The score cannot be compared between steps, because the critic changes.
        """
        return self._registration(network, views, network["transport"](views.moving))

    def _registration(
        self, network: nn.Module, views: Views, transported: Tensor
    ) -> dict[str, Tensor]:
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude

        displacement = self._flow(network["registration"](views.fixed, transported))
        similarity = local_correlation_to(views.fixed, self.window)(
            pull_back(views.moving, displacement)
        )
        return {
            "similarity": self.weight_registration * similarity,
            "gradient": self.weight_registration
            * self.weight_gradient
            * gradient_magnitude(displacement)
            / 3,
        }

    def _critic(self, network: nn.Module, fixed: Tensor, transported: Tensor) -> Tensor:
        return network["critic"](transported.detach()) - network["critic"](fixed)

    def _flow(self, velocity: Tensor) -> Tensor:
        from diffeode.flows.integrate import exponential

        return exponential(velocity, self.squarings)


@contextmanager
def _untrained(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the weights of ``network`` within this context.

    Gradients still pass through the network to its input.
    """
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
