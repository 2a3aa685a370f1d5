"""Measure what a registration costs: seconds an iteration, seconds a pair, memory; see README.md.

Every measurement runs in a fresh process on one thread. Rows are written as they are measured, and
rows by today's code are kept. Remove the table to measure everything anew.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _cases import ensure_case, neurite_whole
from _children import ask
from _command import add_pairs, chosen_among, explains_errors, joined_names
from _comparisons import comparison_named
from _machine import provenance
from _nodeo_reference import require_checkout
from _speed_page import write_speed_page
from _synthetic import synthetic_head
from _tables import Table
from _units import run_code

from diffeode.provenance.source import code_hash
from diffeode.registration.runs import Run, load_run

KEYS = ("measure", "run", "shape")
MEASURES = ("iteration", "pair", "memory")
ITERATED = ("nodeo", "node-mind", "node")
"""Runs of ours whose iterations are timed: NODEO's own form, which stands beside the reference, and
the runs that we recommend.
"""
WHOLE = ("node", "node-mind", "convexadam", "ants-syn", "greedy")

_SHORT = {
    "neural-ode": lambda run: {"levels.iterations": [2] * len(run.build().levels.factors)},
    "convexadam": lambda run: {"selected_niter": 2},
    "ants-syn": lambda run: {"iterations": [2] * len(run.build().iterations)},
    "greedy": lambda run: {"iterations": [2] * len(run.build().iterations)},
}
"""Hyper-parameters that shorten a run without changing what it holds in memory."""

_KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(10**12),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}
"""Settings by which glibc keeps freed memory. Without them, the reference spends most of its time
on getting memory from the system again.
"""


@dataclass(frozen=True)
class Measurement:
    """One row to measure: the script that measures it, its request and its environment."""

    measure: str
    run: str
    shape: str
    code: str
    script: str
    request: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """Return the first columns of its row."""
        return {"measure": self.measure, "run": self.run, "shape": self.shape, "code": self.code}


def measurements(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield all measurements that are asked for, the quickest first."""
    at_1mm, shape = _pair(options)
    if "iteration" in options.measures:
        for run in ITERATED:
            request = {
                "case": str(at_1mm),
                "run": run,
                "iterations": options.iterations,
                "threads": 1,
            }
            yield Measurement(
                "iteration", run, shape, _code(run, "_iterate.py"), "_iterate.py", request
            )
        if options.nodeo:
            yield from _reference(options, at_1mm, shape)
    if "pair" in options.measures:
        for run in options.runs:
            yield _whole("pair", run, shape, at_1mm, {})
    if "memory" in options.measures:
        uncropped, larger = _uncropped(options)
        for run in options.runs:
            yield _whole("memory", run, larger, uncropped, _short(load_run(run)))


def _short(run: Run) -> dict[str, Any]:
    return _SHORT[run.method](run) if run.method in _SHORT else {}


def _whole(
    measure: str, run: str, shape: str, case: Path, parameters: dict[str, Any]
) -> Measurement:
    request = {"case": str(case), "run": run, "parameters": parameters, "threads": 1, "task": None}
    return Measurement(measure, run, shape, _code(run, "_register.py"), "_register.py", request)


def _reference(options: argparse.Namespace, case: Path, shape: str) -> Iterator[Measurement]:
    require_checkout(options.nodeo)
    files = sorted(options.nodeo.glob("*.py"))
    own = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    code = _digest(own, code_hash(_script("_nodeo_reference.py")))
    request = {
        "case": str(case),
        "checkout": str(options.nodeo.resolve()),
        "iterations": options.iterations,
    }
    for run, environment in (("nodeo-reference", {}), ("nodeo-reference-malloc", _KEPT)):
        yield Measurement(
            "iteration", run, shape, code, "_nodeo_reference.py", request, environment
        )


def _pair(options: argparse.Namespace) -> tuple[Path, str]:
    """Return the folder of the pair at 1 mm, 160 x 192 x 144 voxels, and its size in words.

    With ``--small`` it has half as many voxels along each axis.
    """
    task = comparison_named("neurite-half" if options.small else "neurite-full")
    shape = (80, 96, 72) if options.small else (160, 192, 144)
    if (options.data / task.folder).is_dir():
        return task.case(*task.subjects, options.data, options.work), _size(shape)
    return _synthetic(options, shape)


def _uncropped(options: argparse.Namespace) -> tuple[Path, str]:
    """Return the folder of the same pair on 160 x 192 x 224 voxels, and its size in words."""
    task, shape = comparison_named("neurite-full"), (160, 192, 224)
    if options.small:
        return _pair(options)
    if (options.data / task.folder).is_dir():
        scans = [
            options.data / task.folder / f"sub-{subject}" / "anat" for subject in task.subjects
        ]
        return ensure_case(
            neurite_whole, *scans, options.work / "neurite-whole" / "__".join(task.subjects)
        ), _size(shape)
    return _synthetic(options, shape)


def _synthetic(options: argparse.Namespace, shape: tuple[int, int, int]) -> tuple[Path, str]:
    print(
        f"the scans of neuriteoasis are not in {options.data}; a synthetic head is used instead",
        file=sys.stderr,
    )
    words = _size(shape)
    nowhere = options.data / "neuriteoasis"
    folder = ensure_case(
        synthetic_head(shape), nowhere, nowhere, options.work / "synthetic" / words
    )
    return folder, f"{words} synthetic"


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _code(run: str, script: str) -> str:
    return _digest(run_code(run, 1), code_hash(_script(script), Path(__file__)))


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _script(name: str) -> Path:
    return Path(__file__).with_name(name)


def measure(todo: Sequence[Measurement], results: Path) -> None:
    """Do all measurements that have no row yet."""
    table = Table(results / "speed.tsv", KEYS)
    for number, one in enumerate(todo, start=1):
        if table.has(one.row()):
            continue
        found = {"failed": ""} | ask(one.script, one.request, 1, one.environment)
        table.put(one.row() | found | provenance())
        outcome = (
            found["failed"] or f"{found['cpu_seconds']:.2f} CPU s, {found['peak_memory_mb']:.0f} MB"
        )
        print(f"[{number}/{len(todo)}] {one.measure} {one.run}: {outcome}", file=sys.stderr)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    options = _options(arguments)
    measure(list(measurements(options)), options.results)
    write_speed_page(Table(options.results / "speed.tsv", KEYS), options.results / "speed.md")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "measures",
        nargs="*",
        metavar="MEASURE",
        help=f"measures among {', '.join(MEASURES)} (default: all)",
    )
    parser.add_argument(
        "--nodeo", type=Path, help="a checkout of github.com/yifannnwu/NODEO-DIR to run beside ours"
    )
    parser.add_argument(
        "--runs",
        type=joined_names,
        default=WHOLE,
        help="runs to time on whole pairs",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        default=8,
        help="number of iterations, of which the median is taken (default 8)",
    )
    parser.add_argument(
        "--small", action="store_true", help="80 x 96 x 72 voxels, to see whether everything runs"
    )
    add_pairs(parser)
    options = parser.parse_args(arguments)
    options.measures = chosen_among(parser, "measure", options.measures, MEASURES)
    return options


if __name__ == "__main__":
    sys.exit(main())
