"""The architecture of a MeshNet. It is kept apart from the network itself, which needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final


@final
@dataclass(frozen=True)
class Architecture:
    """The layers of a MeshNet.

    Attributes:
        channels: number of channels of every hidden layer; the input has one channel.
        classes: number of classes, which the last layer, a 1 x 1 x 1 convolution, tells apart.
        dilations: dilation of each 3 x 3 x 3 convolution, in voxels; the convolution is padded with
            as many zeros.
        normalised: whether each channel is brought to mean 0 and variance 1 over the volume before
            the activation (GroupNorm with one channel a group, without affine); the convolutions
            then have no bias.
        activation: ``gelu`` (exact) or ``elu``.
    """

    channels: int
    classes: int
    dilations: tuple[int, ...]
    normalised: bool
    activation: Literal["gelu", "elu"]

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the trained tensors, from the input to the output.

        The bias of a layer, where it has one, follows its weight.
        """
        shapes, incoming = [], 1
        for _ in self.dilations:
            shapes.append((self.channels, incoming, 3, 3, 3))
            shapes += [] if self.normalised else [(self.channels,)]
            incoming = self.channels
        return [*shapes, (self.classes, incoming, 1, 1, 1), (self.classes,)]
