"""ANTs SyN, symmetric normalisation with mutual information, a baseline of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from diffeode.files import io
from diffeode.geometry.plane import is_slice, plane_frame
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import DisplacementField
from diffeode.programs.ants_bridge import ants_registration
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration
from diffeode.registration.knobs import between, knob, several

_LEAST_VOXELS = 8
"""The least number of voxels along each axis on the coarsest level. SyN smooths its update over
about six.
"""


@final
@dataclass(frozen=True)
class AntsSyn(Method):
    """The transform ``SyNOnly`` of ANTs with Mattes mutual information.

    It starts from the identity, because the pair is affinely aligned already.
    """

    title: ClassVar[str] = "ANTs SyN"
    needs: ClassVar[Needs] = Needs(packages=("ants",))
    citation: ClassVar[str] = (
        "Avants, Epstein, Grossman, Gee. Symmetric diffeomorphic image registration with "
        "cross-correlation: Evaluating automated labeling of elderly and neurodegenerative "
        "brain. Medical Image Analysis 12(1), 2008."
    )
    licence: ClassVar[str] = "Apache-2.0 (ANTs)"
    takes_slices: ClassVar[bool] = True

    iterations: tuple[int, ...] = knob(
        (100, 70, 50, 20),
        several(1, 8, 0, math.inf, "one to eight whole numbers, coarsest first"),
        "Largest number of iterations on each level, coarsest first; each level has half the "
        "resolution of the next. The paper has four levels. On images so small that a coarse level "
        "would keep fewer than eight voxels along an axis, the coarsest levels are left out",
    )
    bins: int = knob(32, between(8, 256), "Number of bins of the joint histogram")
    gradient_step: float = knob(0.2, between(0.01, 5), "Length of the update", "voxels")
    flow_sigma: float = knob(
        3.0, between(0, 20), "Variance of the Gaussian that smooths the update", "voxels squared"
    )
    total_sigma: float = knob(
        0.0,
        between(0, 20),
        "Variance of the Gaussian that smooths the whole field",
        "voxels squared",
    )

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; SyN computes the inverse together with the map.

        Raises:
            RegistrationError: ANTs gave up.
        """
        with ants_registration(
            pair.fixed,
            pair.moving,
            "SyNOnly",
            machine.threads,
            machine.seed,
            syn_metric="mattes",
            syn_sampling=self.bins,
            reg_iterations=self.iterations_for(pair.fixed.grid.shape),
            grad_step=self.gradient_step,
            flow_sigma=self.flow_sigma,
            total_sigma=self.total_sigma,
        ) as found:
            (forward,) = [path for path in found["fwdtransforms"] if path.endswith("Warp.nii.gz")]
            (inverse,) = [
                path for path in found["invtransforms"] if path.endswith("InverseWarp.nii.gz")
            ]
            return Registration(
                _read_warp(forward, pair.fixed.grid), _read_warp(inverse, pair.moving.grid)
            )

    def iterations_for(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return ``iterations`` without the levels that are too coarse for an image of ``shape``.

        The finest level always stays.
        """
        levels = len(self.iterations)
        while levels > 1 and _narrowest(shape) // 2 ** (levels - 1) < _LEAST_VOXELS:
            levels -= 1
        return self.iterations[-levels:]


def _narrowest(shape: tuple[int, int, int]) -> int:
    """Return the least number of voxels along an axis; the thin axis of a slice does not count."""
    return min(shape[:2]) if shape[2] == 1 else min(shape)


def _read_warp(path: Path | str, grid: Grid) -> DisplacementField:
    """Read a warp of ANTs, which lies on ``grid``.

    The header of the file repeats the grid in single precision only, so ``grid`` is used instead.
    The warp of a slice is in plane coordinates, which the file calls LPS mm.
    """
    displacement = io.read_displacement(path).displacement_mm
    if is_slice(grid):
        to_world = plane_frame(grid).matrix[:3, :3]
        displacement = flip_ras_lps(displacement) @ to_world.T.astype(np.float32)
    return DisplacementField(displacement, grid)
