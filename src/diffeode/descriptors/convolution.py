"""Convolutions of 3 x 3 x 3 of a network that is not trained, as quick as a CPU allows.

torch chooses a slow algorithm for the few channels and small images of the learned descriptor:
oneDNN's takes a third to a tenth of the time. Its gradient by the input is again a convolution, of
the padded gradient with the mirrored kernel, so it takes no longer than the forward pass.
"""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SIDE = 3
_ONES, _ZEROS = [1, 1, 1], [0, 0, 0]


@final
class Convolution(nn.Conv3d):
    """A convolution of 3 x 3 x 3 with replicated borders, from ``(N, C, X, Y, Z)`` to
    ``(N, K, X, Y, Z)``.

    It is :class:`torch.nn.Conv3d` on a GPU, while the network is trained, and where torch lacks
    oneDNN. Elsewhere the result is the same but for the order of sums in float32.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, _SIDE, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.requires_grad or not _is_quick_for(x):
            return super().forward(x)
        return _Frozen.apply(F.pad(x, [1] * 6, mode="replicate"), self.weight, self.bias)


def _is_quick_for(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution without padding."""
    return torch.ops.aten.mkldnn_convolution(x, weight, bias, _ZEROS, _ONES, _ONES, 1)


class _Frozen(torch.autograd.Function):
    """The convolution of a padded input with weights that need no gradient."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _convolved(padded, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        mirrored = weight.flip(2, 3, 4).transpose(0, 1).contiguous()
        padded = F.pad(gradient.contiguous(), [_SIDE - 1] * 6)
        return _convolved(padded, mirrored, None), None, None
