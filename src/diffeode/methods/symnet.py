"""SYMNet: a network that maps both images to the middle between them."""

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
    """Displacements of both images to the middle and back, ``(1, 3, *size)`` voxels."""

    moving_to: Tensor
    fixed_to: Tensor
    moving_from: Tensor
    fixed_from: Tensor


@final
@dataclass(frozen=True)
class SymNetMethod(TrainedMethod):
    """A U-Net that finds a velocity for each image, with the authors' settings for OASIS.

    The local correlation is computed in the middle and at both ends.
    """

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
        0.1,
        WEIGHT,
        "Weight of the difference between the mean absolute displacements of the two halves",
    )
    weight_folds: float = knob(
        100.0, WEIGHT, "Weight of the mean amount by which Jacobian determinants fall below 0"
    )
    weight_gradient: float = knob(
        3.0, WEIGHT, "Weight of the mean squared gradient of the velocities"
    )

    def network(self) -> nn.Module:
        """Return the U-Net with two heads."""
        from diffeode.networks.symnet import SymNet

        return SymNet(self.channels)

    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the maps from end to end; each is the inverse of the other."""
        return _joined(self._halves(*network(moving, fixed)))

    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the dissimilarities in the middle and at both ends, and the three penalties."""
        from diffeode.geometry.warp import pull_back
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier

        velocities = network(views.moving, views.fixed)
        halves = self._halves(*velocities)
        ends = _joined(halves)
        moving_in_middle = pull_back(views.moving, halves.moving_to)
        fixed_in_middle = pull_back(views.fixed, halves.fixed_to)
        sizes = [half.abs().mean() for half in (halves.moving_to, halves.fixed_to)]
        middle = self._correlation_of_two(moving_in_middle, fixed_in_middle)
        to_fixed = local_correlation_to(views.fixed, self.window)
        to_moving = local_correlation_to(views.moving, self.window)
        end_of_moving = to_fixed(pull_back(views.moving, ends.forward))
        end_of_fixed = to_moving(pull_back(views.fixed, ends.inverse))
        return {
            "middle": middle,
            "ends": end_of_moving + end_of_fixed,
            "magnitude": self.weight_magnitude * (sizes[0] - sizes[1]).abs(),
            "folds": self.weight_folds * sum(jacobian_barrier(end, 0.0) for end in ends),
            "gradient": self.weight_gradient * sum(gradient_magnitude(v) for v in velocities) / 3,
        }

    def _halves(self, moving: Tensor, fixed: Tensor) -> _Halves:
        from diffeode.flows.integrate import exponential

        return _Halves(*(exponential(v, self.squarings) for v in (moving, fixed, -moving, -fixed)))

    def _correlation_of_two(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the local correlation of two images that both depend on the network.

        The loss has a gradient with respect to its moving image only. So it is computed twice, with
        either image as the moving one. The value of the second is subtracted again, so that only
        its gradient remains.
        """
        from diffeode.losses.correlation import local_correlation_to

        one = local_correlation_to(first.detach(), self.window)(second)
        other = local_correlation_to(second.detach(), self.window)(first)
        return one + other - other.detach()


def _joined(halves: _Halves) -> Maps:
    """Return the maps from end to end, composed of the halves in the order of the paper."""
    from diffeode.geometry.warp import compose

    return Maps(
        compose(halves.moving_to, halves.fixed_from), compose(halves.fixed_to, halves.moving_from)
    )
