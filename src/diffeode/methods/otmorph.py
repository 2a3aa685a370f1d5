"""OTMorph: an image is first carried to the other contrast, by optimal transport, and then
registered.
"""

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
    """Three networks trained together: transport, registration and critic, with the authors'
    settings.

    The transport carries the contrast of the moving scans to that of the fixed ones, so pairs are
    shown as they are: shown both ways, both sides would hold both contrasts, and nothing would be
    left to carry.
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
        "Number of channels of the critic's first level (64, and 5 halvings, make 96.7 million "
        "weights)",
    )
    critic_reductions: int = knob(5, between(1, 6), "How often the critic halves an image")
    critic_interval: int = knob(
        100, between(1, 1e6), "The critic learns in every so many-th step", "steps"
    )
    squarings: int = knob(7, between(1, 12), "Number of squarings in the integration")
    window: int = knob(9, WINDOW, WINDOW_MEANING, "voxels")
    weight_registration: float = knob(
        10.0, WEIGHT, "Weight of the local correlation and of the gradient together"
    )
    weight_gradient: float = knob(
        2.0,
        WEIGHT,
        "Weight of the mean squared gradient of the displacement, against the local correlation",
    )

    def network(self) -> nn.Module:
        """The three networks in one."""
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
        """The flows of the velocity between the fixed and the transported image, and of its
        reverse.
        """
        velocity = network["registration"](fixed, network["transport"](moving))
        return Maps(self._flow(velocity), self._flow(-velocity))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The transport's and the registration's terms, and in every so many-th step the critic's
        own.
        """
        import torch

        transported = network["transport"](views.moving)
        with _untrained(network["critic"]):
            score = network["critic"](transported)
        network.step += 1
        learns = int(network.step) % self.critic_interval == 0
        return {
            "transport": torch.mean((views.moving - transported) ** 2),
            "score": -score,
            **self._registration(network, views, transported),
            "critic": self._critic(network, views.fixed, transported)
            if learns
            else score.new_zeros(()),
        }

    def judge(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The registration's terms alone: what the critic says changes with the critic."""
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
    """Derivatives pass through ``network`` and leave its own weights alone."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
