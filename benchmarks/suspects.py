"""Count how many registrations the verdict calls right, among good ones and ones made to fail.

    python benchmarks/suspects.py            # measure, and write the page
    python benchmarks/suspects.py --page     # write only the page, from earlier measurements

writes ``benchmarks/results/suspects.tsv`` and ``suspects.md``. It takes some ten minutes of CPU
time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _command import add_data, explains_errors
from _machine import provenance
from _spoiled import Case, clean_cases, spoiled_cases
from _suspects_page import write_suspects_page
from _tables import Table

from diffeode.errors import InputError, RegistrationError
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.overlap import dice_by_label
from diffeode.evaluation.verdict import signs_of
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.transform import DisplacementField, densify, warp_image
from diffeode.prepare.affine import affine_registration
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.pair import align_pair
from diffeode.prepare.registry import scaling_tool
from diffeode.prepare.scan import prepare_image
from diffeode.provenance.source import code_hash
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, register
from diffeode.registration.runs import load_run

RESULTS = Path(__file__).parent / "results"
SCRATCH = Path(__file__).resolve().parents[1] / "results" / "benchmark-suspects"
RUN = "node"
QUICK = {"levels": {"factors": [2, 1], "iterations": [30, 20]}}
"""Levels and iterations that are enough for voxels of 3.5 to 5 mm."""
SEED = 2512
_KEYS = ("part", "dataset", "fixed", "moving", "kind")


def measure(data: Path, table: Table) -> None:
    """Put a row into ``table`` for every case that has none by today's code.

    The file of the verdict does not count as code, because its thresholds change no number in the
    table. Progress is reported on standard error.
    """
    cases = list(spoiled_cases(clean_cases(data, SCRATCH)))
    scaling = scaling_tool("robust").module
    modules = (
        "diffeode.methods.neural_ode",
        "diffeode.prepare.pair",
        "diffeode.prepare.scan",
        scaling,
    )
    code = code_hash(Path(__file__).with_name("_spoiled.py"), *modules)[:12]
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

    Where the pair was refused, the result holds the reason instead.
    """
    started = time.process_time()
    try:
        fixed, moving = (_prepared(brain.image) for brain in (case.fixed, case.moving))
        task, run = _task(fixed, moving, case.alignment), load_run(RUN)
        method = run.changed({**QUICK, **(case.overrides or {})}).build()
        result = register(method, task, Machine(1, SEED))
        signs = signs_of(result.warp, result.inverse_warp, fixed, moving, task.moving_to_scan)
    except (InputError, RegistrationError) as error:
        return {"foreign": int(case.foreign), "refused": str(error)}
    dice = {
        "dice_before": _dice(case, densify(task.moving_to_scan, fixed.grid)),
        "dice": _dice(case, result.warp),
    }
    return {
        "foreign": int(case.foreign),
        "refused": "",
        **dice,
        **signs,
        "cpu_seconds": time.process_time() - started,
    }


def _task(fixed: Image, moving: Image, alignment: str) -> Task:
    if alignment == "plain":
        to_scan = affine_registration(fixed, moving, 1, SEED)
        return Task(fixed, warp_image(moving, to_scan, fixed.grid), moving, to_scan)
    aligned, to_scan = align_pair(fixed, moving, alignment, "resample", 1, SEED)
    return Task(fixed, aligned, moving, to_scan)


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
    parser.add_argument(
        "--page", action="store_true", help="write the page from what was measured before"
    )
    options = parser.parse_args(arguments)
    table = Table(RESULTS / "suspects.tsv", _KEYS)
    if not options.page:
        measure(options.data, table)
    write_suspects_page(table.rows, RESULTS / "suspects.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
