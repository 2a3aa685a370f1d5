"""Local normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.correlation import FusedCorrelation
from diffeode.geometry.determinism import window_average
from diffeode.losses.average import weighted_mean

_FLOOR = 1e-4
"""Variance of the texture that all windows are taken to share, a standard deviation of a hundredth:
what is fainter is noise, by which flat windows would turn single-precision rounding into motion."""


def local_correlation_to(
    fixed: Tensor, window: int, squared: bool = True, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> 1 - mean cc^2`` with ``cc`` the correlation in windows of ``window``
    voxels (odd) an axis.

    Squared, so blind to the sign of the contrast, as NODEO's code has it (Wu et al., CVPR 2022;
    Avants et al., MedIA 2008); else ``1 - mean cc``, as its text has it, for images of one
    contrast. To either window a faint texture is added, the same in both, so that equal images
    correlate best, flat windows with flat ones too.

    Args:
        fixed: ``(N, 1, *size)``, intensities of order 1, and so the images the loss is asked for.
        mask: voxels whose windows are averaged; a window itself is made of all voxels.
    """
    fixed = (
        fixed - fixed.mean()
    )  # what two means leave cancels in variances, so the sums stay exact
    if serves(fixed):
        fused = FusedCorrelation(fixed, window, squared, _FLOOR, mask)
        return lambda moving: fused(moving - moving.detach().mean())
    mean_f = window_mean(fixed, window)
    variance_f = (window_mean(fixed * fixed, window) - mean_f * mean_f).clamp(min=0)

    def loss(moving: Tensor) -> Tensor:
        moving = moving - moving.detach().mean()
        mean_m = window_mean(moving, window)
        cross = window_mean(fixed * moving, window) - mean_f * mean_m
        variance_m = (window_mean(moving * moving, window) - mean_m * mean_m).clamp(min=0)
        product = (variance_f + _FLOOR) * (variance_m + _FLOOR)
        correlation = (
            (cross.abs() + _FLOOR) ** 2 / product
            if squared
            else (cross + _FLOOR) / torch.sqrt(product)
        )
        return 1 - weighted_mean(correlation, mask)

    return loss


def window_mean(image: Tensor, window: int) -> Tensor:
    """Mean over windows of ``window`` voxels along each axis, of the voxels inside the image."""
    radius, size = window // 2, image.shape[2:]
    image = F.pad(image, [radius] * 2 * len(size))
    for axis, n in enumerate(size):
        image = window_average(image, [window if a == axis else 1 for a in range(len(size))])
        at = torch.arange(n, device=image.device, dtype=image.dtype)
        inside = (at + radius).clamp(max=n - 1) - (at - radius).clamp(min=0) + 1
        image = image * (window / inside).view([-1 if a == axis else 1 for a in range(len(size))])
    return image
