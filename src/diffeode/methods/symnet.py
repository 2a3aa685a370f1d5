"""SYMNet: one network maps both images to the middle between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

from diffeode.learning.trained_method import (
    WEIGHT,
    WINDOW,
    WINDOW_MEANING,
    Maps,
    TrainedMethod,
    Views,
)
from diffeode.registration.knobs import between, knob, with_default

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Halves(NamedTuple):
    """Displacements to and from the middle, ``(1, 3, *size)`` voxels."""

    moving_to: Tensor
    fixed_to: Tensor
    moving_from: Tensor
    fixed_from: Tensor


@final
@dataclass(frozen=True)
class SymNetMethod(TrainedMethod):
    """Local correlation in the middle and at both ends, with the authors' settings for OASIS."""

    title: ClassVar[str] = "SYMNet"
    citation: ClassVar[str] = (
        "Mok, Chung. Fast symmetric diffeomorphic image registration with convolutional neural "
        "networks. CVPR, 2020."
    )
    licence: ClassVar[str] = "MIT (diffeode; the authors' code: MIT)"
    shape: ClassVar[tuple[str, ...]] = ("channels",)

    steps: int = with_default(TrainedMethod, "steps", 80_000)
    channels: int = knob(
        7,
        between(1, 64),
        "Number of channels of the first level (7 make 862,351 weights; 8 make 1,124,448)",
    )
    squarings: int = knob(7, between(1, 12), "Number of squarings in the integration of each half")
    window: int = knob(5, WINDOW, WINDOW_MEANING, "voxels")
    weight_magnitude: float = knob(
        0.1, WEIGHT, "Weight of the difference between the two halves' mean absolute displacements"
    )
    weight_folds: float = knob(
        100.0, WEIGHT, "Weight of the mean of what Jacobian determinants lack to 0"
    )
    weight_gradient: float = knob(
        3.0, WEIGHT, "Weight of the mean squared gradient of the velocities"
    )

    def network(self) -> nn.Module:
        """The U-Net with two heads."""
        from diffeode.networks.symnet import SymNet

        return SymNet(self.channels)

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Both whole maps; each is the other's inverse."""
        return _joined(self._halves(*network(moving, fixed)))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Similarities in the middle and at both ends, and the three penalties."""
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier

        velocities = network(views.moving, views.fixed)
        halves = self._halves(*velocities)
        ends = _joined(halves)
        middle = [
            pull_back(image, half)
            for image, half in ((views.moving, halves.moving_to), (views.fixed, halves.fixed_to))
        ]
        sizes = [half.abs().mean() for half in (halves.moving_to, halves.fixed_to)]
        return {
            "middle": self._correlation_of_two(*middle),
            "ends": local_correlation_to(views.fixed, self.window)(
                pull_back(views.moving, ends.forward)
            )
            + local_correlation_to(views.moving, self.window)(pull_back(views.fixed, ends.inverse)),
            "magnitude": self.weight_magnitude * (sizes[0] - sizes[1]).abs(),
            "folds": self.weight_folds * sum(jacobian_barrier(end, 0.0) for end in ends),
            "gradient": self.weight_gradient * sum(gradient_magnitude(v) for v in velocities) / 3,
        }

    def _halves(self, moving: Tensor, fixed: Tensor) -> _Halves:
        from diffeode.flows.integrate import exponential

        return _Halves(*(exponential(v, self.squarings) for v in (moving, fixed, -moving, -fixed)))

    def _correlation_of_two(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss is one of its moving image alone; here both images change, and either derivative
        is taken.
        """
        from diffeode.losses.correlation import local_correlation_to

        one = local_correlation_to(first.detach(), self.window)(second)
        other = local_correlation_to(second.detach(), self.window)(first)
        return one + other - other.detach()


def _joined(halves: _Halves) -> Maps:
    """The whole maps, composed in the paper's order."""
    from diffeode.geometry.warp import compose

    return Maps(
        compose(halves.moving_to, halves.fixed_from), compose(halves.fixed_to, halves.moving_from)
    )
