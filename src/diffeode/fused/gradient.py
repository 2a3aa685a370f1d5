"""Losses whose gradient is computed together with their value.

Torch keeps what each operation computed until the backward pass needs it. Where value and gradient
come together, only the gradient is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ValueAndGradient = Callable[[Tensor], tuple[float | Tensor, Tensor]]
"""A function from an image to the loss, a number, and its gradient, which has the image's shape."""


def with_gradient(image: Tensor, loss: ValueAndGradient) -> Tensor:
    """Return ``loss(image)`` as a scalar tensor that back-propagates the gradient found with it."""
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
