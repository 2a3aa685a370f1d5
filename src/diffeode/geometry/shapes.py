"""Names for the shapes of torch's tensors, stated once.

Every name stands for :class:`torch.Tensor`; it tells a reader the shape and the unit, and costs
nothing at run time. The letters in the shapes are

- ``N``: number of images, or of fields, that are worked on together;
- ``C``: number of channels;
- ``K``: number of knots, the times at which a velocity is stored;
- ``d``: number of axes, 2 or 3;
- ``*size``: number of voxels along each of the ``d`` axes.

Tensors of vectors hold the component along array axis ``a`` in channel ``a``. Arrays of numpy have
their own classes: :class:`diffeode.geometry.image.Image` and
:class:`diffeode.geometry.transform.DisplacementField`.
"""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

ImageTensor: TypeAlias = Tensor
"""One image, ``(1, 1, *size)``; intensities are of order 1 and the background is 0."""

MaskTensor: TypeAlias = Tensor
"""Weights of voxels in [0, 1], ``(1, 1, *size)``."""

ChannelsTensor: TypeAlias = Tensor
"""Images of one or more channels, ``(N, C, *size)``; fields of vectors are such, too."""

VoxelsTensor: TypeAlias = Tensor
"""Points in voxel coordinates, ``(N, d, *size)``: 0 is the centre of the first voxel."""

DisplacementTensor: TypeAlias = Tensor
"""``u`` of the map ``x -> x + u(x)``, ``(1, d, *size)``, in voxels of its own grid."""

VelocityTensor: TypeAlias = Tensor
"""A velocity, ``(K, d, *size)``, in voxels of its own grid per unit of time.

The ``K`` knots are equally spaced over the time of integration, and the velocity is linear in time
between them; one knot makes a stationary velocity (:mod:`diffeode.flows.velocity`).
"""

LossTensor: TypeAlias = Tensor
"""A single number, ``()``."""
