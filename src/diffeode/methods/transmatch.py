"""TransMatch: transformers that match the features of both images, trained with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.errors import InputError
from diffeode.learning.trained_method import WEIGHT, Maps, TrainedMethod, Views
from diffeode.registration.knobs import between, knob, several

if TYPE_CHECKING:
    from torch import Tensor, nn

_PER_LEVEL = several(4, 4, 1, 32, "4 whole numbers from 1 to 32")


@final
@dataclass(frozen=True)
class TransMatch(TrainedMethod):
    """A transformer and a decoder that find the displacement in one pass.

    As the authors do for two contrasts, the network is trained on the overlap of labels and the
    gradient of the displacement.
    """

    title: ClassVar[str] = "TransMatch"
    citation: ClassVar[str] = (
        "Chen, Zheng, Gee. TransMatch: a transformer-based multilevel dual-stream feature "
        "matching network for unsupervised deformable image registration. IEEE Transactions on "
        "Medical Imaging 43(1), 2024."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' README says MIT)"
    multiple: ClassVar[int] = 32
    shape: ClassVar[tuple[str, ...]] = ("embedding", "depths", "heads", "window")
    learns_from_labels: ClassVar[bool] = True
    amsgrad: ClassVar[bool] = True

    embedding: int = knob(96, between(2, 512), "Number of channels of the first level")
    depths: tuple[int, ...] = knob(
        (2, 2, 4, 2), _PER_LEVEL, "Number of blocks on each of the four levels"
    )
    heads: tuple[int, ...] = knob(
        (4, 4, 8, 8), _PER_LEVEL, "Number of heads of attention on each of the four levels"
    )
    window: tuple[int, ...] = knob(
        (5, 6, 5),
        several(3, 3, 1, 32, "3 whole numbers from 1 to 32"),
        "Width of a window of attention along each axis",
        "tokens",
    )
    dropped: float = knob(
        0.3, between(0, 0.9), "Probability with which the last block is left out in training"
    )
    weight_gradient: float = knob(
        0.1, WEIGHT, "Weight of the mean squared gradient of the displacement"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = [self.embedding * 2**level for level in range(4)]
        if any(width % n for width, n in zip(widths, self.heads, strict=True)):
            raise InputError(
                f"Parameter embedding is {self.embedding}, which makes levels of {widths} "
                f"channels; each of the heads {self.heads} must divide the channels of its level."
            )

    def network(self) -> nn.Module:
        """Return the transformer and its decoder."""
        from diffeode.networks.transmatch import TransMatchNet

        return TransMatchNet(self.embedding, self.depths, self.heads, self.window, self.dropped)

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the network's displacement, which may fold and has no inverse."""
        return Maps(network(fixed, moving))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the loss of overlap and the penalty of the gradient, in one direction."""
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.dice import dice_loss
        from diffeode.losses.regularisers import gradient_magnitude

        displacement = network(views.fixed, views.moving)
        fixed, moving = _channels(views.fixed_labels, views.moving_labels)
        return {
            "overlap": dice_loss(pull_back(moving, displacement), fixed),
            "gradient": self.weight_gradient * gradient_magnitude(displacement) / 3,
        }


def _channels(fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """Return two label maps with one channel for each label, ``(1, labels, *size)``.

    Labels that only one of them has are left out; the background is a label, too.
    """
    import torch

    common = [label for label in torch.unique(fixed).tolist() if (moving == label).any()]
    ids = torch.tensor(common, device=fixed.device).view(1, -1, 1, 1, 1)
    return (fixed == ids).float(), (moving == ids).float()
