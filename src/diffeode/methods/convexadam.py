"""ConvexAdam: coupled convex discrete optimisation and then Adam, on descriptors of the images."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.displacements import field_of_voxels
from diffeode.registration.knobs import anything, between, knob, one_of

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGES_OWN = "mind-ssc"
"""The name of the descriptor that the package computes itself."""
_LEAST_CONTROL_POINTS = 3
"""The least number of control points along each axis: the package averages over three."""


def _descriptors() -> tuple[str, ...]:
    """Return the names of all descriptors: the package's own and ours."""
    from diffeode.descriptors.registry import descriptor_names

    return (_PACKAGES_OWN, *descriptor_names())


@final
@dataclass(frozen=True)
class ConvexAdam(Method):
    """The authors' package, with its names of the parameters and its default values.

    The step for inverse consistency is always taken: without it, version 0.2.0 of the package does
    not scale its coarse field to the image.
    """

    title: ClassVar[str] = "ConvexAdam"
    needs: ClassVar[Needs] = Needs(packages=("convexAdam", "torch"), gpu=True)
    citation: ClassVar[str] = (
        "Siebert, Großbröhmer, Hansen, Heinrich. ConvexAdam: Self-Configuring "
        "Dual-Optimization-Based 3D Multitask Medical Image Registration. IEEE Transactions on "
        "Medical Imaging 44(2), 2025."
    )
    licence: ClassVar[str] = "Apache-2.0 (convexAdam)"

    descriptor: str = knob(
        _PACKAGES_OWN,
        one_of(_descriptors),
        "Descriptor that is compared: `mind-ssc` is the package's own, the others are ours",
    )
    descriptor_weights: str = knob(
        "",
        anything(),
        "Name of weights of the descriptor that come with diffeode, or the path of a file; empty "
        "for the descriptor's default weights",
    )
    mind_r: int = knob(
        1, between(1, 1000), "Radius of the patches of the package's MIND-SSC", "voxels"
    )
    mind_d: int = knob(2, between(1, 1000), "Dilation of the package's MIND-SSC", "voxels")
    lambda_weight: float = knob(
        1.25, between(1e-6, 1e6), "Weight of the diffusion regulariser of the Adam stage"
    )
    grid_sp: int = knob(
        6, between(1, 1000), "Spacing of the control points of the discrete stage", "voxels"
    )
    disp_hw: int = knob(4, between(1, 1000), "Reach of the discrete search", "steps of `grid_sp`")
    selected_niter: int = knob(80, between(1, 1000), "Number of iterations of Adam")
    selected_smooth: int = knob(
        0, between(0, 99), "Width of the final box smoothing, an odd number; 0 for none", "voxels"
    )
    grid_sp_adam: int = knob(
        2, between(1, 1000), "Spacing of the control points of the Adam stage", "voxels"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selected_smooth and self.selected_smooth % 2 == 0:
            raise InputError(
                f"Parameter selected_smooth is {self.selected_smooth}; it must be 0 or an odd "
                "number."
            )

    def reads(self) -> dict[str, str]:
        """Return the hashes of the descriptor's code and weights, where it is one of ours."""
        from diffeode.descriptors.registry import descriptor_content

        if self.descriptor == _PACKAGES_OWN:
            return {}
        return {"descriptor": descriptor_content(self.descriptor, self.descriptor_weights)}

    def load(self) -> None:
        """Import the package's entry point, and torch's compiler, which torch's optimiser imports
        when it is made.
        """
        importlib.import_module("convexAdam.convex_adam_MIND")
        importlib.import_module("diffeode.process.threads")
        importlib.import_module("torch._dynamo")

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the package returns no inverse and no trace.

        Raises:
            InputError: there is no such device, or there are no such weights.
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
        from diffeode.process.threads import on_threads

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
        in_double = displacement_vox.astype(np.float64)
        return Registration(field_of_voxels(in_double, pair.fixed.grid, self.title))

    def _require_size(self, shape: tuple[int, int, int]) -> None:
        least = _LEAST_CONTROL_POINTS * max(self.grid_sp, self.grid_sp_adam)
        if min(shape) < least:
            raise RegistrationError(
                f"ConvexAdam with grid_sp {self.grid_sp} needs at least {least} voxels along each "
                f"axis; the image has {shape}."
            )


@contextmanager
def in_place_of_mind(fixed: Tensor, moving: Tensor) -> Iterator[None]:
    """Make the package's solver use these features in place of MIND-SSC, within this context.

    The package has no parameter for features, so its function that computes them is replaced.

    Args:
        fixed, moving: the features of the two images, ``(1, C, X, Y, Z)``.
    """
    with warnings.catch_warnings():  # importing the package silences all warnings of the process
        from convexAdam import convex_adam_MIND as package

    before = package.extract_features
    package.extract_features = lambda **given: (fixed, moving)
    try:
        yield
    finally:
        package.extract_features = before


@contextmanager
def _quiet_package(threads: int) -> Iterator[tuple]:
    """Yield the package's entry point and torch, which computes on ``threads`` threads.

    Importing the package silences all warnings of the process, and its calls of torch warn of
    defaults that have changed. Afterwards warnings and threads are as they were before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        from diffeode.process.threads import on_threads

        with on_threads(threads):
            yield convex_adam_pt, torch
