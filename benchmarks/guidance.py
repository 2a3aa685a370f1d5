"""Measure what label maps and landmarks that guide a registration bring; see README.md.

Every task is one development pair. Half of its labels or landmarks guide, and both halves are
measured, so that one sees how well what was given is met, and what that does to all else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from _command import add_data, add_results, chosen_among, explains_errors
from _comparisons import comparison_named
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, write_page
from histology import FOLDER, landmarks_of
from scipy import ndimage

from diffeode.datasets.virtual import make_cohort
from diffeode.desk import DEFAULT_RUN, DEFAULT_RUN_OF_SLICES
from diffeode.desk.guides import Guides, Landmarks
from diffeode.desk.inputs import Inputs, read_inputs
from diffeode.desk.registration import Registered, prepared_task, register_images
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.landmarks import shared_landmarks, target_registration_errors_mm
from diffeode.evaluation.overlap import dice_by_label
from diffeode.files import io
from diffeode.files.landmarks import read_landmarks
from diffeode.geometry.image import Image, Labels, foreground
from diffeode.geometry.plane import is_slice
from diffeode.geometry.resample import antialiased
from diffeode.geometry.transform import Affine, DisplacementField, warp_labels
from diffeode.process.threads import use_threads
from diffeode.provenance.source import code_hash
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run

KEYS = ("task", "weight")
FIXED, MOVING = ("01", "T2w"), ("06", "T1w")
"""The two newborns: person and contrast."""
SLICES = ("cd31", "prospc")
HALF_MM = 1.72
SEED = 2512


@dataclass(frozen=True, eq=False)
class Guided:
    """A pair with all that may guide it.

    Attributes:
        inputs: the two images; the label maps lie on their grids.
        ids: the structures that both label maps hold; none of slices.
        landmarks: places known in both images, RAS mm.
    """

    inputs: Inputs
    ids: np.ndarray
    landmarks: Landmarks


@dataclass(frozen=True)
class Task:
    """What is measured of one pair.

    Attributes:
        read: reads the pair from the folder of the scans.
        by_labels: whether labels guide; otherwise landmarks do.
        weights: the weights of the term.
    """

    title: str
    about: str
    read: Callable[[Path], Guided]
    by_labels: bool
    weights: tuple[float, ...]


# -------------------------------------------------------------------------------------------- pairs


def newborns(data: Path, spacing_mm: float | None = None) -> Guided:
    """Return two newborns with their label maps; the centres of the structures are landmarks.

    Args:
        spacing_mm: the voxel size to which the images are resampled; None for their own.
    """
    images, maps = zip(*(_newborn(data, *who) for who in (FIXED, MOVING)), strict=True)
    known = comparison_named("albert").labels()
    ids = np.array([i for i in known if all((labels.data == i).any() for labels in maps)])
    landmarks = Landmarks(*(centres_mm(labels, ids) for labels in maps), "fixed", "moving")
    if spacing_mm is not None:
        grids = [image.grid.resample(spacing_mm) for image in images]
        images, maps = zip(
            *(
                (
                    Image(antialiased(image.data, image.grid, grid), grid),
                    warp_labels(labels, Affine(), grid),
                )
                for image, labels, grid in zip(images, maps, grids, strict=True)
            ),
            strict=True,
        )
    inputs = Inputs(*images, fixed_labels=maps[0], moving_labels=maps[1])
    return Guided(inputs, ids, landmarks)


def virtual_persons() -> Guided:
    """Return two virtual persons, T2w and T1w at 4 mm, whose landmarks are exact."""
    with tempfile.TemporaryDirectory(prefix="diffeode-guidance-") as folder:
        make_cohort(Path(folder), persons=2, spacing_mm=4.0, seed=7)
        stems = [Path(folder) / f"sub-{i}" / "anat" / f"sub-{i}" for i in ("01", "02")]
        images = [
            io.read_image(Path(f"{stem}_{contrast}.nii.gz"))
            for stem, contrast in zip(stems, ("T2w", "T1w"), strict=True)
        ]
        maps = [io.read_labels(Path(f"{stem}_dseg.nii.gz")) for stem in stems]
        tables = [read_landmarks(Path(f"{stem}_landmarks.tsv")) for stem in stems]
    ids = np.setdiff1d(np.intersect1d(maps[0].data, maps[1].data), 0)
    inputs = Inputs(*images, fixed_labels=maps[0], moving_labels=maps[1])
    return Guided(inputs, ids, Landmarks(*shared_landmarks(*tables), "fixed", "moving"))


def slices(data: Path) -> Guided:
    """Return two stained slices with their landmarks."""
    folder = data / FOLDER
    inputs = read_inputs(*(folder / f"{name}.jpg" for name in SLICES), None, None)
    places = []
    for name, image in zip(SLICES, (inputs.fixed, inputs.moving), strict=True):
        pixels = landmarks_of(folder / f"{name}.csv")
        places.append(image.grid.to_world(np.column_stack([pixels, np.zeros(len(pixels))])))
    return Guided(inputs, np.array([], dtype=int), Landmarks(*places, *SLICES))


def centres_mm(labels: Labels, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the centre of mass of each structure, ``(N, 3)``, RAS mm."""
    centres = ndimage.center_of_mass(labels.data > 0, labels.data, ids)
    return labels.grid.to_world(np.array(centres))


