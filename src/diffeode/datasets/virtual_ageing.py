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
"""Time of each visit, in parts of the whole time, to the rating at that visit."""


@dataclass(frozen=True, eq=False)
class Visit:
    """The person at one time.

    Attributes:
        time: in parts of the whole time, 0 to 1.
        cdr: clinical dementia rating.
        to_template: points of the person to points of the template, RAS mm.
        landmarks: columns ``name x y z``, RAS mm.
        scans: by modality, skull-stripped, all visits on one grid.
    """

    time: float
    cdr: float
    to_template: PersonMap
    landmarks: pd.DataFrame
    scans: dict[str, Image]

    def labels(self, grid: Grid) -> Labels:
        """The person's structures on ``grid``."""
        return person_labels(self.to_template, grid)


def ageing_person(person: int, spacing_mm: float, seed: int) -> tuple[Visit, ...]:
    """The visits of virtual person number ``person`` (1, 2, ...), in the order of time.

    Args:
        spacing_mm: of the scans, 1 to 6.
        seed: with ``person`` it settles everything; 0 and above.
    Raises:
        InputError: one of them is outside its range.
    """
    if person < 1 or seed < 0 or not 1 <= spacing_mm <= 6:
        raise InputError(
            f"A virtual person needs a number of 1 at least, a spacing of 1 to 6 mm and a seed of "
            f"0 at least, not {person}, {spacing_mm:g} mm and {seed}."
        )
    maps = person_maps(person, list(RATINGS.values()), seed)
    grid = person_grid(maps[0], spacing_mm)
    return tuple(
        Visit(time, cdr, one, person_landmarks(one), acquire(one, grid, person, seed, number))
        for number, ((time, cdr), one) in enumerate(zip(RATINGS.items(), maps, strict=True))
    )


def true_map(fixed: Visit, moving: Visit, points_mm: np.ndarray) -> np.ndarray:
    """Where points ``(..., 3)`` of the person at one visit lie at another, RAS mm."""
    return moving.to_template.inverse(fixed.to_template(points_mm))
