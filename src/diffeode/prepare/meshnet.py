"""MeshNet: a stack of dilated 3 x 3 x 3 convolutions that labels every voxel of a volume.

Fedorov et al., End-to-end learning of brain tissue segmentation from imperfect labeling, IJCNN 2017.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from diffeode.errors import InputError
from diffeode.optimise.memory import keep_freed_memory
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.step_tool import Progress
from diffeode.threads import use_threads

_SLAB = 16
_CHUNK = 2**14
_GROUP_NORM_EPSILON = 1e-5


@final
@dataclass(frozen=True, eq=False)
class MeshNet:
    """An architecture and its trained numbers, float32.

    Attributes:
        hidden: weight and bias (None where the architecture is normalised) of each 3 x 3 x 3 convolution.
        last: weight and bias of the 1 x 1 x 1 convolution.
    """

    architecture: Architecture
    hidden: tuple[tuple[Tensor, Tensor | None], ...]
    last: tuple[Tensor, Tensor]

    @torch.inference_mode()
    def label(self, volume: np.ndarray, threads: int, progress: Progress) -> np.ndarray:
        """The most likely class of every voxel of ``volume (X, Y, Z)``, uint8.

        Takes the memory of one layer's channels: the layers replace each other in place, slab by slab.

        Args:
            progress: told the fraction done and the layer, after each.
        """
        keep_freed_memory()
        use_threads(threads)
        layers = len(self.hidden) + 1
        values = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
        values = values.to(memory_format=torch.channels_last_3d)
        for number, ((weight, bias), dilation) in enumerate(zip(self.hidden, self.architecture.dilations, strict=True)):
            values = _convolved(values, weight, bias, dilation)
            _activate(values, self.architecture)
            progress((number + 1) / layers, f"layer {number + 1} of {layers}")
        slabs = [F.conv3d(slab, *self.last).argmax(1).to(torch.uint8) for slab in values.split(_SLAB, dim=2)]
        progress(1.0, f"layer {layers} of {layers}")
        return torch.cat(slabs, dim=1)[0].numpy()


def load_meshnet(path: Path, architecture: Architecture) -> MeshNet:
    """The network of ``architecture`` with the numbers in ``path``, a PyTorch archive or a safetensors file.

    No code of the file is run: an archive is read with ``weights_only``.

    Raises:
        InputError: the file is neither, or holds the numbers of another architecture.
    """
    tensors = _in_order(_read_tensors(path))
    found, wanted = [tuple(t.shape) for t in tensors], architecture.shapes()
    if found != wanted:
        raise InputError(
            f"{path} holds another network than MeshNet with {architecture.channels} channels and "
            f"{architecture.classes} classes ({_difference(found, wanted)}); give the right weights."
        )
    return _assembled(architecture, [tensor.float() for tensor in tensors])


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            return torch.load(path, map_location="cpu", weights_only=True)
        return load_file(path)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds Python objects that are no tensors, which may run code; save it as safetensors."
        ) from None
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read as weights of a network ({first}); fetch it again.") from None


def _in_order(tensors: dict[str, Tensor]) -> list[Tensor]:
    """From the input to the output, each weight before its bias; names are such as ``model.4.0.weight``."""

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


def _convolved(values: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """The padded, dilated convolution of ``values (1, C, X, Y, Z)``, in place where the number of channels stays."""
    size = values.shape[2]
    same = weight.shape[0] == weight.shape[1]
    result = values if same else _empty(values, weight.shape[0])
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    before = torch.zeros_like(values[:, :, :1]).expand(-1, -1, dilation, -1, -1)
    for start in range(0, size, _SLAB):
        stop = min(start + _SLAB, size)
        after = values[:, :, stop : stop + dilation]
        lacking = dilation - after.shape[2]
        block = torch.cat([before, values[:, :, start:stop], F.pad(after, (0, 0, 0, 0, 0, lacking))], dim=2)
        before = block[:, :, stop - start : stop - start + dilation]
        padding = (0, dilation, dilation)
        result[:, :, start:stop] = F.conv3d(block, weight, bias, padding=padding, dilation=dilation)
    return result


def _empty(like: Tensor, channels: int) -> Tensor:
    shape = (1, channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last_3d)


def _activate(values: Tensor, architecture: Architecture) -> None:
    """The activation of ``values (1, C, X, Y, Z)``, normalised first where the architecture says so, in place."""
    voxels = values.permute(0, 2, 3, 4, 1).view(-1, architecture.channels)
    if architecture.normalised:
        voxels.sub_(_mean(voxels, lambda chunk: chunk))
        voxels.mul_(torch.rsqrt(_mean(voxels, torch.square) + _GROUP_NORM_EPSILON))
    for chunk in voxels.split(_CHUNK):
        chunk.copy_(F.gelu(chunk) if architecture.activation == "gelu" else F.elu(chunk))


def _mean(voxels: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of ``of(values)`` over ``voxels (N, C)``, ``(C,)``; in chunks that stay in the processor's cache."""
    total = sum(of(chunk).sum(dim=0).double() for chunk in voxels.split(_CHUNK))
    return (total / len(voxels)).float()
