"""Similarities: from the fixed image to a loss of the warped one, to be minimised.

Losses of images alone live in files of their own and become similarities by :func:`of_image`;
descriptors, whoever makes them, come in by :func:`descriptor_similarity`. Every one takes a ``mask
(1, 1, *size)`` of weights in [0, 1], the voxels that count (None: all alike).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.descriptors.mind import mind, mind_ssc
from diffeode.fused.compiler import serves
from diffeode.fused.mind import mind_ssc_descriptor, mind_ssc_difference
from diffeode.geometry.warp import pull_back_from_rest
from diffeode.losses.average import weighted_mean
from diffeode.losses.half_precision import half_precision_difference

Descriptor = Callable[[Tensor], Tensor]
"""An image ``(N, 1, *size)`` to channels ``(N, C, *size)``: a function, or any torch module."""

MIND_FORMS: dict[str, Callable[..., Tensor]] = {"ssc": mind_ssc, "mind": mind}
"""The self-similarity context (Heinrich et al., 2013) and plain MIND (2012)."""


@final
class Warped:
    """The moving image under a displacement: what a similarity is asked about.

    Args:
        moving: ``(1, 1, *size)``.
        displacement: ``(1, d, *coarse)`` on a grid over the same box, coarser or the same; voxels
            of that grid.
    """

    def __init__(self, moving: Tensor, displacement: Tensor) -> None:
        self._moving = moving
        self._displacement = displacement

    @cached_property
    def image(self) -> Tensor:
        """``moving`` pulled back, ``(1, 1, *size)``; zero comes in from outside. Made once for all
        similarities.
        """
        return pull_back_from_rest(self._moving, self._displacement)

    def pull(self, channels: Tensor) -> Tensor:
        """``channels (1, C, *size)`` made of the moving image, pulled back likewise; border values
        continue.
        """
        return pull_back_from_rest(channels, self._displacement, padding="border")


Similarity = Callable[[Warped], Tensor]


def of_image(loss: Callable[[Tensor], Tensor]) -> Similarity:
    """The similarity that looks at nothing but the warped image."""
    return lambda warped: loss(warped.image)


def descriptor_similarity(
    describe: Descriptor, fixed: Tensor, moving: Tensor | None = None, mask: Tensor | None = None
) -> Similarity:
    """Mean squared difference of descriptors.

    Args:
        moving: where given, its descriptor is made once and warped; else that of the warped image
            is made anew each time (arXiv 2512.22689, section III-B1), which costs more and follows
            the rotation of structures.
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

    def loss(warped: Warped) -> Tensor:
        found = describe(warped.image) if source is None else warped.pull(source)
        return (
            F.mse_loss(found, target)
            if mask is None
            else weighted_mean((found - target).square(), mask)
        )

    return loss


def mind_similarity(
    fixed: Tensor,
    radius: int,
    dilation: int,
    form: str = "ssc",
    moving: Tensor | None = None,
    mask: Tensor | None = None,
    half: bool = False,
) -> Similarity:
    """:func:`descriptor_similarity` of MIND, ``form`` one of :data:`MIND_FORMS`; radius and
    dilation in voxels.

    Args:
        half: compute in half precision; where descriptors are made anew each time, and not on a
            CPU.
    """
    if form == "ssc" and moving is None and serves(fixed):
        target = mind_ssc_descriptor(fixed, radius, dilation)
        return of_image(lambda warped: mind_ssc_difference(warped, target, radius, dilation, mask))
    describe = partial(MIND_FORMS[form], radius=radius, dilation=dilation)
    if half and moving is None and _knows_halves(fixed):
        return of_image(half_precision_difference(partial(describe, dtype=torch.half), fixed, mask))
    return descriptor_similarity(describe, fixed, moving, mask)


def _knows_halves(image: Tensor) -> bool:
    """Whether half precision pays where ``image`` lies; a CPU is slower in it and lacks some of its
    operations.
    """
    return image.device.type != "cpu"
