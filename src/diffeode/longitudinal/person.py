"""The visits of one virtual person, ready to be registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from diffeode.datasets.virtual_ageing import Visit, ageing_person
from diffeode.geometry.image import Labels
from diffeode.geometry.space import Grid
from diffeode.longitudinal.design import Design
from diffeode.prepare.brain import nonzero
from diffeode.prepare.scan import prepare_image


@final
@dataclass(frozen=True, eq=False)
class AgeingPerson:
    """The visits of one person, their scans and their labels.

    Attributes:
        visits: the visits, in the order of time.
        grid: the grid of all scans.
        images: the T1w of each visit in [0, 1], ``(1, 1, X, Y, Z)``, on ``grid``.
        brain: the brain mask of the first visit, ``(X, Y, Z)`` bool.
        labels: the structures at each visit, on a finer grid.
    """

    visits: tuple[Visit, ...]
    grid: Grid
    images: tuple[Tensor, ...]
    brain: np.ndarray
    labels: tuple[Labels, ...]

    @property
    def times(self) -> list[float]:
        """The times of the visits as fractions of the whole time."""
        return [visit.time for visit in self.visits]


def person_of(number: int, design: Design) -> AgeingPerson:
    """Return virtual person ``number`` at the times of ``design``."""
    visits = tuple(v for v in ageing_person(number, design.seed) if v.time in design.times)
    grid = visits[0].grid(design.spacing_mm)
    scans = [visit.scans(grid)["T1w"] for visit in visits]
    prepared = [prepare_image(scan, "a visit", nonzero(scan, "a visit")) for scan in scans]
    images = tuple(torch.from_numpy(image.data)[None, None] for image, _ in prepared)
    fine = grid.resample(design.labels_mm)
    labels = tuple(visit.labels(fine) for visit in visits)
    return AgeingPerson(visits, grid, images, prepared[0][1], labels)