def _newborn(data: Path, person: str, contrast: str) -> tuple[Image, Labels]:
    stem = data / "albert" / f"sub-{person}" / "anat" / f"sub-{person}"
    image = io.read_image(Path(f"{stem}_{contrast}.nii.gz"))
    return image, io.read_labels(Path(f"{stem}_dseg.nii.gz"))


# --------------------------------------------------------------------------------------- measuring


def rows_of(task: Task, data: Path, weights: Sequence[float]) -> Iterator[dict[str, object]]:
    """Yield a row for each of ``weights``; all registrations start from one affine."""
    pair, machine = task.read(data), Machine(1, SEED)
    start = cast(Affine, prepared_task(pair.inputs, "affine", machine).moving_to_scan)
    run = load_run(DEFAULT_RUN_OF_SLICES if is_slice(pair.inputs.fixed.grid) else DEFAULT_RUN)
    for weight in weights:
        inputs = guided_inputs(pair, task.by_labels, weight)
        yield {"weight": weight, **scores(pair, register_images(run, inputs, machine, start))}


def guided_inputs(pair: Guided, by_labels: bool, weight: float) -> Inputs:
    """Return the images of ``pair`` with the half of what is known that guides them."""
    if by_labels:
        maps = pair.inputs.fixed_labels, pair.inputs.moving_labels
        here, there = (only(labels, pair.ids[::2]) for labels in maps if labels is not None)
        guides = Guides(label_weight=weight)
        return replace(pair.inputs, fixed_labels=here, moving_labels=there, guides=guides)
    marks = pair.landmarks
    marks = replace(marks, fixed_mm=marks.fixed_mm[::2], moving_mm=marks.moving_mm[::2])
    return replace(pair.inputs, guides=Guides(landmarks=marks, landmark_weight=weight))


def only(labels: Labels, ids: Sequence[int] | np.ndarray) -> Labels:
    """Return the label map with the structures ``ids`` alone."""
    return Labels(np.where(np.isin(labels.data, ids), labels.data, 0), labels.grid)


def scores(pair: Guided, found: Registered) -> dict[str, object]:
    """Return the columns of a row: of both halves the mean Dice and the errors of landmarks, mm,
    and what the map does to volumes.
    """
    result, task = found.result, found.task
    shape = jacobian_metrics(result.warp, foreground(task.fixed), task.moving_to_scan)
    dice, errors = _dice(pair, result.warp), _errors(pair, result.warp)
    return {
        **{f"dice_{half}": part.mean() for half, part in _halves(dice).items()},
        **{f"error_{half}": part.mean() for half, part in _halves(errors).items()},
        "folds_percent": shape["folds_onesided_grid_percent"],
        "min_jacobian": shape["min_jacobian"],
        "sdlogj": shape["sdlogj"],
        "cpu_seconds": result.cpu_seconds,
    }


def _halves(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"given": values[::2], "others": values[1::2]} if values.size else {}


def _dice(pair: Guided, warp: DisplacementField) -> np.ndarray:
    fixed, moving = pair.inputs.fixed_labels, pair.inputs.moving_labels
    if fixed is None or moving is None:
        return np.array([])
    warped = warp_labels(moving, warp, fixed.grid).data
    here, there = (to_indices(data, pair.ids) for data in (fixed.data, warped))
    return dice_by_label(here, there, len(pair.ids))


