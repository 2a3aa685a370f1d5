"""How a velocity becomes a displacement, how the energy is descended, and on which levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from diffeode.registration.knobs import between, knob, one_of

if TYPE_CHECKING:
    from diffeode.flows.cloud import CloudFlow
    from diffeode.flows.integrate import Flow
    from diffeode.optimise.loop import Descent


@final
@dataclass(frozen=True)
class FlowSettings:
    """From a velocity to the displacement of its flow."""

    solver: str = knob(
        "exponential",
        one_of("exponential", "euler", "midpoint", "heun", "rk4"),
        "`exponential` takes `steps` squarings to time 1 and one knot only; the others take "
        "`steps` steps of `step_size`",
    )
    steps: int = knob(4, between(1, 64), "Number of squarings or steps")
    step_size: float = knob(0.25, between(1e-6, 10), "Time of one step")
    gradient: str = knob(
        "exact",
        one_of("exact", "checkpoint", "adjoint"),
        "`exact` is back-propagation; `checkpoint` gives the same in less memory and more time; "
        "`adjoint` takes memory that does not grow with `steps`, and its gradient is exact only as "
        "steps shrink",
    )

    def flow(self, fixed_border: bool, of_cloud: bool) -> Flow | CloudFlow:
        """What integrates; see :class:`diffeode.flows.integrate.Flow`.

        Args:
            of_cloud: the velocity depends on where all voxels are; see
                :class:`diffeode.flows.cloud.CloudFlow`. Scaling and squaring needs a velocity that
                does not.
        """
        from diffeode.flows.cloud import CloudFlow
        from diffeode.flows.integrate import Flow

        kind = CloudFlow if of_cloud and self.solver != "exponential" else Flow
        return kind(self.solver, self.steps, self.step_size, self.gradient, fixed_border)


@final
@dataclass(frozen=True)
class DescentSettings:
    """Adam with amsgrad, and when it stops."""

    learning_rate: float = knob(
        0.2,
        between(1e-6, 10),
        "Learning rate at the start, of velocities in voxels or of the network's weights",
    )
    schedule: str = knob(
        "cosine",
        one_of("cosine", "constant"),
        "`cosine` lowers the learning rate to a tenth along half a cosine; `constant` keeps it",
    )
    damping: float = knob(
        0.003,
        between(1e-12, 1e3),
        "Adam's epsilon; voxels whose gradient lies far below it hardly move",
        "the gradient of one voxel",
    )
    tolerance: float = knob(
        0.0,
        between(0, 1),
        "A level ends where the energy of the last 10 iterations changes, an iteration, by at most "
        "this fraction of what it has fallen on the level; 0 lets every level take all its "
        "iterations",
    )

    def descent(self) -> Descent:
        """What descends; see :class:`diffeode.optimise.loop.Descent`."""
        from diffeode.optimise.loop import Descent

        return Descent(self.learning_rate, self.schedule, self.damping, self.tolerance)


@final
@dataclass(frozen=True)
class Levels:
    """The levels of resolution, coarse to fine."""

    factors: tuple[float, ...] = knob(
        (2.0, 1.0), between(1, 64), "By how much each level reduces the images, coarse to fine"
    )
    iterations: tuple[int, ...] = knob(
        (60, 30), between(1, 100_000), "Number of iterations on each level"
    )
