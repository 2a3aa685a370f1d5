"""How smoothly points travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Smoothness(NamedTuple):
    """How smoothly points travel; each number is a mean over the points and over the time.

    A path of least mean squared acceleration between given places is a cubic spline; Trouvé and
    Vialard (arXiv 1003.3895) carry this over to shapes.

    Attributes:
        speed: length of the velocity, mm per unit time.
        acceleration: length of the change of a point's velocity along its path, mm per squared unit
            time; NaN where the paths are known at fewer than three times.
    """

    speed: float
    acceleration: float


def path_smoothness(places: Tensor, times: Sequence[float]) -> Smoothness:
    """Return speed and acceleration along paths that are known at ``times``.

    Between two times the velocity is the difference of the places over that of the times. At a time
    between two others the acceleration is the difference of the velocities after and before it over
    the time from the middle of one interval to the middle of the next. This is exact where the
    acceleration is constant in time.

    Args:
        places: the places of the points at each time, ``(T, N, d)``, mm.
        times: ``T`` rising numbers.
    Raises:
        ValueError: there are fewer than two times, they do not rise, or their number is not that of
            the places.
    """
    at = torch.as_tensor(times, dtype=torch.float64)
    if places.dim() != 3 or len(places) != len(at) or len(at) < 2 or not (at.diff() > 0).all():
        raise ValueError(
            f"Places {tuple(places.shape)} need two or more rising times, one each, not {times}."
        )
    durations = at.diff()
    velocities = places.to(torch.float64).diff(dim=0) / durations.view(-1, 1, 1)
    speed = _mean_over_time(velocities, durations)
    if len(at) < 3:
        return Smoothness(speed, float("nan"))
    between = (durations[1:] + durations[:-1]) / 2
    accelerations = velocities.diff(dim=0) / between.view(-1, 1, 1)
    return Smoothness(speed, _mean_over_time(accelerations, between))


def _mean_over_time(vectors: Tensor, durations: Tensor) -> float:
    lengths = vectors.norm(dim=-1).mean(dim=-1)
    return float((lengths * durations).sum() / durations.sum())
