"""The optimiser's loop on one level: Adam with a cosine schedule, the best iterate kept, divergence caught."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffeode.errors import RegistrationError

_DAMPING = 0.003
_FINAL_RATE = 0.1
"""The learning rate falls to this fraction over a level."""

Objective = Callable[[Tensor], dict[str, Tensor]]
"""From a velocity to the named terms of the energy; their sum is minimised."""


def minimise(
    field: nn.Module,
    objective: Objective,
    iterations: int,
    learning_rate: float,
    report: Callable[[dict[str, float]], None],
) -> Tensor:
    """Move the parameters of ``field`` down ``objective`` and return the velocity of least energy seen.

    Adam with amsgrad (NODEO), the rate falling along a half cosine. The energy is multiplied by the number of voxels
    of the velocity before its gradient is taken: gradients are then those of one voxel whatever the resolution, and
    what is far below ``_DAMPING`` (flat background) hardly moves, where Adam alone would blow it up to full steps.

    Args:
        report: told the energy's terms after every iteration.
    Raises:
        RegistrationError: the energy of the very first iterate is not finite. When it becomes so later the loop stops
            and the best iterate before stands.
    """
    optimiser = torch.optim.Adam(field.parameters(), lr=learning_rate, eps=_DAMPING, amsgrad=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _cosine(k / max(1, iterations)))
    best, best_energy = None, math.inf
    for _ in range(iterations):
        optimiser.zero_grad(set_to_none=True)
        velocity = field()
        terms = objective(velocity)
        energy = sum(terms.values())
        numbers = {name: value.item() for name, value in terms.items()}
        report({**numbers, "energy": energy.item()})
        if not math.isfinite(energy.item()):
            break
        if energy.item() < best_energy:
            best, best_energy = velocity.detach().clone(), energy.item()
        (energy * velocity[0, 0].numel()).backward()
        optimiser.step()
        schedule.step()
    if best is None:
        raise RegistrationError("The energy is not finite at the start; check the images and the parameters.")
    return best


def _cosine(fraction: float) -> float:
    return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fraction))
