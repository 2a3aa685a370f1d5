"""What a MeshNet is made of; apart from the network itself, which needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final


@final
@dataclass(frozen=True)
class Architecture:
    """What a MeshNet is made of.

    Attributes:
        channels: of every hidden layer; the input has one.
        classes: of the last layer, a 1 x 1 x 1 convolution.
        dilations: of the 3 x 3 x 3 convolutions, in voxels; each is padded with as many zeros.
        normalised: each channel is brought to mean 0 and variance 1 over the volume before the
            activation (GroupNorm with one channel a group, without affine); the convolutions then
            have no bias.
        activation: ``gelu`` (exact) or ``elu``.
    """

    channels: int
    classes: int
    dilations: tuple[int, ...]
    normalised: bool
    activation: Literal["gelu", "elu"]

    def shapes(self) -> list[tuple[int, ...]]:
        """Of the trained tensors, from the input to the output: weight, and bias where there is
        one.
        """
        shapes, incoming = [], 1
        for _ in self.dilations:
            shapes.append((self.channels, incoming, 3, 3, 3))
            shapes += [] if self.normalised else [(self.channels,)]
            incoming = self.channels
        return [*shapes, (self.classes, incoming, 1, 1, 1), (self.classes,)]
