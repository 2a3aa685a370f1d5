"""Similarities: losses of the moving image under a map, made for one fixed image.

A loss of images alone lives in a file of its own and becomes a similarity by :func:`of_image`.
Descriptors, ours or a network's, are compared by :func:`descriptor_similarity`. Every similarity
takes a mask, the weights of the voxels; None counts all alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import final

import torch
import torch.nn.functional as F

from diffeode.descriptors.mind import mind, mind_ssc
from diffeode.fused.compiler import serves
from diffeode.fused.mind import mind_ssc_descriptor, mind_ssc_difference
from diffeode.geometry.shapes import (
    ChannelsTensor,
    DisplacementTensor,
    ImageTensor,
    LossTensor,
    MaskTensor,
)
from diffeode.geometry.warp import pull_back_from_rest
from diffeode.losses.average import weighted_mean
from diffeode.losses.half_precision import half_precision_difference

Descriptor = Callable[[ChannelsTensor], ChannelsTensor]
"""A function or a torch module from an image ``(N, 1, *size)`` to channels ``(N, C, *size)``."""

MIND_FORMS: dict[str, Callable[..., ChannelsTensor]] = {"ssc": mind_ssc, "mind": mind}
"""The two forms of MIND by name: the self-similarity context (Heinrich et al., MICCAI 2013) and
plain MIND (Heinrich et al., Medical Image Analysis 16(7), 2012).
"""


@final
class Warped:
    """The moving image under a displacement, which is the argument of a similarity.

    Args:
        moving: the image before warping.
        displacement: its grid covers the box of the image and may be coarser.
    """

    def __init__(self, moving: ImageTensor, displacement: DisplacementTensor) -> None:
        self._moving = moving
        self._displacement = displacement

    @cached_property
    def image(self) -> ImageTensor:
        """The warped image, in which outside points are 0; computed once for all similarities."""
        return pull_back_from_rest(self._moving, self._displacement)

    def pull(self, channels: ChannelsTensor) -> ChannelsTensor:
        """Return ``channels`` of the moving image warped by the same displacement.

        Outside points have the value at the border.
        """
        return pull_back_from_rest(channels, self._displacement, padding="border")


Similarity = Callable[[Warped], LossTensor]
"""A loss of the moving image under a map."""


def of_image(loss: Callable[[ImageTensor], LossTensor]) -> Similarity:
    """Return the similarity that computes ``loss`` of the warped image."""
    return lambda warped: loss(warped.image)


def descriptor_similarity(
    describe: Descriptor,
    fixed: ImageTensor,
    moving: ImageTensor | None = None,
    mask: MaskTensor | None = None,
) -> Similarity:
    """Return the similarity that is the mean squared difference of two descriptors.

    Args:
        describe: the descriptor.
        moving: where it is given, its descriptor is computed once, and the descriptor is warped.
            Otherwise the descriptor of each warped image is computed anew (arXiv 2512.22689,
            section III-B1). That costs more, and it is right where the map rotates structures: a
            descriptor depends on the directions of the axes.
    Raises:
        ValueError: the descriptor changes the size of the image.
    """
    with torch.no_grad():
        target = describe(fixed)
        source = None if moving is None else describe(moving)
    if target.shape[2:] != fixed.shape[2:]:
        raise ValueError(
            f"A descriptor must keep the image's size {(*fixed.shape[2:],)}, not "
            f"{(*target.shape[2:],)}."
        )

    def loss(warped: Warped) -> LossTensor:
        found = describe(warped.image) if source is None else warped.pull(source)
        if mask is None:
            return F.mse_loss(found, target)
        return weighted_mean((found - target).square(), mask)

    return loss


def mind_similarity(
    fixed: ImageTensor,
    radius: int,
    dilation: int,
    form: str = "ssc",
    moving: ImageTensor | None = None,
    mask: MaskTensor | None = None,
    half: bool = False,
) -> Similarity:
    """Return the similarity that compares MIND descriptors, see :func:`descriptor_similarity`.

    Args:
        radius, dilation: see :func:`diffeode.descriptors.mind.mind_ssc`, voxels.
        form: one of :data:`MIND_FORMS`.
        half: whether to compute in half precision. It has no effect on a CPU, nor where the
            descriptor is computed once.
    """
    if form == "ssc" and moving is None and serves(fixed):
        target = mind_ssc_descriptor(fixed, radius, dilation)
        return of_image(lambda warped: mind_ssc_difference(warped, target, radius, dilation, mask))
    describe = partial(MIND_FORMS[form], radius=radius, dilation=dilation)
    if half and moving is None and _knows_halves(fixed):
        return of_image(half_precision_difference(partial(describe, dtype=torch.half), fixed, mask))
    return descriptor_similarity(describe, fixed, moving, mask)


def _knows_halves(image: ImageTensor) -> bool:
    """Return whether half precision pays on the device of ``image``.

    A CPU is slower in half precision, and torch lacks some operations for it there.
    """
    return image.device.type != "cpu"
