"""Measure the accuracy of registration of stained slices by landmarks; see README.md.

The pictures are registered as ``diffeode register`` registers them. Each error is the median over
the landmarks of a pair, as a percentage of the diagonal of the fixed picture: before any alignment,
after the affine that the desk finds, and after each run. The affine that fits the landmarks
themselves best (least squares) is shown beside them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _command import add_data, add_results, explains_errors, joined_names
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, median, numbers, write_page

from diffeode.desk.inputs import read_inputs
from diffeode.desk.registration import prepared_task
from diffeode.errors import InputError
from diffeode.geometry.plane import in_plane
from diffeode.registration.base import Machine
from diffeode.registration.harness import measured, register
from diffeode.registration.runs import load_run

FOLDER, KEYS, SEED = "histology/lung-lesion", ("fixed", "moving", "run"), 2512
RUNS = ("node-2d", "ants-syn", "greedy", "greedy-ncc", "node-mind")
CHOSEN_ON = {("cd31", "prospc"), ("cc10", "cd31"), ("he", "ki67")}
"""The fixed and moving pictures of the pairs on which the settings of ``node-2d`` were chosen."""
OURS, PEERS = RUNS[0], RUNS[1:4]


def landmarks_of(path: Path) -> np.ndarray:
    """Return the columns x and y of a table of landmarks (number, x, y), pixels, ``(N, 2)``.

    Raises:
        InputError: the file cannot be read as such a table.
    """
    try:
        return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, 1:3]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no table of landmarks ({error}).") from None


def relative_errors(mapped: np.ndarray, moving: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return the distances between mapped and moving landmarks, per cent of the diagonal of a
    picture of ``shape``.
    """
    return 100 * np.linalg.norm(mapped - moving, axis=1) / np.hypot(*shape[:2])


