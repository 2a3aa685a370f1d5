"""Measure what the gradient of the adjoint equation changes in a run of the paper; see README.md.

    python benchmarks/adjoint.py

The paper's gradient is that of the adjoint equation, which with one Euler step is evaluated at the
far end of the step; our runs take the exact one. Both are compared on one development pair. A third
registration, with another seed of the network, shows how large a difference means nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _cases import SEED, Case, case_digest, ensure_case, read_case
from _command import add_pairs, explains_errors
from _judged import judged
from _machine import provenance
from _search_plan import HALF_MM, SearchCase
from _tables import Row, Table, markdown_table, measured_on, write_page
from _units import STAMPS, changed_run_code

from diffeode.geometry.image import foreground
from diffeode.geometry.transform import DisplacementField
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine
from diffeode.registration.harness import register
from diffeode.registration.runs import Run, load_run

RUN = "paper-mind"
CASE = SearchCase("albert", "05", "06", HALF_MM, 300)


@dataclass(frozen=True)
class Candidate:
    """One way to register: the kind of gradient, and the seed of the network."""

    gradient: str
    seed: int

    @property
    def run(self) -> Run:
        """The run with that gradient."""
        return load_run(RUN).changed({"flow.gradient": self.gradient})


EXACT = Candidate("exact", SEED)
CANDIDATES = (EXACT, Candidate("adjoint", SEED), Candidate("exact", SEED + 1))


def measure(options: argparse.Namespace) -> Table:
    """Return the table with a row for each candidate; all are measured where one is missing."""
    table = Table(options.results / "adjoint.tsv", ("run", "gradient", "seed"), STAMPS)
    folder = ensure_case(CASE.maker, *CASE.scans(options.data), options.work / CASE.folder)
    starts = {candidate: _start(candidate, case_digest(folder)) for candidate in CANDIDATES}
    if all(table.has(start) for start in starts.values()):
        return table
    case, maps = read_case(folder), {}
    for number, (candidate, start) in enumerate(starts.items(), start=1):
        result = register(candidate.run.build(), case, Machine(1, candidate.seed))
        maps[candidate] = result.warp
        scores = judged(case, result, CASE.comparison.labels())
        apart = _apart(case, maps[EXACT], result.warp)
        table.put(
            start
            | scores
            | apart
            | {"cpu_seconds": result.cpu_seconds, "failed": ""}
            | provenance()
        )
        print(f"[{number}/{len(CANDIDATES)}] {candidate}: {scores}", file=sys.stderr)
    return table


def _start(candidate: Candidate, pair: str) -> dict[str, object]:
    return {
        "run": RUN,
        **CASE.columns,
        "gradient": candidate.gradient,
        "seed": candidate.seed,
        "code": changed_run_code(candidate.run, 1),
        "pair": pair,
    }


def _apart(case: Case, one: DisplacementField, other: DisplacementField) -> dict[str, float]:
    """Return the distances between the points to which two maps send the voxels of the fixed brain,
    mm: the mean and the greatest one.
    """
    inside = foreground(case.fixed)
    distances = np.linalg.norm(other.displacement_mm[inside] - one.displacement_mm[inside], axis=-1)
    return {"mean_apart_mm": float(distances.mean()), "greatest_apart_mm": float(distances.max())}


def write_adjoint_page(rows: Sequence[Row], path: Path) -> None:
    """Write ``rows`` as a page."""
    heads = ("gradient", "seed", "Dice", "folds (%)", "apart, mean (mm)", "apart, greatest (mm)")
    lines = [
        [
            row["gradient"],
            row["seed"],
            f"{float(row['dice']):.4f}",
            f"{float(row['folds_percent']):.2g}",
            f"{float(row['mean_apart_mm']):.3f}",
            f"{float(row['greatest_apart_mm']):.3f}",
        ]
        for row in rows
    ]
    text = (
        f"`{RUN}` on one development pair, T1w of newborn {CASE.moving} to T2w of newborn "
        f"{CASE.fixed} (ALBERTs), {CASE.spacing_mm:.3g} mm. *Apart*: distance, over the fixed "
        "brain, to where the map of the first row sends the same voxel. The last row, another "
        "seed of the network, says how much of that means nothing.\n\n"
        + markdown_table(heads, lines)
        + f"\n{measured_on(rows)} Command: `python benchmarks/adjoint.py`.\n"
    )
    write_page(path, "The adjoint's gradient and the exact one", [text])


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_pairs(parser)
    options = parser.parse_args(arguments)
    use_threads(1)
    write_adjoint_page(measure(options).rows, options.results / "adjoint.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
