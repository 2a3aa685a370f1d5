"""MeshNet: a stack of dilated 3 x 3 x 3 convolutions that labels every voxel of a volume.

Fedorov et al., End-to-end learning of brain tissue segmentation from imperfect labeling, IJCNN
2017.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from diffeode.errors import InputError, first_line
from diffeode.optimise.memory import keep_freed_memory
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.step_tool import Progress
from diffeode.process.threads import use_threads

_CHUNK = 2**13
_GROUP_NORM_EPSILON = 1e-5

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
class MeshNet:
    """A MeshNet: an architecture and its trained parameters, float32.

    Attributes:
        hidden: weight and bias (None where the architecture is normalised) of each 3 x 3 x 3
            convolution.
        last: weight and bias of the 1 x 1 x 1 convolution.
    """

    architecture: Architecture
    hidden: tuple[tuple[Tensor, Tensor | None], ...]
    last: tuple[Tensor, Tensor]

    @torch.inference_mode()
    def label(
        self, volume: np.ndarray, threads: int, progress: Progress, around: float | None = None
    ) -> np.ndarray:
        """Return the most likely class of every voxel of ``volume (X, Y, Z)``, uint8.

        The layers replace each other in place, so this needs the memory of one layer's channels and
        of a few of its planes.

        Args:
            progress: called after each layer with the fraction done and the layer's number.
            around: the constant value outside ``volume``, where it was cut out of a larger one; the
                result is then as in an endless volume of that value. By default every layer is
                surrounded by zeros. A normalised architecture takes its means and variances from
                ``volume`` alone in either case.
        """
        keep_freed_memory()
        use_threads(threads)
        layers = len(self.hidden) + 1
        values = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[..., None]
        background = None if around is None else torch.tensor([around])
        values = values if around is None else values - around
        for number, ((weight, bias), dilation) in enumerate(
            zip(self.hidden, self.architecture.dilations, strict=True)
        ):
            values = _convolved(values, weight, dilation)
            shift = (
                bias
                if bias is None or background is None
                else bias + weight.sum(dim=(2, 3, 4)) @ background
            )
            background = _activate(values, shift, background is not None, self.architecture)
            progress((number + 1) / layers, f"layer {number + 1} of {layers}")
        weight, bias = self.last[0].flatten(1), self.last[1]
        bias = bias if background is None else bias + weight @ background
        classes = [
            torch.addmm(bias, chunk, weight.T).argmax(1).to(torch.uint8)
            for chunk in _chunks(values)
        ]
        progress(1.0, f"layer {layers} of {layers}")
        return torch.cat(classes).view(values.shape[:3]).numpy()


def load_meshnet(path: Path, architecture: Architecture) -> MeshNet:
    """Return the network of ``architecture`` with the parameters in ``path``.

    The file is a PyTorch archive or a safetensors file. No code in it is run: an archive is read
    with ``weights_only``.

    Raises:
        InputError: the file is neither, or holds the parameters of another architecture.
    """
    tensors = _in_order(read_tensors(path))
    found, wanted = [tuple(t.shape) for t in tensors], architecture.shapes()
    if found != wanted:
        raise InputError(
            f"{path} holds another network than MeshNet with {architecture.channels} channels and "
            f"{architecture.classes} classes ({_difference(found, wanted)}); give the right "
            "weights."
        )
    return _assembled(architecture, [tensor.float() for tensor in tensors])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a PyTorch archive or a safetensors file by name.

    Raises:
        InputError: the file is neither, or holds other objects.
    """
    try:
        if zipfile.is_zipfile(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _tensors_alone(torch.load(path, map_location="cpu", weights_only=True))
        return load_file(path)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds Python objects that are no tensors, which may run code; save it as "
            "safetensors."
        ) from None
    except Exception as error:  # a damaged archive breaks its readers in any way
        raise InputError(
            f"{path} cannot be read as weights of a network ({first_line(error)}); fetch it again."
        ) from None


def _tensors_alone(content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        return content
    raise ValueError("it holds other things than tensors with names")


def _in_order(tensors: dict[str, Tensor]) -> list[Tensor]:
    """Return the tensors from the input to the output, each weight before its bias.

    Their names tell the order, such as ``model.4.0.weight``.
    """

    def place(name: str) -> tuple[list[int], bool]:
        return [int(number) for number in re.findall(r"\d+", name)], not name.endswith("weight")

    return [tensors[name] for name in sorted(tensors, key=place)]


def _difference(found: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, ...]]) -> str:
    if len(found) != len(wanted):
        return f"{len(found)} tensors instead of {len(wanted)}"
    number = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
    return f"tensor {number + 1} has the shape {found[number]} instead of {wanted[number]}"


