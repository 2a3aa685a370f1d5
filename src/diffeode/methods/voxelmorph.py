"""VoxelMorph: a U-Net that maps a pair in one pass, trained without labels."""

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
from diffeode.registration.knobs import knob, with_default

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True)
class VoxelMorph(TrainedMethod):
    """Local correlation and the gradient of the displacement, with the published weights
    and U-Net.
    """

    title: ClassVar[str] = "VoxelMorph"
    citation: ClassVar[str] = (
        "Balakrishnan, Zhao, Sabuncu, Guttag, Dalca. VoxelMorph: a learning framework for "
        "deformable medical image registration. IEEE Transactions on Medical Imaging 38(8), "
        "2019."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code: Apache-2.0)"

    steps: int = with_default(TrainedMethod, "steps", 150_000)
    window: int = knob(9, WINDOW, WINDOW_MEANING, "voxels")
    weight_gradient: float = knob(
        1.0, WEIGHT, "Weight of the mean squared gradient of the displacement"
    )

    def network(self) -> nn.Module:
        """The U-Net of figure 3."""
        from diffeode.networks.voxelmorph import VoxelMorphNet

        return VoxelMorphNet()

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """The network's displacement; nothing keeps it from folding, and it has no inverse."""
        return Maps(network(fixed, moving))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Similarity and smoothness of one direction."""
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude

        displacement = network(views.fixed, views.moving)
        warped = pull_back(views.moving, displacement)
        return {
            "similarity": local_correlation_to(views.fixed, self.window)(warped),
            "gradient": self.weight_gradient * gradient_magnitude(displacement) / 3,
        }
