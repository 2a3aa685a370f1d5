"""The velocity that is optimised: what represents it, on which grid, and what keeps it smooth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.registration.knobs import anything, between, exactly_one_of, knob, odd, one_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffeode.flows.cloud import CloudFlow
    from diffeode.flows.fields import Smoother
    from diffeode.flows.integrate import Flow


# ------------------------------------------------------------------------------------------- fields


@dataclass(frozen=True)
class Field(ABC):
    """What represents the velocity."""

    name: ClassVar[str]
    starts_at_random: ClassVar[bool] = False
    """Whether it does not start at rest on the first level."""

    @property
    def of_cloud(self) -> bool:
        """Whether the velocity depends on where all voxels are, instead of on place and time."""
        return False

    @abstractmethod
    def from_base(
        self, base: Tensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """A module whose output is the velocity, ``base (K, d, *size)`` and what is added to it.

        Args:
            flow: what takes the velocity; it says at which places and times one is needed.
            still: what is added starts at 0.
        """


@final
@dataclass(frozen=True)
class FreeGrid(Field):
    """A free velocity at each voxel of its grid."""

    name: ClassVar[str] = "grid"

    def from_base(
        self, base: Tensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """It starts at 0 always, and is free everywhere."""
        from diffeode.flows.fields import GridField

        return GridField(base, smoother)


@final
@dataclass(frozen=True)
class Network(Field):
    """NODEO's convolutional network, from the places of all voxels to their velocities."""

    name: ClassVar[str] = "network"
    starts_at_random: ClassVar[bool] = True

    reductions: int = knob(1, between(0, 4), "How often the network's output is halved")
    cloud: str = knob(
        "moved",
        one_of("moved", "fixed"),
        "`moved` asks the network at each step for the velocities of the voxels where they have "
        "come to lie, as NODEO does; `fixed` asks it before they move, for a velocity field on the "
        "grid, as the solver `exponential` always does",
    )
    timed: bool = knob(
        False,
        anything(),
        "Whether the time enters the network's dense layers, as it does anyway where `knots` is "
        "above 1; else the velocities depend on the places alone",
    )

    @property
    def of_cloud(self) -> bool:
        """Whether it is asked where the voxels have come to lie."""
        return self.cloud == "moved"

    def from_base(
        self, base: Tensor, smoother: Smoother, flow: Flow | CloudFlow, still: bool
    ) -> nn.Module:
        """See :class:`diffeode.flows.fields.NetworkField`."""
        from diffeode.flows.cloud import CloudFlow
        from diffeode.flows.fields import NetworkField

        of_cloud = flow if isinstance(flow, CloudFlow) else None
        timed = self.timed or len(base) > 1
        return NetworkField(base, smoother, of_cloud, self.reductions, timed, still)


FIELDS = {field.name: field for field in (FreeGrid, Network)}
"""By name."""


# ------------------------------------------------------------------------------------------ kernels


@dataclass(frozen=True)
class Kernel(ABC):
    """What smooths the velocity."""

    name: ClassVar[str]

    @abstractmethod
    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """From ``(K, d, *size)`` to the same, smoothed; ``spacing`` is that of the grid, mm, by
        axis.
        """


@final
@dataclass(frozen=True)
class GaussianKernel(Kernel):
    """A Gaussian, as wide along every axis in mm."""

    name: ClassVar[str] = "gaussian"

    width: float = knob(0.7, between(0, 64), "Standard deviation", "voxels of the velocity's grid")

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """The width is meant in voxels of the finest axis."""
        from diffeode.flows.smoothing import gaussian

        widths = [self.width * min(spacing) / s for s in spacing]
        return lambda field: gaussian(field, widths)


@final
@dataclass(frozen=True)
class BoxKernel(Kernel):
    """The mean over a window."""

    name: ClassVar[str] = "box"

    width: int = knob(15, odd(1, 63), "Width of the window", "voxels of the velocity's grid")

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """As many voxels along every axis."""
        from diffeode.flows.smoothing import box

        return lambda field: box(field, self.width)


@final
@dataclass(frozen=True)
class OperatorKernel(Kernel):
    """The inverse of LDDMM's operator ``(Id - alpha Laplacian)^power`` on the unit cube."""

    name: ClassVar[str] = "operator"

    alpha: float = knob(
        0.0025, between(0, 10), "Factor of the Laplacian", "squared widths of the grid"
    )
    power: float = knob(2.0, between(0, 10), "Power of the operator")
    boundary: str = knob(
        "dirichlet",
        one_of("dirichlet", "periodic"),
        "Beyond the border of the grid the velocity is 0 (`dirichlet`) or goes on at the opposite "
        "side (`periodic`)",
    )

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """See :func:`diffeode.flows.operator.inverse_operator`."""
        from diffeode.flows.operator import inverse_operator

        return lambda field: inverse_operator(field, self.alpha, self.power, self.boundary)


KERNELS = {kernel.name: kernel for kernel in (GaussianKernel, BoxKernel, OperatorKernel)}
"""By name."""


# --------------------------------------------------------------------------------------------- both


@final
@dataclass(frozen=True)
class Velocity:
    """The velocity."""

    field: Field = knob(FreeGrid(), exactly_one_of(FIELDS, Field), "What represents the velocity")
    spacing: float = knob(
        2.0, between(1, 16), "Spacing of the velocity's grid", "voxels of the level"
    )
    kernel: Kernel = knob(
        GaussianKernel(), exactly_one_of(KERNELS, Kernel), "What smooths the velocity"
    )
    knots: int = knob(
        1,
        between(1, 16),
        "Number of times at which the velocity is free, linear in between; 1 is a stationary "
        "velocity",
    )
    border: str = knob(
        "free",
        one_of("free", "fixed"),
        "Whether the outermost voxels of the velocity's grid may move or stay where they are",
    )

    def smoother(self, spacing: Sequence[float]) -> Smoother:
        """The kernel, and where the border is fixed the velocity there set to 0."""
        from diffeode.flows.velocity import still_border

        smooth = self.kernel.smoother(spacing)
        return (lambda field: still_border(smooth(field))) if self.border == "fixed" else smooth