def _assembled(architecture: Architecture, tensors: list[Tensor]) -> MeshNet:
    *hidden, weight, bias = tensors
    if architecture.normalised:
        pairs = [(tensor, None) for tensor in hidden]
    else:
        pairs = list(zip(hidden[::2], hidden[1::2], strict=True))
    return MeshNet(architecture, tuple(pairs), (weight, bias))


def _convolved(values: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Return the padded, dilated convolution of ``values (X, Y, Z, C)``.

    It is computed in place where the number of channels stays the same. Planes that lie
    ``dilation`` apart form a row that depends on no other planes, so rows are convolved one by one.
    """
    same = weight.shape[0] == weight.shape[1]
    result = values if same else values.new_empty(*values.shape[:3], weight.shape[0])
    mixed = torch.einsum("kt,oityz->koiyz", _MIX_KERNEL, weight)
    kernels = [kernel.contiguous(memory_format=torch.channels_last) for kernel in mixed]
    for first in range(min(dilation, len(values))):
        _convolve_row(values[first::dilation], result[first::dilation], kernels, dilation)
    return result


def _convolve_row(planes: Tensor, result: Tensor, kernels: Sequence[Tensor], dilation: int) -> None:
    """Convolve ``planes (N, Y, Z, C)`` along all axes into ``result``, which may be the same
    memory.

    Four planes of the result are computed from four planes and their two neighbours by six
    two-dimensional convolutions of mixed planes, where twelve of plain planes would be needed.

    Source: Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016, F(4, 3).
    """
    before = torch.zeros_like(planes[0])
    products = result.new_empty(len(kernels), *result.shape[1:])
    for start in range(0, len(planes), _PLANES):
        # `before` is the first of the six planes; at the end of the row the last ones are missing,
        # which counts as zeros
        others = planes[start : start + _PLANES + 1]
        mixed = (_MIX[:, 1 : 1 + len(others)] @ others.flatten(1)).view(-1, *before.shape)
        mixed[0].add_(before, alpha=_MIX[0, 0].item())
        # a copy, because the next planes need it after the result has replaced it
        before = others[:_PLANES][-1].clone()
        for product, plane, kernel in zip(products, mixed, kernels, strict=True):
            across = F.conv2d(
                plane.permute(2, 0, 1)[None], kernel, padding=dilation, dilation=dilation
            )
            product.copy_(across[0].permute(1, 2, 0))
        written = result[start : start + _PLANES].flatten(1)
        torch.mm(_UNMIX[: len(written)], products.flatten(1), out=written)


def _activate(
    values: Tensor, bias: Tensor | None, apart: bool, architecture: Architecture
) -> Tensor | None:
    """Replace ``values (X, Y, Z, C)`` by their activation; return the new background, ``(C,)``.

    Before the activation ``bias`` is added, or the values are normalised.

    Args:
        apart: whether ``values`` are differences to the value of a background. The result then is
            the difference to the activation of that background, which is returned; otherwise None
            is returned.
    """
    scale, shift = None, bias
    if architecture.normalised:
        mean, variance = _moments(values)
        scale = torch.rsqrt(variance + _GROUP_NORM_EPSILON)
        shift = -mean * scale
    function = F.gelu if architecture.activation == "gelu" else F.elu
    background = function(shift) if apart else None
    for chunk in _chunks(values):
        scaled = chunk if scale is None else chunk.mul_(scale)
        activated = function(scaled.add_(shift))
        chunk.copy_(activated if background is None else activated.sub_(background))
    return background


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of ``values (X, Y, Z, C)``, ``(C,)``."""
    total = squares = torch.zeros(values.shape[3], dtype=torch.float64)
    for chunk in _chunks(values):
        variance, mean = (of.double() for of in torch.var_mean(chunk, dim=0, correction=0))
        total = total + len(chunk) * mean
        squares = squares + len(chunk) * (variance + mean**2)
    mean = total / values.shape[:3].numel()
    return mean.float(), (squares / values.shape[:3].numel() - mean**2).float()


def _chunks(values: Tensor) -> Sequence[Tensor]:
    """Pieces of ``values (X, Y, Z, C)``, ``(N, C)``, that stay in the processor's cache."""
    return values.view(-1, values.shape[3]).split(_CHUNK)
