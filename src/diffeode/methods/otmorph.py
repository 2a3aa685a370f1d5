"""OTMorph: an image is first carried to the other contrast, by optimal transport, and then registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.base import require_in
from diffeode.methods.trained import Maps, TrainedMethod, Views

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True)
class OTMorph(TrainedMethod):
    """Three networks trained together: transport, registration and critic, with the authors' settings.

    Attributes:
        transport_features: channels of the transport's first level (32: 12.95 million weights).
        critic_features, critic_reductions: of the critic (64 and 5: 96.7 million weights).
        critic_interval: the critic learns in every so many-th step.
        squarings: of the integration.
        window: of the local correlation (squared, so blind to the sign of the contrast), voxels.
        weight_registration: of the correlation, and ``weight_gradient`` of the mean squared gradient of the
            displacement in units of it.
    Raises:
        InputError: a value out of range.
    """

    title: ClassVar[str] = "OTMorph"
    citation: ClassVar[str] = (
        "Kim, Zhuang, Mathai, Summers. OTMorph: unsupervised multi-domain abdominal medical image registration using "
        "neural optimal transport. IEEE Transactions on Medical Imaging 44(1), 2025."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code states no licence)"
    shape: ClassVar[tuple[str, ...]] = ("transport_features", "critic_features", "critic_reductions")

    steps: int = 300_000
    learning_rate: float = 2e-4
    transport_features: int = 32
    critic_features: int = 64
    critic_reductions: int = 5
    critic_interval: int = 100
    squarings: int = 7
    window: int = 9
    weight_registration: float = 10.0
    weight_gradient: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, high in (("transport_features", 256), ("critic_features", 256), ("squarings", 12)):
            require_in(name, getattr(self, name), 1, high)
        require_in("critic_reductions", self.critic_reductions, 1, 6)
        require_in("critic_interval", self.critic_interval, 1, 1e6)
        require_in("window", self.window, 3, 63)
        require_in("weight_registration", self.weight_registration, 0, 1e6)
        require_in("weight_gradient", self.weight_gradient, 0, 1e6)

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
        """The flows of the velocity between the fixed and the transported image, and of its reverse."""
        velocity = network["registration"](fixed, network["transport"](moving))
        return Maps(self._flow(velocity), self._flow(-velocity))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The transport's and the registration's terms, and in every so many-th step the critic's own."""
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
            "critic": self._critic(network, views.fixed, transported) if learns else score.new_zeros(()),
        }

    def judge(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The registration's terms alone: what the critic says changes with the critic."""
        return self._registration(network, views, network["transport"](views.moving))

    def _registration(self, network: nn.Module, views: Views, transported: Tensor) -> dict[str, Tensor]:
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude
        from diffeode.warp import pull_back

        displacement = self._flow(network["registration"](views.fixed, transported))
        similarity = local_correlation_to(views.fixed, self.window)(pull_back(views.moving, displacement))
        return {
            "similarity": self.weight_registration * similarity,
            "gradient": self.weight_registration * self.weight_gradient * gradient_magnitude(displacement) / 3,
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
