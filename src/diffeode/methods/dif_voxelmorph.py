"""DIF-VoxelMorph, the probabilistic, diffeomorphic variant of VoxelMorph."""

from __future__ import annotations

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
class DifVoxelMorph(TrainedMethod):
    """A U-Net that finds mean and variance of a velocity on a grid of half the size.

    The velocity is integrated by scaling and squaring. The likelihood of the paper compares
    intensities, which cannot be done with scans of two contrasts; local correlation takes its
    place.
    """

    title: ClassVar[str] = "DIF-VoxelMorph"
    citation: ClassVar[str] = (
        "Dalca, Balakrishnan, Guttag, Sabuncu. Unsupervised learning for fast probabilistic "
        "diffeomorphic registration. MICCAI, 2018."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code: Apache-2.0)"

    steps: int = with_default(TrainedMethod, "steps", 150_000)
    squarings: int = knob(7, between(1, 12), "Number of squarings in the integration")
    window: int = knob(9, WINDOW, WINDOW_MEANING, "voxels")
    weight_similarity: float = knob(
        100.0, WEIGHT, "Weight of the local correlation, relative to the divergence"
    )
    prior: float = knob(
        10.0,
        between(1e-6, 1e6),
        "Precision of the velocity's prior; the higher, the smoother the velocity",
    )

    def network(self) -> nn.Module:
        """Return the U-Net with two heads."""
        from diffeode.networks.voxelmorph import VelocityNet

        return VelocityNet()

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the flows of the most likely velocity and of its reverse."""
        mean, _ = network(fixed, moving)
        return Maps(self._flow(mean, fixed), self._flow(-mean, fixed))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the dissimilarity in one direction, and the divergence of the velocity from its
        prior.
        """
        import torch

        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.divergence import divergence_from_smooth

        mean, log_variance = network(views.fixed, views.moving)
        velocity = mean
        # A sample that can be differentiated by mean and variance (Kingma and Welling, ICLR 2014).
        if network.training:
            velocity = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        warped = pull_back(views.moving, self._flow(velocity, views.fixed))
        return {
            "similarity": self.weight_similarity
            * local_correlation_to(views.fixed, self.window)(warped),
            "divergence": divergence_from_smooth(mean, log_variance, self.prior),
        }

    def _flow(self, velocity: Tensor, image: Tensor) -> Tensor:
        from diffeode.flows.integrate import exponential
        from diffeode.geometry.warp import resize_displacement

        return resize_displacement(exponential(velocity, self.squarings), image.shape[2:])
