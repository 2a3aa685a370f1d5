"""The descent on one level: Adam's iterations, of which the best one is kept.

The descent ends early where the energy has settled or is not finite any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from diffeode.errors import RegistrationError
from diffeode.geometry.shapes import LossTensor, VelocityTensor

SCHEDULES = ("cosine", "constant")
"""Names of the schedules of the learning rate."""
WINDOW = 10
"""Number of iterations from whose energies the slope is estimated."""
_FINAL_RATE = 0.1
"""The cosine schedule ends at this fraction of the learning rate."""

Objective = Callable[[VelocityTensor], dict[str, LossTensor]]
"""A function from a velocity to the named terms of the energy, whose sum is minimised."""


@final
@dataclass(frozen=True)
class Descent:
    """The settings of Adam with amsgrad, as NODEO uses it, and when it stops.

    Adam: Kingma and Ba, ICLR 2015; amsgrad: Reddi et al., ICLR 2018. The energy is a mean over
    voxels, so its gradient at one voxel shrinks as voxels become more. It is multiplied by the
    number of voxels of the velocity before its gradient is taken. Gradients then have the same size
    at every resolution, and ``damping`` has the same meaning.

    Attributes:
        learning_rate: the learning rate at the start.
        schedule: ``cosine`` lowers the learning rate to a tenth along half a cosine; ``constant``
            keeps it.
        damping: Adam's epsilon, in units of that gradient. Voxels whose gradient is far smaller,
            such as those of a flat background, hardly move; Adam alone would move them by full
            steps. As the damping tends to 0, every gradient makes a full step. NODEO takes torch's
            1e-8.
        tolerance: the descent stops where the line through the energies of the last ``WINDOW``
            iterations changes in one iteration by at most this fraction of what the energy has
            fallen on this level. At 0 it never stops early. ITK and ANTs take the slope over such a
            "convergence window", too (Avants et al., Insight Journal, 2009), but relative to the
            energies in the window, and a rising energy counts as converged there.
    """

    learning_rate: float = 0.2
    schedule: str = "cosine"
    damping: float = 0.003
    tolerance: float = 0.0

    def rate(self, fraction: float) -> float:
        """Return the learning rate after ``fraction`` of the iterations, relative to the first.

        >>> [round(Descent().rate(fraction), 3) for fraction in (0, 0.5, 1)]
        [1.0, 0.55, 0.1]
        """
        if self.schedule == "constant":
            return 1.0
        return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fraction))

    def settled(self, energies: list[float]) -> bool:
        """Return whether the energy has settled.

        Args:
            energies: the energies of all iterations of this level so far.
        """
        if self.tolerance == 0 or len(energies) < WINDOW:
            return False
        # The slope of the least-squares line. The sum of the times is 0, so that the mean energy
        # need not be subtracted.
        times = [index - (WINDOW - 1) / 2 for index in range(WINDOW)]
        products = (time * energy for time, energy in zip(times, energies[-WINDOW:], strict=True))
        slope = sum(products) / sum(time * time for time in times)
        return abs(slope) <= self.tolerance * (energies[0] - min(energies))


class Minimum(NamedTuple):
    """The result of a descent.

    Attributes:
        velocity: the velocity of least energy that was seen.
        energy: its energy.
        reason: a clause on what was out of the ordinary; empty where nothing was.
    """

    velocity: VelocityTensor
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
    """Minimise ``objective`` over the parameters of ``field`` and return the best velocity seen.

    Where the energy or the velocity is not finite, the descent stops at once and returns the best
    velocity before.

    Args:
        field: a module that returns the velocity when it is called.
        iterations: the largest number of iterations.
        report: a function that receives the terms of the energy after every iteration.
    Raises:
        RegistrationError: the energy is not finite at the start.
    """
    optimiser = _Adam(field.parameters(), descent.damping)
    best, energies = None, []

    def ended(reason: str = "") -> Minimum:
        """Return the result, with a note where the start was the best iterate."""
        if not reason and energies[0] == min(energies):
            reason = (
                "no step led below the energy at its start; if the images differ, a lower "
                "learning_rate may"
            )
        return Minimum(best, min(energies), reason)

    for iteration in range(1, iterations + 1):
        field.zero_grad(set_to_none=True)
        velocity = field()
        terms = objective(velocity)
        energy = sum(terms.values())
        # The sum of the velocity is finite only if every component is.
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
        fraction = (iteration - 1) / max(1, iterations)
        optimiser.step(descent.learning_rate * descent.rate(fraction))
    return ended()


@final
class _Adam:
    """Adam with amsgrad, as torch computes it, over parameters of one kind on one device.

    :class:`torch.optim.Adam` does the same to the bit, but imports torch's compiler when it is
    made, which is not used here and takes about two CPU seconds.

    Args:
        parameters: the parameters, all of which the energy depends on.
        damping: Adam's epsilon.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], damping: float) -> None:
        self.parameters = list(parameters)
        self.damping = damping
        self.means, self.squares, self.largest = (
            [torch.zeros_like(one) for one in self.parameters] for _ in range(3)
        )
        self.steps = [torch.zeros((), device=one.device) for one in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters against their gradients, with the learning rate ``rate``."""
        adam(
            self.parameters,
            [one.grad for one in self.parameters],
            self.means,
            self.squares,
            self.largest,
            self.steps,
            fused=True,
            amsgrad=True,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0,
            eps=self.damping,
            maximize=False,
        )


def _numbers(scalars: list[Tensor]) -> list[float]:
    """Return ``scalars`` as Python's numbers, fetched together so that a GPU is waited for once."""
    return torch.stack([scalar.detach() for scalar in scalars]).cpu().tolist()
