"""Measure what another contrast costs where there are no labels; see README.md.

A scan of a raw head (T1w, T2w or FLAIR) is deformed by a known map, and the T1w of the same visit
is registered to it from the headers alone: once as the heads are, and once with the skull of each
stripped, as ``diffeode register --brain`` does. The error is the distance between the known map and
the one that is found, at points in the brain.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from _command import add_data, add_results, explains_errors, joined_names
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, numbers, write_page
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.desk.library import register
from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_everywhere
from diffeode.files import io
from diffeode.geometry.image import Image, sample
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.prepare.steps.mindgrab import mindgrab_mask
from diffeode.registration.runs import load_run

FOLDER, KEYS, SEED = "openms-raw", ("visit", "contrast", "heads", "run"), 2512
VISITS = ("patient01/study1", "patient01/study2", "patient03/study2")
CONTRASTS = ("T1w", "T2w", "FLAIR")
HEADS = ("whole", "stripped")
WITHOUT_MOTION = "median_without_motion_mm"
SPACING_MM = 3.0
"""Voxel size of the pairs."""
_WIDTH_MM, _RMS_MM, _SMALLEST_DETERMINANT = 20.0, 4.0, 0.3


def known_map(grid: Grid, seed: int) -> DisplacementField:
    """Return a smooth random map on ``grid`` without folds: Gaussian noise of 20 mm, whose root
    mean square is 4 mm along each axis.

    Raises:
        InputError: the determinant falls below 0.3 somewhere.
    """
    noise = np.random.default_rng(seed).standard_normal((*grid.shape, 3))
    sigma_vox = (*(_WIDTH_MM / grid.spacing), 0)
    smooth = ndimage.gaussian_filter(noise, sigma_vox)
    field = DisplacementField(smooth * (_RMS_MM / np.sqrt(np.mean(smooth**2))), grid)
    if jacobian_everywhere(field).min() < _SMALLEST_DETERMINANT:
        raise InputError(f"The known map of seed {seed} nearly folds; take another seed.")
    return field


@cache
def head_and_brain(file: Path) -> tuple[Image, Image]:
    """Return a raw head, and the same with its skull stripped, both in voxels of 3 mm."""
    head = io.read_image(file)
    brain = Image(np.where(mindgrab_mask(head, threads=1), head.data, 0), head.grid)
    grid = head.grid.resample(SPACING_MM)
    whole, stripped = (
        Image(antialiased(image.data, image.grid, grid), grid) for image in (head, brain)
    )
    return whole, stripped


def moved(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return ``points``, ``(N, 3)``, after the rigid motion that brings them nearest to
    ``targets``.
    """
    centre, goal = points.mean(axis=0), targets.mean(axis=0)
    rotation, _ = Rotation.align_vectors(targets - goal, points - centre)
    return rotation.apply(points - centre) + goal


def rows_of(
    data: Path, visit: str, contrast: str, heads: str, runs: Sequence[str]
) -> list[dict[str, object]]:
    """Return a row for each run, all of which register the same pair.

    Args:
        heads: one of :data:`HEADS`.
    """
    which = HEADS.index(heads)
    of_moving = head_and_brain(data / FOLDER / f"{visit}_T1W.nii.gz")
    of_other = head_and_brain(data / FOLDER / f"{visit}_{contrast.upper()}.nii.gz")
    moving, other = of_moving[which], of_other[which]
    grid = moving.grid
    known = known_map(grid, SEED)
    reached = known(grid.points_mm())
    fixed = Image(sample(other.data, other.grid.to_voxel(reached), order=1), grid)
    brain = sample(of_moving[1].data, grid.to_voxel(reached), order=1) > 0
    points, targets = grid.points_mm()[brain], reached[brain]

    def errors(mapped: np.ndarray) -> np.ndarray:
        return np.linalg.norm(mapped - targets, axis=-1)

    rows: list[dict[str, object]] = []
    for run in runs:
        found = register(fixed, moving, method=run, init="identity", threads=1, seed=SEED)
        mapped = found.transform.map(points)
        after = errors(mapped)
        rows.append(
            {
                "visit": visit,
                "contrast": contrast,
                "heads": heads,
                "run": run,
                "points": int(brain.sum()),
                "before_mm": float(np.median(errors(points))),
                "median_mm": float(np.median(after)),
                "mean_mm": float(after.mean()),
                "p95_mm": float(np.percentile(after, 95)),
                WITHOUT_MOTION: float(np.median(errors(moved(mapped, targets)))),
                **provenance(),
            }
        )
    return rows


def write_contrasts_page(path: Path, rows: Sequence[Row]) -> None:
    """Write the page of the table ``rows`` to ``path``."""
    lines = []
    for run in dict.fromkeys(row["run"] for row in rows):
        for heads in HEADS:
            of_both = [row for row in rows if (row["run"], row["heads"]) == (run, heads)]
            whole = _with_every_contrast(of_both)
            for contrast in CONTRASTS:
                mine = [row for row in whole if row["contrast"] == contrast]
                if mine:
                    columns = ("before_mm", "median_mm", "mean_mm", "p95_mm", WITHOUT_MOTION)
                    values = [f"{np.mean(numbers(mine, column)):.2f}" for column in columns]
                    what = (load_run(run).title, heads, f"T1w to {contrast}", str(len(mine)))
                    lines.append([*what, *values])
    errors = ("before", "median", "mean", "95 %", "median without motion")
    headings = ("run", "heads", "contrasts", "visits", *errors)
    text = (
        "Errors in mm against a known map, at points in the brain; means over the visits of which "
        "every contrast is measured. The fixed scan is the named contrast of a raw head, deformed "
        "by a smooth random map of 4 mm along each axis; the moving scan is the T1w of the same "
        "visit. T1w to T1w shares its noise, which makes it a bound, not a fair task. In the other "
        "rows the error holds what the person moved between the two scans, too; *without motion* "
        "it is what is left after the rigid motion that brings the mapped points nearest to where "
        "the known map sends them. Whole heads are "
        "registered as they are, and fat is dark in FLAIR; of the others each scan is stripped by "
        "itself, as `diffeode register --brain` does. Voxels of 3 mm; adults with multiple "
        "sclerosis.\n"
    )
    write_page(path, "Contrasts", [text, markdown_table(headings, lines), measured_on(rows)])


def _with_every_contrast(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the visits that have a row for each contrast."""
    there = {(row["visit"], row["contrast"]) for row in rows}
    return [row for row in rows if all((row["visit"], other) in there for other in CONTRASTS)]


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=joined_names, default=("node",), help="joined by commas")
    add_data(parser)
    add_results(parser)
    options = parser.parse_args(arguments)
    table = Table(options.results / "contrasts.tsv", KEYS, ())
    for visit in VISITS:
        for contrast, heads in itertools.product(CONTRASTS, HEADS):
            key = {"visit": visit, "contrast": contrast, "heads": heads}
            runs = [run for run in options.runs if not table.has({**key, "run": run})]
            for row in rows_of(options.data, visit, contrast, heads, runs) if runs else ():
                table.put(row)
                said = f"{visit} {contrast} {heads} {row['run']}: {row['median_mm']:.2f} mm"
                print(said, flush=True)
    write_contrasts_page(options.results / "contrasts.md", table.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
