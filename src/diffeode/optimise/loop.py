"""The optimiser's loop on one level: Adam, the best iterate kept, stopped when the energy settles
or explodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from diffeode.errors import RegistrationError

SCHEDULES = ("cosine", "constant")
WINDOW = 10
"""Iterations over which the slope of the energy is looked at."""
_FINAL_RATE = 0.1
"""The cosine schedule ends at this fraction of the learning rate."""

Objective = Callable[[Tensor], dict[str, Tensor]]
"""From a velocity to the named terms of the energy; their sum is minimised."""


@final
@dataclass(frozen=True)
class Descent:
    """Adam with amsgrad (NODEO) and when to stop.

    The energy is multiplied by the number of voxels of the velocity before its gradient is taken,
    so that gradients are those of one voxel whatever the resolution.

    Attributes:
        learning_rate: at the start.
        schedule: ``cosine``, down to a tenth along half a cosine, or ``constant``.
        damping: Adam's epsilon, in units of that gradient. What is far below it (flat background)
            hardly moves, where Adam alone would blow it up to full steps. As it goes to 0 every
            gradient makes a full step, whatever the energy is multiplied by; NODEO's is torch's
            1e-8.
        tolerance: stop where the line through the energies of the last ``WINDOW`` iterations rises
            or falls by at most this fraction, an iteration, of what the energy has fallen since the
            start of the level. The windowed slope is ITK's and ANTs' criterion (Avants et al.,
            Insight Journal, 2009: "convergence window"), but theirs is relative to the energies in
                the window, and rising counts as converged. 0: never.
    """

    learning_rate: float = 0.2
    schedule: str = "cosine"
    damping: float = 0.003
    tolerance: float = 0.0

    def rate(self, fraction: float) -> float:
        """The learning rate after ``fraction`` of the iterations, as a fraction of the first."""
        if self.schedule == "constant":
            return 1.0
        return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fraction))

    def settled(self, energies: list[float]) -> bool:
        """Whether ``energies``, of all iterations so far, have stopped falling."""
        if self.tolerance == 0 or len(energies) < WINDOW:
            return False
        times = [index - (WINDOW - 1) / 2 for index in range(WINDOW)]
        products = (time * energy for time, energy in zip(times, energies[-WINDOW:], strict=True))
        slope = sum(products) / sum(time * time for time in times)
        return abs(slope) <= self.tolerance * (energies[0] - min(energies))


class Minimum(NamedTuple):
    """Where a descent ended: the velocity ``(K, d, *size)`` of least energy, that energy, what is
    to be known of it.
    """

    velocity: Tensor
    energy: float
    reason: str = ""


@torch.enable_grad()
def minimise(
    field: nn.Module,
    objective: Objective,
    iterations: int,
    descent: Descent,
    report: Callable[[dict[str, float]], None],
) -> Minimum:
    """Move the parameters of ``field`` down ``objective``; of all velocities seen that of least
    energy is returned.

    Where the energy or the velocity becomes infinite or NaN the loop stops at once and the best
    velocity before stands.

    Args:
        report: told the energy's terms after every iteration.
    Raises:
        RegistrationError: the energy of the very first iterate is not finite.
    """
    optimiser = torch.optim.Adam(
        field.parameters(), lr=descent.learning_rate, eps=descent.damping, amsgrad=True, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: descent.rate(k / max(1, iterations))
    )
    best, energies = None, []

    def ended(reason: str = "") -> Minimum:
        if not reason and energies[0] == min(energies):
            reason = (
                "no step led below the energy at its start; if the images differ, a lower "
                "learning_rate may"
            )
        return Minimum(best, min(energies), reason)

    for iteration in range(1, iterations + 1):
        optimiser.zero_grad(set_to_none=True)
        velocity = field()
        terms = objective(velocity)
        energy = sum(terms.values())
        *numbers, number, total = _numbers([*terms.values(), energy, velocity.detach().sum()])
        report({**dict(zip(terms, numbers, strict=True)), "energy": number})
        if not (math.isfinite(number) and math.isfinite(total)):
            if best is None:
                raise RegistrationError(
                    "The energy is not finite at the start; check the images and the parameters."
                )
            reason = (
                f"the energy was not finite at iteration {iteration}; the best iterate before "
                "it was kept"
            )
            return ended(reason)
        if best is None or number < min(energies):
            best = velocity.detach().clone()
        energies.append(number)
        if descent.settled(energies):
            return ended(f"the energy had settled after {iteration} of {iterations} iterations")
        (energy * velocity[0, 0].numel()).backward()
        optimiser.step()
        schedule.step()
    return ended()


def _numbers(scalars: list[Tensor]) -> list[float]:
    """Fetched together: a GPU is waited for once."""
    return torch.stack([scalar.detach() for scalar in scalars]).cpu().tolist()