def fitted(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Return the fixed landmarks under the affine that brings them nearest to the moving ones."""
    homogeneous = np.column_stack([fixed, np.ones(len(fixed))])
    return homogeneous @ np.linalg.lstsq(homogeneous, moving, rcond=None)[0]


def rows_of(
    data: Path, fixed: str, moving: str, runs: Sequence[str]
) -> Iterator[dict[str, object]]:
    """Yield a row for each run, all of which register the same aligned pair."""
    folder, machine = data / FOLDER, Machine(seed=SEED)
    points = [landmarks_of(folder / f"{name}.csv") for name in (fixed, moving)]
    inputs = read_inputs(folder / f"{fixed}.jpg", folder / f"{moving}.jpg", None, None)
    with measured() as alignment:
        task = prepared_task(inputs, "affine", machine)
    grids = task.fixed.grid, task.moving_scan.grid

    def errors(mapped: np.ndarray) -> np.ndarray:
        return relative_errors(mapped, points[1], grids[0].shape)

    shared = {
        "before": float(np.median(errors(points[0]))),
        "landmarks_affine": float(np.median(errors(fitted(*points)))),
        "affine": float(np.median(errors(in_plane(task.moving_to_scan, *grids)(points[0])))),
        "affine_cpu_seconds": alignment["cpu_seconds"],
    }
    for run in runs:
        result = register(load_run(run).build(), task, machine)
        last = errors(in_plane(result.warp, *grids)(points[0]))
        signs = result.verdict.signs
        yield {
            "fixed": fixed,
            "moving": moving,
            "run": run,
            **shared,
            "after": float(np.median(last)),
            "mean_after": float(last.mean()),
            "max_after": float(last.max()),
            "folds_percent": signs["folds_percent"],
            "sdlogj": signs["sdlogj"],
            "suspect": result.verdict.suspect,
            "margin": signs["anatomical_margin"],
            "overlap": signs["overlap"],
            "cpu_seconds": result.cpu_seconds,
            **provenance(),
        }


def write_histology_page(path: Path, rows: Sequence[Row]) -> None:
    """Write the page of the table ``rows`` to ``path``: the pairs that no setting was chosen on
    apart from those of ``CHOSEN_ON``.
    """
    chosen, others = [], []
    for row in rows:
        (chosen if (row["fixed"], row["moving"]) in CHOSEN_ON else others).append(row)
    text = (
        "Errors at 78 landmarks a pair, per cent of the picture's diagonal: means over the pairs "
        "of the median, the mean and the largest error of a pair; largest share of pixels that "
        "fold, per cent; median CPU seconds of the run without the affine. Five stains of "
        "neighbouring slices of a lung lesion, each pair once.\n"
    )
    sections = [text]
    for heading, mine, note in (
        (
            "Pairs that no setting was chosen on",
            others,
            "Each of these slices is in one of the pairs below, too, so they are no test on slices "
            "that were never looked at.",
        ),
        (
            "Pairs that the settings of node-2d were chosen on",
            chosen,
            "The errors of `node-2d` are too favourable here.",
        ),
    ):
        if mine:
            sections += [f"## {heading}\n", f"{note}{_won(mine)}\n", _table(mine)]
    write_page(path, "Stained slices", [*sections, measured_on(rows)])


def _table(rows: Sequence[Row]) -> str:
    lines = []
    first = [row for row in rows if row["run"] == rows[0]["run"]]
    for title, column in (
        ("before", "before"),
        ("affine fitted to the landmarks", "landmarks_affine"),
        ("affine", "affine"),
    ):
        lines.append([title, str(len(first)), _mean(first, column), "", "", "", ""])
    for run in dict.fromkeys(row["run"] for row in rows):
        mine = [row for row in rows if row["run"] == run]
        lines.append(
            [
                load_run(run).title,
                str(len(mine)),
                _mean(mine, "after"),
                _mean(mine, "mean_after"),
                _mean(mine, "max_after"),
                f"{max(numbers(mine, 'folds_percent')):.2g}",
                median(numbers(mine, "cpu_seconds"), 1),
            ]
        )
    headings = ("", "pairs", "median error", "mean error", "largest error", "folds", "CPU s")
    return markdown_table(headings, lines)


def _won(rows: Sequence[Row]) -> str:
    """Return a sentence for each peer on how many pairs have a smaller median error with our run;
    nothing for a peer with which no pair was registered.
    """
    sentences = ""
    for peer in PEERS:
        ours, theirs = (
            {
                (row["fixed"], row["moving"]): float(row["after"])
                for row in rows
                if row["run"] == run
            }
            for run in (OURS, peer)
        )
        if both := ours.keys() & theirs.keys():
            won = sum(ours[pair] < theirs[pair] for pair in both)
            sentences += (
                f" The median error of `{OURS}` is smaller than that of {load_run(peer).title} in "
                f"{won} of {len(both)} pairs."
            )
    return sentences


def _mean(rows: Sequence[Row], column: str) -> str:
    return f"{np.mean(numbers(rows, column)):.3f}"


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=joined_names, default=RUNS, help="runs, joined by commas")
    parser.add_argument("--pairs", type=int, help="number of pairs (default: all)")
    add_data(parser)
    add_results(parser)
    options = parser.parse_args(arguments)
    names = sorted(path.stem for path in (options.data / FOLDER).glob("*.jpg"))
    if len(names) < 2:
        raise InputError(f"There are no pictures in {options.data / FOLDER}; give --data.")
    table = Table(options.results / "histology.tsv", KEYS, ())
    for fixed, moving in list(itertools.combinations(names, 2))[: options.pairs]:
        pair = {"fixed": fixed, "moving": moving}
        runs = [run for run in options.runs if not table.has({**pair, "run": run})]
        for row in rows_of(options.data, fixed, moving, runs) if runs else ():
            table.put(row)
            print(f"{fixed}/{moving} {row['run']}: {row['after']:.3f} %", file=sys.stderr)
    write_histology_page(options.results / "histology.md", table.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
