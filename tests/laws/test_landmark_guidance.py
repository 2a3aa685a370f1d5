"""Landmarks that guide a registration come closer, and harm nothing else.

The landmarks of two virtual persons are exact. Every other one guides, and the rest are judged.
"""

import numpy as np
import pandas as pd
import pytest

from diffeode.datasets.virtual import make_cohort
from diffeode.desk import DEFAULT_RUN
from diffeode.desk.guides import Guides, Landmarks
from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import prepared_task, register_images
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.landmarks import target_registration_errors_mm
from diffeode.files import io
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run

HINT, START = 0.1, 1.0
"""The weights that docs/cli.md names."""
MACHINE = Machine(1, 0)


@pytest.fixture(scope="module")
def persons(tmp_path_factory):
    """Two virtual persons, T2w and T1w, their landmarks, and the affine between them."""
    root = tmp_path_factory.mktemp("virtual")
    make_cohort(root, persons=2, spacing_mm=4.0, seed=7)
    stems = [root / f"sub-{person}" / "anat" / f"sub-{person}" for person in ("01", "02")]
    images = [
        io.read_image(f"{stem}_{contrast}.nii.gz")
        for stem, contrast in zip(stems, ("T2w", "T1w"), strict=True)
    ]
    tables = [pd.read_csv(f"{stem}_landmarks.tsv", sep="\t") for stem in stems]
    assert (tables[0]["name"] == tables[1]["name"]).all()
    points = [table[["x", "y", "z"]].to_numpy() for table in tables]
    start = prepared_task(Inputs(*images), "affine", MACHINE).moving_to_scan
    return images, points, start


def errors_with(persons, weight):
    """Return the errors of the landmarks that were given, and of the others, mm."""
    images, points, start = persons
    guides = Guides(
        landmarks=Landmarks(*(side[::2] for side in points), "f", "m"), landmark_weight=weight
    )
    found = register_images(load_run(DEFAULT_RUN), Inputs(*images, guides=guides), MACHINE, start)
    everywhere = np.ones(images[0].grid.shape, bool)
    shape = jacobian_metrics(found.result.warp, everywhere, start)
    assert shape["folds_onesided_grid_percent"] == 0
    missed = target_registration_errors_mm(*points, found.result.warp)
    return missed[::2].mean(), missed[1::2].mean()


def test_given_landmarks_come_closer_and_others_move_no_farther_apart(persons):
    free, *guided = (errors_with(persons, weight) for weight in (0.0, HINT, START))
    assert all(others < free[1] for _, others in guided)
    given = [errors[0] for errors in guided]
    assert given[0] < 0.6 * free[0]
    assert given[1] < 0.3 * free[0]
