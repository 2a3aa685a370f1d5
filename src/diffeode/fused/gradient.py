"""Losses whose gradient is computed together with their value."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ValueAndGradient = Callable[[Tensor], tuple[float | Tensor, Tensor]]
"""From an image to the loss, a number, and its gradient, of the image's shape."""


def with_gradient(image: Tensor, loss: ValueAndGradient) -> Tensor:
    """The loss of ``image``, a scalar that back-propagates the gradient found with it."""
    return _WithGradient.apply(image, loss)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, image: Tensor, loss: ValueAndGradient) -> Tensor:
        value, gradient = loss(image.detach())
        context.save_for_backward(gradient)
        return value if isinstance(value, Tensor) else image.new_tensor(value)

    @staticmethod
    def backward(context, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return outer * gradient, None
