"""One virtual person who ages: the same anatomy at every clinical dementia rating, under known
maps.

Nobody was scanned. The person's own shape and pose stay; between the visits the fluid spaces grow
(:data:`diffeode.datasets.virtual_deformation.ATROPHY`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffeode.datasets.virtual import person_landmarks
from diffeode.datasets.virtual_contrast import acquire, person_grid, person_labels
from diffeode.datasets.virtual_deformation import PersonMap, person_maps
from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid

RATINGS = {0.0: 0.0, 0.25: 0.5, 0.5: 1.0, 0.75: 2.0, 1.0: 3.0}
"""Clinical Dementia Rating at each visit, by the time of the visit as a fraction of the whole
time.
"""


@dataclass(frozen=True, eq=False)
class Visit:
    """The person at one time.

    Attributes:
        person, seed: the number of the person and the seed, as they were asked for.
        number: the number of the visit, from 0.
        time: the time of the visit as a fraction of the whole time, 0 to 1.
        cdr: the Clinical Dementia Rating.
        to_template: the map from points of the person to points of the template, RAS mm.
    """

    person: int
    seed: int
    number: int
    time: float
    cdr: float
    to_template: PersonMap

    def grid(self, spacing_mm: float) -> Grid:
        """Return a grid with RAS axes around the person's brain, in voxels of ``spacing_mm``, with
        room for every visit.
        """
        return person_grid(self.to_template, spacing_mm)

    def scans(self, grid: Grid) -> dict[str, Image]:
        """Return the scans by modality on ``grid``, skull-stripped, with the noise, the bias field
        and the intensity scale of this visit.
        """
        return acquire(self.to_template, grid, self.person, self.seed, self.number)

    def labels(self, grid: Grid) -> Labels:
        """Return the person's structures on ``grid``."""
        return person_labels(self.to_template, grid)

    def landmarks(self) -> pd.DataFrame:
        """Return the landmarks, columns ``name x y z``, RAS mm."""
        return person_landmarks(self.to_template)


def ageing_person(person: int, seed: int) -> tuple[Visit, ...]:
    """Return the visits of virtual person number ``person`` (1, 2, ...), in the order of time.

    Args:
        seed: 0 or above; everything follows from it and from ``person``.
    Raises:
        InputError: ``person`` is below 1 or ``seed`` below 0.
    """
    if person < 1 or seed < 0:
        raise InputError(
            f"A virtual person needs a number of 1 at least and a seed of 0 at least, not {person} "
            f"and {seed}."
        )
    maps = person_maps(person, list(RATINGS.values()), seed)
    return tuple(
        Visit(person, seed, number, time, cdr, one)
        for number, ((time, cdr), one) in enumerate(zip(RATINGS.items(), maps, strict=True))
    )


def true_map(fixed: Visit, moving: Visit, points_mm: np.ndarray) -> np.ndarray:
    """Return where points ``(..., 3)`` of the person at the visit ``fixed`` lie at the visit
    ``moving``, RAS mm.
    """
    return moving.to_template.inverse(fixed.to_template(points_mm))
