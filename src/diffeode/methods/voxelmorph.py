"""VoxelMorph: a U-Net that maps a pair in one pass, trained without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.base import require_in
from diffeode.methods.trained import Maps, TrainedMethod, Views

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True)
class VoxelMorph(TrainedMethod):
    """Local correlation and the gradient of the displacement, with the published weights and U-Net.

    Attributes:
        window: of the local correlation (squared, so blind to the sign of the contrast), voxels.
        weight_gradient: of the mean squared gradient of the displacement.
    Raises:
        InputError: a value out of range.
    """

    title: ClassVar[str] = "VoxelMorph"
    citation: ClassVar[str] = (
        "Balakrishnan, Zhao, Sabuncu, Guttag, Dalca. VoxelMorph: a learning framework for deformable medical image "
        "registration. IEEE Transactions on Medical Imaging 38(8), 2019."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code: Apache-2.0)"

    steps: int = 150_000
    window: int = 9
    weight_gradient: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_in("window", self.window, 3, 63)
        require_in("weight_gradient", self.weight_gradient, 0, 1e6)

    def network(self) -> nn.Module:
        """The U-Net of figure 3."""
        from diffeode.networks.voxelmorph import VoxelMorphNet

        return VoxelMorphNet()

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """The network's displacement; nothing keeps it from folding, and it has no inverse."""
        return Maps(network(fixed, moving))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Similarity and smoothness of one direction."""
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude
        from diffeode.warp import pull_back

        displacement = network(views.fixed, views.moving)
        warped = pull_back(views.moving, displacement)
        return {
            "similarity": local_correlation_to(views.fixed, self.window)(warped),
            "gradient": self.weight_gradient * gradient_magnitude(displacement) / 3,
        }