def _errors(pair: Guided, warp: DisplacementField) -> np.ndarray:
    marks = pair.landmarks
    return target_registration_errors_mm(marks.fixed_mm, marks.moving_mm, warp)


TASKS: dict[str, Task] = {
    "labels": Task(
        "Label maps (`--label-weight`), newborns at full resolution",
        "T2w of newborn 01 and T1w of newborn 06 (ALBERTs), 0.86 mm, the default run. Every other "
        "one of the structures guides. Errors are those of the centres of the structures, in mm.",
        newborns,
        True,
        (0.0, 0.3, 0.1),
    ),
    "landmarks": Task(
        "Landmarks (`--landmark-weight`), newborns at half resolution",
        "The same pair at 1.72 mm. The centre of every other structure is a landmark that guides. "
        "Such centres are only roughly the same places in two persons. Errors are in mm.",
        lambda data: newborns(data, HALF_MM),
        False,
        (0.0, 0.1, 1.0, 10.0),
    ),
    "virtual": Task(
        "Landmarks (`--landmark-weight`), virtual persons",
        "Two persons of the virtual cohort, T2w and T1w at 4 mm, whose landmarks are exact. Every "
        "other one of 82 landmarks guides. Errors are in mm.",
        lambda data: virtual_persons(),
        False,
        (0.0, 0.1, 1.0, 10.0),
    ),
    "slices": Task(
        "Landmarks (`--landmark-weight`), stained slices",
        "The stains cd31 and prospc of a lung lesion, the default run of slices. Every other one "
        "of 78 landmarks guides. Errors are in pixels.",
        slices,
        False,
        (0.0, 0.1, 1.0, 10.0),
    ),
}


# --------------------------------------------------------------------------------------- the page


def write_guidance_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with a table of the ``rows`` of each task."""
    sections = [
        "One development pair a task; nothing here is a test. *Given* are the labels or landmarks "
        "that guide, *others* those that do not. Dice is the mean over structures, and errors are "
        "means over landmarks. Folds are the share of voxels of the whole grid, by one-sided "
        "differences; the least |J| and the SD of log |J| are those in the fixed foreground. CPU "
        "seconds are those of the method; the first registration of a table also loads it.\n"
    ]
    for name, task in TASKS.items():
        mine = sorted(
            (row for row in rows if row["task"] == name), key=lambda row: float(row["weight"])
        )
        if mine:
            sections += [f"## {task.title}\n", f"{task.about}\n", _table(mine)]
    sections.append(f"{measured_on(rows)} Command: `python benchmarks/guidance.py`.\n")
    write_page(path, "Registrations that labels and landmarks guide", sections)


_COLUMNS = {
    "Dice, given": ("dice_given", 3),
    "Dice, others": ("dice_others", 3),
    "error, given": ("error_given", 2),
    "error, others": ("error_others", 2),
    "folds (%)": ("folds_percent", 2),
    "least |J|": ("min_jacobian", 2),
    "SD of log |J|": ("sdlogj", 3),
    "CPU s": ("cpu_seconds", 0),
}
"""Headings of the tables, with the column that each shows and its decimals."""


def _table(rows: Sequence[Row]) -> str:
    shown = {head: column for head, column in _COLUMNS.items() if rows[0].get(column[0])}
    lines = [
        [row["weight"], *(f"{float(row[name]):.{places}f}" for name, places in shown.values())]
        for row in rows
    ]
    return markdown_table(["weight", *shown], lines)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", help=f"some of {', '.join(TASKS)} (default: all)")
    add_data(parser)
    add_results(parser)
    options = parser.parse_args(arguments)
    use_threads(1)
    table = Table(options.results / "guidance.tsv", KEYS)
    code = code_hash("diffeode.methods.neural_ode.guided", "diffeode.desk.guides")[:12]
    for name in chosen_among(parser, "task", options.tasks, tuple(TASKS)):
        task, stamp = TASKS[name], {"task": name, "code": code}
        weights = [w for w in task.weights if not table.has({**stamp, "weight": f"{w:g}"})]
        for row in rows_of(task, options.data, weights) if weights else ():
            written = table.put({"task": name, **row, "code": code, **provenance()})
            print(" ".join(written.values()), file=sys.stderr, flush=True)
    write_guidance_page(table.rows, options.results / "guidance.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
