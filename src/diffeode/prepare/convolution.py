"""Dilated 3 x 3 x 3 convolution of a volume with many channels, in place and in few passes.

Volumes are ``(X, Y, Z, C)``. A layer of a MeshNet at 256^3 voxels takes 1 to 2 GB, so what is done
to a plane is done while it is in the processor's cache: it is activated when the convolution takes
it, and counted for means and variances when the convolution has made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2**13
"""Number of voxels that are worked on at a time, so that they stay in the processor's cache."""

_PLANES = 4
_MIX = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_MIX_KERNEL = (
    torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
)
_UNMIX = torch.tensor(
    [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)
"""The transforms of :func:`_convolve_row` (Winograd's F(4, 3)): ``_MIX`` mixes six planes,
``_MIX_KERNEL`` the three planes of a kernel, and ``_UNMIX`` turns the six products into four planes
of the result.
"""


@final
@dataclass(frozen=True, eq=False)
class Activation:
    """What becomes of the values of a layer before the next layer takes them.

    Attributes:
        function: is applied to each value times ``scale`` plus ``shift``.
        scale, shift: ``(C,)``.
        background: ``(C,)``, is subtracted from the result; None: nothing is.
    """

    function: Callable[[Tensor], Tensor]
    scale: Tensor
    shift: Tensor
    background: Tensor | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """Return the activation of ``values (..., C)``."""
        activated = self.function(torch.addcmul(self.shift, values, self.scale))
        return activated if self.background is None else activated.sub_(self.background)

    def of_differences(self, constant: Tensor) -> Activation:
        """Return the activation of differences of values to ``constant (C,)``: the difference of
        the activations.
        """
        shift = self.shift + self.scale * constant
        return Activation(self.function, self.scale, shift, self.function(shift))


@final
class Moments:
    """Mean and variance of each channel of a volume, to which its planes are added one by one."""

    def __init__(self) -> None:
        self._count = 0
        self._near, self._sums = torch.empty(0), torch.empty(0)

    def add(self, plane: Tensor) -> None:
        """Add the plane ``(Y, Z, C)``."""
        voxels = plane.flatten(0, 1)
        if self._count == 0:
            # The squares of differences to a value near the mean lose no digits.
            self._near = voxels.mean(0)
            self._sums = torch.zeros(2, len(self._near), dtype=torch.float64)
        for chunk in voxels.split(CHUNK):
            ones, apart = chunk.new_ones(1, len(chunk)), chunk - self._near
            self._sums += torch.cat((ones @ apart, ones @ apart.square_()))
        self._count += len(voxels)

    def summary(self) -> Summary:
        """Return what was added."""
        mean, square = self._sums / self._count
        return Summary(self._count, self._near + mean, square - mean**2)


@final
@dataclass(frozen=True, eq=False)
class Summary:
    """Number, mean and variance of values, ``(C,)`` each but the number, float64."""

    count: float
    mean: Tensor
    variance: Tensor

    def shifted(self, by: Tensor) -> Summary:
        """Return the summary of the same values plus ``by (C,)``."""
        return Summary(self.count, self.mean + by, self.variance)

    def joined(self, other: Summary) -> Summary:
        """Return the summary of these values and those of ``other`` together."""
        count = self.count + other.count
        mean = (self.count * self.mean + other.count * other.mean) / count
        here, there = (
            part.count * (part.variance + (part.mean - mean) ** 2) for part in (self, other)
        )
        return Summary(count, mean, (here + there) / count)


class Around(Protocol):
    """What surrounds a part of a volume, for a convolution of the part."""

    def plane(self, number: int, reach: int) -> Tensor:
        """Return the surroundings of a plane of the part: ``(Y + 2 reach, Z + 2 reach, C)``, of
        which the middle is replaced by the part where that has a plane of this number.
        """

    def keep(self, number: int, plane: Tensor) -> None:
        """Hear of the activated plane ``(Y, Z, C)`` of the part that has this number."""


def convolved(
    values: Tensor,
    weight: Tensor,
    dilation: int,
    activation: Activation | None = None,
    moments: Moments | None = None,
    around: Around | None = None,
) -> Tensor:
    """Return the dilated convolution of the activation of ``values (X, Y, Z, C)``.

    It is computed in place where the number of channels stays the same. Planes that lie
    ``dilation`` apart form a row that depends on no other planes, so rows are convolved one by one.

    Args:
        weight: ``(channels of the result, C, 3, 3, 3)``.
        activation: None: the values are taken as they are.
        moments: what every plane of the result is added to.
        around: what surrounds ``values``; None: zeros.
    """
    same = weight.shape[0] == weight.shape[1]
    result = values if same else values.new_empty(*values.shape[:3], weight.shape[0])
    mixed = torch.einsum("kt,oityz->koiyz", _MIX_KERNEL, weight)
    kernels = [kernel.contiguous(memory_format=torch.channels_last) for kernel in mixed]
    for first in range(min(dilation, len(values))):
        row = _Row(values, first, dilation, activation, around)
        target = result[first::dilation]
        for number in _convolve_row(row, target, kernels):
            if moments is not None:
                moments.add(target[number])
    return result


@final
@dataclass(frozen=True, eq=False)
class _Row:
    """The planes of ``volume (X, Y, Z, C)`` that lie ``dilation`` apart, from ``first`` on.

    Attributes:
        activation, around: as in :func:`convolved`.
    """

    volume: Tensor
    first: int
    dilation: int
    activation: Activation | None
    around: Around | None

    def __len__(self) -> int:
        return len(range(self.first, len(self.volume), self.dilation))

    @property
    def margin(self) -> int:
        """By how many voxels planes are widened on each side."""
        return 0 if self.around is None else self.dilation

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a widened plane."""
        _, y, z, channels = self.volume.shape
        return y + 2 * self.margin, z + 2 * self.margin, channels

    def take(self, place: int, target: Tensor) -> None:
        """Put the activation of the plane at ``place`` of the row into ``target``, widened."""
        number = self.first + place * self.dilation
        if self.around is None or place > len(self):
            target.zero_()
        else:
            target.copy_(self.around.plane(number, self.margin))
        if not 0 <= number < len(self.volume):
            return
        plane = self.volume[number]
        middle = target[self.margin : self.margin + len(plane)]
        middle = middle[:, self.margin : self.margin + plane.shape[1]]
        if self.activation is None:
            middle.copy_(plane)
        else:
            rows = max(1, CHUNK // plane.shape[1])
            for piece, into in zip(plane.split(rows), middle.split(rows), strict=True):
                into.copy_(self.activation(piece))
        if self.around is not None:
            self.around.keep(number, middle)


def _convolve_row(row: _Row, result: Tensor, kernels: Sequence[Tensor]) -> Iterator[int]:
    """Convolve a row of planes along all axes into ``result (N, Y, Z, C)``, which may be the memory
    of the row, and yield the number of each plane of the result when it is made.

    Four planes of the result are computed from four planes and their two neighbours by six
    two-dimensional convolutions of mixed planes, where twelve of plain planes would be needed.

    Source: Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016, F(4, 3).
    """
    # The six planes are copies, because the result replaces those of the row.
    six = result.new_empty(_PLANES + 2, *row.shape)
    mixed = torch.empty_like(six)
    products = result.new_empty(len(kernels), *result.shape[1:])
    padding = row.dilation - row.margin
    row.take(-1, six[0])
    row.take(0, six[1])
    for start in range(0, len(row), _PLANES):
        for place in range(2, len(six)):
            row.take(start + place - 1, six[place])
        torch.mm(_MIX, six.flatten(1), out=mixed.flatten(1))
        for product, plane, kernel in zip(products, mixed, kernels, strict=True):
            across = F.conv2d(
                plane.permute(2, 0, 1)[None], kernel, padding=padding, dilation=row.dilation
            )
            product.copy_(across[0].permute(1, 2, 0))
        written = result[start : start + _PLANES].flatten(1)
        torch.mm(_UNMIX[: len(written)], products.flatten(1), out=written)
        six[:2] = six[_PLANES:]
        yield from range(start, start + len(written))
