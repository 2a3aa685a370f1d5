"""Local normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from diffeode.fused.compiler import serves
from diffeode.fused.correlation import FusedCorrelation
from diffeode.geometry.determinism import window_average
from diffeode.geometry.shapes import ChannelsTensor, ImageTensor, LossTensor, MaskTensor
from diffeode.losses.average import weighted_mean

_FLOOR = 1e-4
"""The variance of a faint texture that is added to every window of both images.

Its standard deviation is a hundredth of an intensity of 1; fainter texture counts as noise. Without
it the correlation of a flat window would be the quotient of two rounding errors, and its gradient
would turn them into motion.
"""


def local_correlation_to(
    fixed: ImageTensor, window: int, squared: bool = True, mask: MaskTensor | None = None
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``moving -> 1 - mean cc^2``, where ``cc`` is the correlation in a window.

    With ``F`` and ``M`` the intensities in the window around a voxel, and ``f`` a small floor, the
    correlation is ``cc = (cov(F, M) + f) / sqrt((var F + f) (var M + f))`` (Avants et al., Medical
    Image Analysis 12(1), 2008), and with ``squared`` the covariance enters by its absolute value,
    so the loss is blind to the sign of the contrast. This is what NODEO's code does; the text of
    NODEO has ``1 - mean cc`` (Wu et al., CVPR 2022), which suits images of one contrast. The floor
    acts as a faint texture that both images share. Equal images therefore have a correlation of 1
    in every window, also in flat ones.

    The loss is 0 for equal images. It is at most 1, or 2 when not ``squared``.

    Args:
        fixed: intensities of order 1, as those of the moving images must be.
        window: the width of the window along each axis, voxels, odd.
        mask: the voxels whose windows are averaged; a window itself is made of all its voxels.

    >>> fixed = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    >>> loss = local_correlation_to(fixed, 5)
    >>> round(loss(fixed).item(), 6), bool(loss(1 - fixed) < 0.01)
    (0.0, True)
    >>> bool(local_correlation_to(fixed, 5, squared=False)(1 - fixed) > 1.9)
    True
    """
    # Variances are differences of a mean square and a squared mean. With intensities near 0 the two
    # are small, so that little is lost to rounding; the correlation does not change.
    fixed = fixed - fixed.mean()
    if serves(fixed):
        fused = FusedCorrelation(fixed, window, squared, _FLOOR, mask)
        return lambda moving: fused(moving - moving.detach().mean())
    mean_f = window_mean(fixed, window)
    variance_f = (window_mean(fixed * fixed, window) - mean_f * mean_f).clamp(min=0)

    def loss(moving: ImageTensor) -> LossTensor:
        moving = moving - moving.detach().mean()
        mean_m = window_mean(moving, window)
        cross = window_mean(fixed * moving, window) - mean_f * mean_m
        variance_m = (window_mean(moving * moving, window) - mean_m * mean_m).clamp(min=0)
        product = (variance_f + _FLOOR) * (variance_m + _FLOOR)
        if squared:
            correlation = (cross.abs() + _FLOOR) ** 2 / product
        else:
            correlation = (cross + _FLOOR) / torch.sqrt(product)
        return 1 - weighted_mean(correlation, mask)

    return loss


def window_mean(image: ChannelsTensor, window: int) -> ChannelsTensor:
    """Return the mean of ``image`` over the window around each voxel.

    A window that reaches beyond the border has the mean of its voxels inside the image.

    >>> row = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 1, 3)
    >>> window_mean(row, 3).flatten().tolist()
    [1.5, 3.0, 4.0]
    """
    radius, size = window // 2, image.shape[2:]
    image = F.pad(image, [radius] * 2 * len(size))
    for axis, n in enumerate(size):
        image = window_average(image, [window if a == axis else 1 for a in range(len(size))])
        at = torch.arange(n, device=image.device, dtype=image.dtype)
        # Number of voxels of the window that lie inside; the zeros beyond were counted as well.
        inside = (at + radius).clamp(max=n - 1) - (at - radius).clamp(min=0) + 1
        image = image * (window / inside).view([-1 if a == axis else 1 for a in range(len(size))])
    return image
