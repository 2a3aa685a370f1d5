"""ConvexAdam: discrete coupled convex optimisation, then Adam, on MIND-SSC or other descriptors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.methods.base import (
    Machine,
    Method,
    Needs,
    Pair,
    Registration,
    require_device,
    require_in,
    require_one_of,
)
from diffeode.space import Grid
from diffeode.transform import DisplacementField

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGES_OWN = "mind-ssc"
_LEAST_CONTROL_POINTS = 3
"""Along each axis: the package averages over three."""


@final
@dataclass(frozen=True)
class ConvexAdam(Method):
    """The authors' package with the defaults of its release; the fields bear its names.

    Always with the package's inverse-consistency step: without it, version 0.2.0 hands its coarse field on unscaled.

    Attributes:
        descriptor: ``mind-ssc``, the package's own, or a name of :mod:`diffeode.descriptors.registry`.
        descriptor_weights: a name of weights in the package, or the path of a file; empty: the descriptor's own.
        mind_r, mind_d: radius and dilation of the package's MIND-SSC, voxels.
        lambda_weight: weight of the diffusion regulariser of the Adam stage.
        grid_sp: spacing of the control points of the discrete stage, voxels.
        disp_hw: reach of the discrete search, in steps of ``grid_sp``.
        selected_niter: Adam iterations.
        selected_smooth: width of the final box smoothing, an odd number of voxels; 0 for none.
        grid_sp_adam: spacing of the control points of the Adam stage, voxels.
    Raises:
        InputError: a value out of range.
    """

    title: ClassVar[str] = "ConvexAdam"
    needs: ClassVar[Needs] = Needs(packages=("convexAdam", "torch"), gpu=True)
    citation: ClassVar[str] = (
        "Siebert, Großbröhmer, Hansen, Heinrich. ConvexAdam: Self-Configuring Dual-Optimization-Based 3D Multitask "
        "Medical Image Registration. IEEE Transactions on Medical Imaging 44(2), 2025."
    )
    licence: ClassVar[str] = "Apache-2.0 (convexAdam)"

    descriptor: str = _PACKAGES_OWN
    descriptor_weights: str = ""
    mind_r: int = 1
    mind_d: int = 2
    lambda_weight: float = 1.25
    grid_sp: int = 6
    disp_hw: int = 4
    selected_niter: int = 80
    selected_smooth: int = 0
    grid_sp_adam: int = 2

    def __post_init__(self) -> None:
        self._require_descriptor()
        for name in ("mind_r", "mind_d", "grid_sp", "disp_hw", "selected_niter", "grid_sp_adam"):
            require_in(name, getattr(self, name), 1, 1000)
        require_in("lambda_weight", self.lambda_weight, 1e-6, 1e6)
        require_in("selected_smooth", self.selected_smooth, 0, 99)
        if self.selected_smooth and self.selected_smooth % 2 == 0:
            raise InputError(f"Parameter selected_smooth is {self.selected_smooth}; it must be 0 or an odd number.")

    def _require_descriptor(self) -> None:
        if self.descriptor == _PACKAGES_OWN:
            return  # before anything heavy is imported: most runs are only planned
        from diffeode.descriptors.registry import descriptor_names

        require_one_of("descriptor", self.descriptor, (_PACKAGES_OWN, *descriptor_names()))

    def reads(self) -> dict[str, str]:
        """The descriptor's code and weights, where it is not the package's own."""
        from diffeode.descriptors.registry import descriptor_content

        if self.descriptor == _PACKAGES_OWN:
            return {}
        return {"descriptor": descriptor_content(self.descriptor, self.descriptor_weights)}

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """One map, without an inverse and without a trace: the package shows none.

        Raises:
            InputError: there is no such device, or no such weights.
            RegistrationError: the image is smaller than three control points along an axis.
        """
        require_device(machine.device)
        if self.descriptor == _PACKAGES_OWN:
            return self._solved(pair, machine)
        with in_place_of_mind(*self._described(pair, machine)):
            return self._solved(pair, machine)

    def _described(self, pair: Pair, machine: Machine) -> list[Tensor]:
        import torch

        from diffeode.descriptors.registry import make_descriptor
        from diffeode.threads import on_threads

        describe = make_descriptor(self.descriptor, self.descriptor_weights, machine.device)
        with on_threads(machine.threads), torch.no_grad():
            return [
                describe(torch.from_numpy(image.data.copy())[None, None].to(machine.device))
                for image in (pair.fixed, pair.moving)
            ]

    def _solved(self, pair: Pair, machine: Machine) -> Registration:
        self._require_size(pair.fixed.grid.shape)
        with _quiet_package(machine.threads) as (convex_adam_pt, torch):
            displacement_vox = convex_adam_pt(
                pair.fixed.data,
                pair.moving.data,
                mind_r=self.mind_r,
                mind_d=self.mind_d,
                lambda_weight=self.lambda_weight,
                grid_sp=self.grid_sp,
                disp_hw=self.disp_hw,
                selected_niter=self.selected_niter,
                selected_smooth=self.selected_smooth,
                grid_sp_adam=self.grid_sp_adam,
                dtype=torch.float32,
                device=torch.device(machine.device),
            )
        return Registration(_from_voxels(displacement_vox, pair.fixed.grid))

    def _require_size(self, shape: tuple[int, int, int]) -> None:
        least = _LEAST_CONTROL_POINTS * max(self.grid_sp, self.grid_sp_adam)
        if min(shape) < least:
            raise RegistrationError(
                f"ConvexAdam with grid_sp {self.grid_sp} needs at least {least} voxels along each axis; "
                f"the image has {shape}."
            )


def _from_voxels(displacement_vox: np.ndarray, grid: Grid) -> DisplacementField:
    """Displacements ``(X, Y, Z, 3)`` in voxels along the array axes as RAS mm.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    if not np.isfinite(displacement_vox).all():
        raise RegistrationError("ConvexAdam returned displacements that are not finite.")
    return DisplacementField(grid.vectors_to_world(displacement_vox.astype(np.float64)), grid)


@contextmanager
def in_place_of_mind(fixed: Tensor, moving: Tensor) -> Iterator[None]:
    """The package takes no features; while this holds, its solver finds these where it would compute MIND-SSC.

    Args:
        fixed, moving: ``(1, C, X, Y, Z)``.
    """
    with warnings.catch_warnings():  # importing it would silence those of the process
        from convexAdam import convex_adam_MIND as package

    before = package.extract_features
    package.extract_features = lambda **given: (fixed, moving)
    try:
        yield
    finally:
        package.extract_features = before


@contextmanager
def _quiet_package(threads: int) -> Iterator[tuple]:
    """The package's entry point and torch on ``threads`` threads; what either changes globally is put back.

    Importing the package silences every warning of the process, and its calls of torch warn of old defaults.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        from diffeode.threads import on_threads

        with on_threads(threads):
            yield convex_adam_pt, torch
