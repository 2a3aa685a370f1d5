"""DIF-VoxelMorph: VoxelMorph's probabilistic, diffeomorphic variant, which maps by a stationary velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.base import require_in
from diffeode.methods.trained import Maps, TrainedMethod, Views

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True)
class DifVoxelMorph(TrainedMethod):
    """Mean and variance of a velocity on half the grid, integrated by scaling and squaring.

    The paper's likelihood compares intensities, which scans of two contrasts forbid; local correlation takes its place.

    Attributes:
        squarings: of the integration.
        window: of the local correlation (squared, so blind to the sign of the contrast), voxels.
        weight_similarity: of it, against the divergence.
        prior: the precision of the velocity's prior, a smooth field.
    Raises:
        InputError: a value out of range.
    """

    title: ClassVar[str] = "DIF-VoxelMorph"
    citation: ClassVar[str] = (
        "Dalca, Balakrishnan, Guttag, Sabuncu. Unsupervised learning for fast probabilistic diffeomorphic "
        "registration. MICCAI, 2018."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code: Apache-2.0)"

    steps: int = 150_000
    squarings: int = 7
    window: int = 9
    weight_similarity: float = 100.0
    prior: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_in("squarings", self.squarings, 1, 12)
        require_in("window", self.window, 3, 63)
        require_in("weight_similarity", self.weight_similarity, 0, 1e6)
        require_in("prior", self.prior, 1e-6, 1e6)

    def network(self) -> nn.Module:
        """The U-Net with two heads."""
        from diffeode.networks.voxelmorph import VelocityNet

        return VelocityNet()

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """The flows of the most likely velocity and of its reverse."""
        mean, _ = network(fixed, moving)
        return Maps(self._flow(mean, fixed), self._flow(-mean, fixed))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Likelihood of one direction, and the divergence of the velocity from its prior, a voxel."""
        import torch

        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.divergence import divergence_from_smooth
        from diffeode.warp import pull_back

        mean, log_variance = network(views.fixed, views.moving)
        velocity = mean
        if network.training:
            velocity = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        warped = pull_back(views.moving, self._flow(velocity, views.fixed))
        return {
            "similarity": self.weight_similarity * local_correlation_to(views.fixed, self.window)(warped),
            "divergence": divergence_from_smooth(mean, log_variance, self.prior),
        }

    def _flow(self, velocity: Tensor, image: Tensor) -> Tensor:
        from diffeode.flows.integrate import exponential
        from diffeode.warp import resize_displacement

        return resize_displacement(exponential(velocity, self.squarings), image.shape[2:])
