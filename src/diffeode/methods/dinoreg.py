"""DINO-Reg: ConvexAdam on features of DINOv2 in place of MIND-SSC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import nibabel as nib
import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.methods.convexadam import ConvexAdam, in_place_of_mind
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.knobs import anything, between, knob, with_default
from diffeode.weights.catalogue import find_weights

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn


_MARGIN_VOX = 4
"""Width of the background that is kept around the two brains."""
_SHARE_OF_FEATURES = 0.5
"""Fraction of the whole progress at which the features are computed."""


@final
@dataclass(frozen=True)
class DinoReg(Method):
    """Our own implementation: features of coronal slices, and the solver of the package convexAdam.

    The box around both brains is registered, and the network sees slices upright. Two choices are
    not in the paper: a patch of the network covers ``patch`` voxels, and the principal components
    are scaled so that their variances add up to 1, which is near the variance of MIND-SSC.
    """

    title: ClassVar[str] = "DINO-Reg"
    needs: ClassVar[Needs] = Needs(
        packages=("convexAdam", "torch", "transformers", "safetensors"),
        environment="baselines",
        gpu=True,
    )
    citation: ClassVar[str] = (
        "Song, Xu, Yan. DINO-Reg: General Purpose Image Encoder for Training-Free Multi-modal "
        "Deformable Medical Image Registration. MICCAI, 2024. With: Oquab et al. DINOv2: "
        "Learning Robust Visual Features without Supervision. TMLR, 2024."
    )
    licence: ClassVar[str] = "Apache-2.0 (convexAdam, transformers); weights: Apache-2.0 (DINOv2)"

    weights_name: str = knob(
        "dinov2-vitl14-reg",
        anything(),
        "Name of DINOv2's weights in `config/weights`. The paper does not say which it uses; a "
        "copy of the authors' code has those with four registers",
    )
    every: int = knob(
        3,
        between(1, 32),
        "Distance between the coronal slices; features are linear in between",
        "voxels",
    )
    patch: float = knob(
        2.0,
        between(0.5, 32),
        "Width of a patch; slices are enlarged until the 14 pixels of the network's patches have "
        "this width",
        "voxels",
    )
    components: int = knob(
        64,
        between(1, 1024),
        "Number of principal components of the features; both images have the same components",
    )
    lambda_weight: float = with_default(ConvexAdam, "lambda_weight", 1.25)
    grid_sp: int = with_default(ConvexAdam, "grid_sp", 6)
    disp_hw: int = with_default(ConvexAdam, "disp_hw", 4)
    selected_niter: int = with_default(ConvexAdam, "selected_niter", 1000)
    grid_sp_adam: int = with_default(ConvexAdam, "grid_sp_adam", 2)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The name of DINOv2's weights."""
        return (self.weights_name,)

    def load(self) -> None:
        """Import what ConvexAdam imports."""
        self._solver().load()

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; as with ConvexAdam there is no inverse and no trace.

        Raises:
            InputError: there is no such device, or the weights are not here or are no DINOv2.
            RegistrationError: the brains are too small for the control points or the components.
        """
        require_device(machine.device)
        from diffeode.process.threads import on_threads

        cropped = pair.around_the_brains(_MARGIN_VOX)
        network = load_dinov2(find_weights(self.weights_name)).to(machine.device)
        with on_threads(machine.threads):
            features = self._features(network, cropped, machine)
        with in_place_of_mind(*features):
            return self._solver().register(cropped, machine)

    def _solver(self) -> ConvexAdam:
        return ConvexAdam(
            lambda_weight=self.lambda_weight,
            grid_sp=self.grid_sp,
            disp_hw=self.disp_hw,
            selected_niter=self.selected_niter,
            grid_sp_adam=self.grid_sp_adam,
        )

    def _features(self, network: nn.Module, pair: Pair, machine: Machine) -> list[Tensor]:
        """Return the features of the fixed and of the moving image, ``(1, components, X, Y, Z)``.

        They are 0 outside the brains.
        """
        import torch

        from diffeode.networks.dinov2 import (
            Slicing,
            brain_patches,
            every_voxel,
            patch_features,
            shared_components,
        )

        slicing, device = Slicing(self.every, self.patch), torch.device(machine.device)
        view = Coronal(pair.fixed.grid.affine, device)
        masks = [view.of(mask) for mask in (pair.fixed_mask, pair.moving_mask)]
        found = [
            patch_features(network, view.of(image.data), slicing, _shown(machine, which))
            for which, image in enumerate((pair.fixed, pair.moving))
        ]
        try:
            reduced = shared_components(
                tuple(found), tuple(brain_patches(m, slicing) for m in masks), self.components
            )
        except ValueError as error:
            raise RegistrationError(f"DINO-Reg cannot work on so small brains: {error}.") from None
        volumes = (
            every_voxel(r, tuple(m.shape), slicing) * m for r, m in zip(reduced, masks, strict=True)
        )
        return [view.back(volume) for volume in volumes]


@final
class Coronal:
    """The way from volumes on a grid to upright coronal slices, and back.

    The axes of the slices point to anterior (from slice to slice), inferior (rows) and right
    (columns).
    """

    def __init__(self, affine: np.ndarray, device: torch.device) -> None:
        there = nib.orientations.axcodes2ornt("AIR")
        here = nib.orientations.io_orientation(affine)
        self._there = nib.orientations.ornt_transform(here, there)
        self._back = nib.orientations.ornt_transform(there, here)
        self._device = device

    def of(self, array: np.ndarray) -> Tensor:
        """Return ``array (X, Y, Z)`` as ``(slices, rows, columns)``."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(nib.apply_orientation(array, self._there))).to(
            self._device
        )

    def back(self, volume: Tensor) -> Tensor:
        """Return ``volume (1, C, slices, rows, columns)`` as ``(1, C, X, Y, Z)``."""
        upside_down = [2 + axis for axis in range(3) if self._back[axis, 1] < 0]
        order = [2 + int(axis) for axis in np.argsort(self._back[:, 0])]
        return volume.flip(upside_down).permute(0, 1, *order).contiguous()


def load_dinov2(path: Path) -> nn.Module:
    """Read DINOv2 from a ``.safetensors`` file that the package ``transformers`` saved.

    Raises:
        InputError: the file is no such file.
    """
    from safetensors.torch import load_file
    from transformers.utils import logging

    from diffeode.networks.dinov2 import dinov2

    logging.disable_progress_bar()
    try:
        return dinov2(load_file(path))
    except Exception as error:  # tensors of another network break it in many ways
        raise InputError(
            f"{path} is no DINOv2 for the package transformers ({error}); download it again."
        ) from None


def _shown(machine: Machine, which: int) -> Callable[[float], None]:
    """Return the function that reports the progress of the features of one image."""
    name = ("fixed", "moving")[which]
    return lambda fraction: machine.progress(
        _SHARE_OF_FEATURES * (which + fraction) / 2, f"features of the {name} image"
    )
