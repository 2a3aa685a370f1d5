"""Settings of the integration, of the descent and of the levels of resolution."""

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
    """How the velocity is integrated to the displacement of its flow."""

    solver: str = knob(
        "exponential",
        one_of("exponential", "euler", "midpoint", "heun", "rk4"),
        "`exponential` takes `steps` squarings up to time 1, for one knot only; the others take "
        "`steps` steps of length `step_size`",
    )
    steps: int = knob(4, between(1, 64), "Number of squarings or steps")
    step_size: float = knob(
        0.25, between(1e-6, 10), "Length of one step in time; `exponential` does not use it"
    )
    gradient: str = knob(
        "exact",
        one_of("exact", "checkpoint", "adjoint"),
        "How the gradient is computed: `exact` is back-propagation; `checkpoint` gives the same "
        "gradient in less memory and more time; `adjoint` takes memory that does not grow with "
        "`steps`, and its gradient is exact only as steps shrink",
    )

    def flow(self, fixed_border: bool, of_cloud: bool) -> Flow | CloudFlow:
        """Return the flow that integrates a velocity.

        This is :class:`diffeode.flows.cloud.CloudFlow` where the velocity is that of a cloud, and
        :class:`diffeode.flows.integrate.Flow` elsewhere. Scaling and squaring needs a velocity that
        depends on the place alone, so the solver ``exponential`` has the latter always.

        Args:
            fixed_border: whether the outermost voxels do not move.
            of_cloud: whether the velocity depends on where all voxels are.
        """
        from diffeode.flows.cloud import CloudFlow
        from diffeode.flows.integrate import Flow

        kind = CloudFlow if of_cloud and self.solver != "exponential" else Flow
        return kind(self.solver, self.steps, self.step_size, self.gradient, fixed_border)


@final
@dataclass(frozen=True)
class DescentSettings:
    """The settings of Adam with amsgrad, and when it stops."""

    learning_rate: float = knob(
        0.2,
        between(1e-6, 10),
        "Learning rate at the start; for a free grid in voxels, for a network in units of its "
        "weights",
    )
    schedule: str = knob(
        "cosine",
        one_of("cosine", "constant"),
        "`cosine` lowers the learning rate to a tenth along half a cosine; `constant` keeps it",
    )
    damping: float = knob(
        0.003,
        between(1e-12, 1e3),
        "Adam's epsilon; voxels whose gradient is far below it hardly move",
        "in units of the gradient of one voxel",
    )
    tolerance: float = knob(
        0.0,
        between(0, 1),
        "A level ends early where the energy, by its slope over the last 10 iterations, changes in "
        "one iteration by at most this fraction of what it has fallen on the level; at 0 no level "
        "ends early",
    )

    def descent(self) -> Descent:
        """Return what descends, see :class:`diffeode.optimise.loop.Descent`."""
        from diffeode.optimise.loop import Descent

        return Descent(self.learning_rate, self.schedule, self.damping, self.tolerance)


@final
@dataclass(frozen=True)
class Levels:
    """The levels of resolution, from coarse to fine."""

    factors: tuple[float, ...] = knob(
        (2.0, 1.0), between(1, 64), "Factor by which each level reduces the images, coarse to fine"
    )
    iterations: tuple[int, ...] = knob(
        (60, 30), between(1, 100_000), "Number of iterations on each level, coarse to fine"
    )
