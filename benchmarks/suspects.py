"""Count how many registrations the verdict calls right, among good ones and ones made to fail.

    python benchmarks/suspects.py                       # measure, and write the page
    python benchmarks/suspects.py --only anything       # measure only images of anything
    python benchmarks/suspects.py --part report         # measure only the half for reporting
    python benchmarks/suspects.py --page                # write only the page, from what is there

writes ``benchmarks/results/suspects.tsv`` and ``suspects.md``. It takes some twenty minutes of CPU
time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _anything import cases_of_anything
from _command import add_data, explains_errors
from _machine import provenance
from _spoiled import CHOICE, REPORT, Case, clean_cases, spoiled_cases
from _suspects_page import write_suspects_page
from _tables import Table

from diffeode.errors import InputError, RegistrationError
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.overlap import dice_by_label
from diffeode.evaluation.verdict import signs_of
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.plane import in_plane, is_slice, plane_frame
from diffeode.geometry.transform import DisplacementField, densify, warp_image
from diffeode.prepare.affine import affine_registration
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.pair import align_pair
from diffeode.prepare.registry import scaling_tool
from diffeode.prepare.scan import prepare_image
from diffeode.prepare.side import align_sides, prepared_side
from diffeode.provenance.source import code_hash
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, register
from diffeode.registration.runs import load_run

RESULTS = Path(__file__).parent / "results"
SCRATCH = Path(__file__).resolve().parents[1] / "results" / "benchmark-suspects"
RUN, RUN_OF_SLICES = "node", "node-2d"
QUICK = {"levels": {"factors": [2, 1], "iterations": [30, 20]}}
"""Levels and iterations that are enough for voxels of 3.5 to 5 mm."""
QUICK_OF_SLICES = {"levels": {"factors": [3, 1], "iterations": [60, 40]}}
LANDMARK_SHARE = 0.02
"""A landmark counts as found where it lies nearer than this share of the slice's diagonal."""
SEED = 2512
BRAINS, ANYTHING = "brains", "anything"
"""Names of the pairs of brains as a study prepares them, and of those of images of anything as
``diffeode register`` prepares them.
"""
_KEYS = ("part", "dataset", "fixed", "moving", "kind")


def measure(data: Path, table: Table, only: str | None = None, part: str | None = None) -> None:
    """Put a row into ``table`` for every case that has none by today's code.

    The file of the verdict does not count as code, because its thresholds change no number in the
    table. Progress is reported on standard error.

    Args:
        only: ``BRAINS`` or ``ANYTHING``, the cases to measure; None for both.
        part: ``CHOICE`` or ``REPORT``, the half of the data to measure; None for both.
    """
    brains = clean_cases(data, SCRATCH)
    cases = [] if only == ANYTHING else [*spoiled_cases(brains)]
    cases += [] if only == BRAINS else [*cases_of_anything(data, brains)]
    cases = [case for case in cases if part in (None, case.part)]
    scaling = scaling_tool("robust").module
    modules = (
        "diffeode.methods.neural_ode",
        "diffeode.prepare.pair",
        "diffeode.prepare.scan",
        "diffeode.prepare.side",
        scaling,
    )
    files = [Path(__file__).with_name(f"{name}.py") for name in ("_spoiled", "_anything")]
    code = code_hash(*files, *modules)[:12]
    for number, case in enumerate(cases, start=1):
        key = dict(
            zip(
                _KEYS,
                (case.part, case.dataset, case.fixed_name, case.moving_name, case.kind),
                strict=True,
            )
        )
        if not table.has(key | {"code": code}):
            table.put(key | _measured(case) | {"code": code} | provenance())
            print(f"[{number}/{len(cases)}] {' '.join(key.values())}", file=sys.stderr, flush=True)


