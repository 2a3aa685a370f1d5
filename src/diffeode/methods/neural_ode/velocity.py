"""Settings of the velocity: its representation, its grid and what keeps it smooth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.registration.knobs import anything, between, exactly_one_of, knob, odd, one_of

if TYPE_CHECKING:
    from torch import nn

    from diffeode.flows.cloud import CloudFlow
    from diffeode.flows.fields import Smoother
    from diffeode.flows.integrate import Flow
    from diffeode.geometry.shapes import VelocityTensor


# ------------------------------------------------------------------------------------------- fields


@dataclass(frozen=True)
class Field(ABC):
    """A representation of the velocity by parameters that the descent changes."""

    name: ClassVar[str]
    starts_at_random: ClassVar[bool] = False
    """Whether the velocity is random, and not 0, at the start of the first level."""

    @property
    def of_cloud(self) -> bool:
        """Whether the velocity depends on where all voxels are, instead of on place and time."""
        return False

    @abstractmethod
    def from_base(
        self, base: VelocityTensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """Return a module whose output is the velocity, the sum of ``base`` and its own part.

        Args:
            base: the velocity that the level before has found.
            flow: the flow of the velocity; it decides at which places and times the velocity is
                needed.
            still: whether the module's own part starts at 0.
        """


@final
@dataclass(frozen=True)
class FreeGrid(Field):
    """A free velocity at every voxel of its grid."""

    name: ClassVar[str] = "grid"

    def from_base(
        self, base: VelocityTensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """Return :class:`diffeode.flows.fields.GridField`, whose own part always starts at 0."""
        from diffeode.flows.fields import GridField

        return GridField(base, smoother)


@final
@dataclass(frozen=True)
class Network(Field):
    """NODEO's convolutional network leads from the positions of all voxels to their velocities."""

    name: ClassVar[str] = "network"
    starts_at_random: ClassVar[bool] = True

    reductions: int = knob(
        1, between(0, 4), "Number of times that the grid of the network's output is halved"
    )
    cloud: str = knob(
        "moved",
        one_of("moved", "fixed"),
        "`moved` evaluates the network at each step where the voxels have come to lie, as NODEO "
        "does; `fixed` evaluates it before they move and takes its output for a velocity field on "
        "the grid, as the solver `exponential` always does",
    )
    timed: bool = knob(
        False,
        anything(),
        "Whether the time is an input of the network's dense layers; it always is where "
        "`velocity.knots` is above 1. Otherwise the velocities depend on the places alone",
    )

    @property
    def of_cloud(self) -> bool:
        """Whether the network is evaluated where the voxels have come to lie."""
        return self.cloud == "moved"

    def from_base(
        self, base: VelocityTensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """Return :class:`diffeode.flows.fields.NetworkField`."""
        from diffeode.flows.cloud import CloudFlow
        from diffeode.flows.fields import NetworkField

        of_cloud = flow if isinstance(flow, CloudFlow) else None
        timed = self.timed or len(base) > 1
        return NetworkField(base, smoother, of_cloud, self.reductions, timed, still)


FIELDS = {field.name: field for field in (FreeGrid, Network)}
"""The representations by name."""


# ------------------------------------------------------------------------------------------ kernels


@dataclass(frozen=True)
class Kernel(ABC):
    """A linear map that smooths the velocity."""

    name: ClassVar[str]

    @abstractmethod
    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """Return the function that smooths a velocity.

        Args:
            spacing: the spacing of the velocity's grid along each axis, mm.
        """


@final
@dataclass(frozen=True)
class GaussianKernel(Kernel):
    """A Gaussian that has the same width in mm along every axis."""

    name: ClassVar[str] = "gaussian"

    width: float = knob(0.7, between(0, 64), "Standard deviation", "voxels of the velocity's grid")

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """Return the Gaussian; ``width`` counts voxels of the finest axis."""
        from diffeode.flows.smoothing import gaussian

        widths = [self.width * min(spacing) / s for s in spacing]
        return lambda field: gaussian(field, widths)


@final
@dataclass(frozen=True)
class BoxKernel(Kernel):
    """The mean over a window that has the same width in voxels along every axis."""

    name: ClassVar[str] = "box"

    width: int = knob(15, odd(1, 63), "Width of the window", "voxels of the velocity's grid")

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """Return the mean over the window; the spacing does not matter."""
        from diffeode.flows.smoothing import box

        return lambda field: box(field, self.width)


@final
@dataclass(frozen=True)
class OperatorKernel(Kernel):
    """The inverse of LDDMM's operator ``(Id - alpha Laplacian)^power`` on the unit cube."""

    name: ClassVar[str] = "operator"

    alpha: float = knob(
        0.0025, between(0, 10), "Factor `alpha` of the Laplacian", "squared widths of the grid"
    )
    power: float = knob(2.0, between(0, 10), "Power of the operator")
    boundary: str = knob(
        "dirichlet",
        one_of("dirichlet", "periodic"),
        "Beyond the border of the grid the velocity is 0 (`dirichlet`) or goes on at the opposite "
        "side (`periodic`)",
    )

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """Return :func:`diffeode.flows.operator.inverse_operator`."""
        from diffeode.flows.operator import inverse_operator

        return lambda field: inverse_operator(field, self.alpha, self.power, self.boundary)


KERNELS = {kernel.name: kernel for kernel in (GaussianKernel, BoxKernel, OperatorKernel)}
"""The kernels by name."""


# --------------------------------------------------------------------------------------------- both


@final
@dataclass(frozen=True)
class Velocity:
    """The settings of the velocity."""

    field: Field = knob(FreeGrid(), exactly_one_of(FIELDS, Field), "Representation of the velocity")
    spacing: float = knob(
        2.0, between(1, 16), "Spacing of the velocity's grid", "voxels of the level's images"
    )
    kernel: Kernel = knob(
        GaussianKernel(), exactly_one_of(KERNELS, Kernel), "Kernel that smooths the velocity"
    )
    knots: int = knob(
        1,
        between(1, 16),
        "Number of knots, the times at which the velocity is stored; it is linear in between. 1 "
        "makes a stationary velocity",
    )
    border: str = knob(
        "free",
        one_of("free", "fixed"),
        "`fixed` keeps the outermost voxels of the velocity's grid where they are; `free` does not",
    )

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """Return the function that smooths the velocity, and sets a fixed border to 0."""
        from diffeode.flows.velocity import still_border

        smooth = self.kernel.smoother(spacing)
        if self.border == "free":
            return smooth
        return lambda field: still_border(smooth(field))


def representation(velocity: Velocity) -> str:
    """Return how the velocity is represented, in the words of Table 3 of arXiv 2108.03443:
    ``network``, ``network without kernel``, ``tensor with kernel`` or ``tensor without kernel``.
    """
    kernel = velocity.kernel
    smooth = not (isinstance(kernel, BoxKernel) and kernel.width == 1)
    if isinstance(velocity.field, FreeGrid):
        return f"tensor {'with' if smooth else 'without'} kernel"
    return velocity.field.name if smooth else f"{velocity.field.name} without kernel"
