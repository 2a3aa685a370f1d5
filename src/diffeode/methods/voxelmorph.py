"""VoxelMorph: a U-Net that registers a pair in one pass and is trained without labels."""

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
    """A U-Net that finds the displacement in one pass.

    It is trained on local correlation and the gradient of the displacement. The network and the
    weights of these two terms are those of the paper.
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
        """Return the U-Net."""
        from diffeode.networks.voxelmorph import VoxelMorphNet

        return VoxelMorphNet()

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the network's displacement, which may fold and has no inverse."""
        return Maps(network(fixed, moving))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the dissimilarity and the penalty of the gradient, in one direction."""
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude

        displacement = network(views.fixed, views.moving)
        warped = pull_back(views.moving, displacement)
        return {
            "similarity": local_correlation_to(views.fixed, self.window)(warped),
            "gradient": self.weight_gradient * gradient_magnitude(displacement) / 3,
        }
