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
from diffeode.geometry.image import Window
from diffeode.optimise.memory import keep_freed_memory
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.convolution import CHUNK, Activation, Moments, Summary, convolved
from diffeode.prepare.step_tool import Progress
from diffeode.prepare.surroundings import Surroundings, on_larger_voxels
from diffeode.process.threads import use_threads

_GROUP_NORM_EPSILON = 1e-5


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
        return self._label(volume, threads, progress, around, None)

    def label_part(
        self, volume: np.ndarray, part: Window, threads: int, progress: Progress
    ) -> np.ndarray:
        """Return the most likely class of every voxel of ``part`` of ``volume (X, Y, Z)``, uint8.

        It is nearly the result of :meth:`label` for the whole volume, where that shows its object
        in ``part`` and air elsewhere: the layers outside ``part`` are computed on larger voxels
        (:class:`Surroundings`). Means and variances of a normalised architecture are those of the
        whole volume.

        Args:
            volume: each axis has a multiple of four voxels; the largest dilation is one, too.
            progress: as in :meth:`label`.
        """
        wider = on_larger_voxels(part)
        surroundings = Surroundings(volume, wider, max(self.architecture.dilations))
        labels = self._label(volume[wider], threads, progress, None, surroundings)
        sides = zip(part, wider, strict=True)
        return labels[tuple(slice(p.start - w.start, p.stop - w.start) for p, w in sides)]

    @torch.inference_mode()
    def _label(
        self,
        volume: np.ndarray,
        threads: int,
        progress: Progress,
        around: float | None,
        surroundings: Surroundings | None,
    ) -> np.ndarray:
        keep_freed_memory()
        use_threads(threads)
        layers = len(self.hidden) + 1
        values = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[..., None]
        # Values are differences to those of the background, which need no padding then.
        background = None if around is None else torch.tensor([around])
        values = values if around is None else values - around
        activation = None
        for number, ((weight, bias), dilation) in enumerate(
            zip(self.hidden, self.architecture.dilations, strict=True)
        ):
            moments = Moments() if self.architecture.normalised else None
            values = convolved(values, weight, dilation, activation, moments, surroundings)
            found = None if moments is None else moments.summary()
            if surroundings is not None:
                outside = surroundings.convolve(weight, dilation)
                found = None if found is None else found.joined(outside)
            constant = weight.new_zeros(len(weight))
            if background is not None:
                constant = weight.sum(dim=(2, 3, 4)) @ background
            whole = self._activation(bias, None if found is None else found.shifted(constant))
            if surroundings is not None:
                surroundings.activate(whole)
            activation = whole.of_differences(constant) if background is not None else whole
            background = activation.background
            progress((number + 1) / layers, f"layer {number + 1} of {layers}")
        assert activation is not None
        weight, bias = self.last[0].flatten(1), self.last[1]
        bias = bias if background is None else bias + weight @ background
        classes = [
            torch.addmm(bias, activation(chunk), weight.T).argmax(1).to(torch.uint8)
            for chunk in values.flatten(0, 2).split(CHUNK)
        ]
        progress(1.0, f"layer {layers} of {layers}")
        return torch.cat(classes).view(values.shape[:3]).numpy()

    def _activation(self, bias: Tensor | None, found: Summary | None) -> Activation:
        """Return the activation of a layer, to whose values ``bias`` is added, or which are brought
        to mean 0 and variance 1 by the summary that was ``found``.
        """
        function = F.gelu if self.architecture.activation == "gelu" else F.elu
        if found is None:
            assert bias is not None
            return Activation(function, torch.ones_like(bias), bias)
        scale = torch.rsqrt(found.variance + _GROUP_NORM_EPSILON)
        return Activation(function, scale.float(), (-found.mean * scale).float())


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