def _measured(case: Case) -> dict[str, object]:
    """Return Dice before and after, the measures of the verdict, and CPU seconds.

    Of slices, the share of landmarks that are found stands for Dice. Where the pair was refused,
    the result holds the reason instead.
    """
    started = time.process_time()
    about = {"at_desk": int(case.at_desk), "foreign": int(case.foreign)}
    try:
        task = _task_at_desk(case) if case.at_desk else _task(case)
        run, quick = (
            (load_run(RUN_OF_SLICES), QUICK_OF_SLICES)
            if is_slice(task.fixed.grid)
            else (load_run(RUN), QUICK)
        )
        method = run.changed({**quick, **(case.overrides or {})}).build()
        result = register(method, task, Machine(1, SEED))
        maps = result.warp, result.inverse_warp
        signs = signs_of(*maps, task.fixed, task.moving_scan, task.moving_to_scan)
    except (InputError, RegistrationError) as error:
        return {**about, "refused": str(error)}
    score = _dice if case.landmarks is None else _share_of_landmarks
    return {
        **about,
        "refused": "",
        "dice_before": score(case, densify(task.moving_to_scan, task.fixed.grid)),
        "dice": score(case, result.warp),
        **signs,
        "cpu_seconds": time.process_time() - started,
    }


def _task(case: Case) -> Task:
    """Return a pair of brains as a study prepares it."""
    fixed, moving = (_prepared(brain.image) for brain in (case.fixed, case.moving))
    if case.alignment == "plain":
        to_scan = affine_registration(fixed, moving, 1, SEED)
        return Task(fixed, warp_image(moving, to_scan, fixed.grid), moving, to_scan)
    aligned, to_scan = align_pair(fixed, moving, case.alignment, "resample", 1, SEED)
    return Task(fixed, aligned, moving, to_scan)


def _task_at_desk(case: Case) -> Task:
    """Return a pair of anything as ``diffeode register`` prepares it."""
    fixed, moving = (
        prepared_side(brain.image, side)
        for brain, side in ((case.fixed, "the fixed image"), (case.moving, "the moving image"))
    )
    aligned = align_sides(fixed, moving, case.alignment, 1, SEED)
    images = fixed.image, aligned.image, moving.image
    return Task(*images, aligned.affine, counts=aligned.counts)


def _prepared(image: Image) -> Image:
    image = without_negatives(image, "the scan")
    return prepare_image(image, "the scan", nonzero(image, "the scan"))[0]


def _dice(case: Case, warp: DisplacementField) -> float:
    """Return the mean Dice over the labels, taken where ``warp`` reaches the moving scan."""
    fixed, moving = case.fixed.labels, case.whole_labels or case.moving.labels
    reached = warp.grid.points_mm() + warp.displacement_mm
    scanned = case.moving.image.grid
    seen = sample(np.ones(scanned.shape, dtype=np.uint8), scanned.to_voxel(reached), order=0) > 0
    return _mean_dice(fixed, moving, reached, seen)


def _share_of_landmarks(case: Case, warp: DisplacementField) -> float:
    """Return the share of the landmarks of a slice that ``warp`` sends near those of the other."""
    grids = case.fixed.image.grid, case.moving.image.grid
    here, there = (
        plane_frame(grid).inverse()(grid.to_world(voxels))[:, :2]
        for grid, voxels in zip(grids, case.landmarks or (), strict=True)
    )
    missed = np.linalg.norm(in_plane(warp, *grids)(here) - there, axis=1)
    diagonal = np.hypot(*(np.array(grids[0].shape[:2]) * grids[0].spacing[:2]))
    return float((missed < LANDMARK_SHARE * diagonal).mean())


def _mean_dice(fixed: Labels, moving: Labels, reached: np.ndarray, seen: np.ndarray) -> float:
    there = np.where(seen, sample(moving.data, moving.grid.to_voxel(reached), order=0), 0)
    here = np.where(seen, fixed.data, 0)
    ids = np.array([number for number in np.union1d(here, there) if number > 0])
    if not ids.size:
        return 0.0
    return float(np.nanmean(dice_by_label(to_indices(here, ids), to_indices(there, ids), len(ids))))


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--only", choices=(BRAINS, ANYTHING), help="measure only these pairs")
    parser.add_argument("--part", choices=(CHOICE, REPORT), help="measure only this half")
    parser.add_argument(
        "--page", action="store_true", help="write the page from what was measured before"
    )
    options = parser.parse_args(arguments)
    table = Table(RESULTS / "suspects.tsv", _KEYS)
    if not options.page:
        measure(options.data, table, options.only, options.part)
    write_suspects_page(table.rows, RESULTS / "suspects.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
