"""Count the bytes that the engine moves on a GPU, and measure it on one; see README.md.

Bytes are counted on any machine. Seconds, peak memory and the fraction of the bandwidth are
measured where torch has a GPU, and left out where it has none.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import torch
from _command import add_results, explains_errors, joined_names
from _machine import provenance
from _synthetic import synthetic_head
from _tables import Row, Table, markdown_table, measured_on, write_page
from _traffic import Traffic
from _units import run_code
from torch import Tensor

from diffeode.methods.neural_ode import Mind, NeuralODE
from diffeode.provenance.source import code_hash
from diffeode.registration.knobs import changed
from diffeode.registration.runs import load_run
from diffeode.statistics.export import MISSING

DEVICE = "cuda"
RUNS = ("node-mind", "node", "paper-mind", "nodeo")
WITH_MIND = ("node-mind", "node", "paper-mind")
"""The runs that can compute something in half precision."""
SIZE = (160, 192, 224)
ITERATIONS = 300
PAIRS = 5
"""Number of pairs that are registered one after the other in the process, to see whether memory is
left behind.
"""
H200_BYTES_PER_SECOND = 4.8e12
"""Bandwidth of the memory, from NVIDIA's data sheet."""
_SPACING = (1.0, 1.0, 1.0)
_COPIED = 2**28
_WARM_UP = 5
_GIGA = 1e9


def counted(run: str, precision: str, size: Sequence[int]) -> dict[str, float]:
    """Return the operations and bytes of an iteration on ``size`` voxels.

    They are counted on half as many voxels along each axis and multiplied by eight, because all
    bytes grow with the number of voxels. The CPU's kernels are switched off, so the operations are
    those that a GPU runs.
    """
    images = _images([n // 2 for n in size], "cpu")
    with (
        mock.patch("diffeode.fused.compiler._is_volume", return_value=False),
        mock.patch("diffeode.losses.similarity._knows_halves", return_value=True),
    ):
        fewer, more = (
            _traffic(_at_finest(run, precision, iterations), images) for iterations in (2, 3)
        )
    return {
        "operations": more.operations - fewer.operations,
        "gigabytes_moved": 8 * (more.bytes_moved - fewer.bytes_moved) / _GIGA,
        "gigabytes_held": 8 * more.bytes_held / _GIGA,
    }


def timed(
    run: str, precision: str, size: Sequence[int], gigabytes_moved: float
) -> dict[str, float]:
    """Return seconds and memory of ``ITERATIONS`` iterations on the GPU, after a warm-up.

    Some short registrations follow, by which memory that is left behind is found.
    """
    images = _images(size, DEVICE)
    _seconds(_at_finest(run, precision, _WARM_UP), images)
    torch.cuda.reset_peak_memory_stats()
    seconds = _seconds(_at_finest(run, precision, ITERATIONS), images)
    peak = torch.cuda.max_memory_allocated() / _GIGA
    left = []
    for _ in range(PAIRS):
        _seconds(_at_finest(run, precision, _WARM_UP), images)
        left.append(torch.cuda.memory_allocated())
    fastest = _copying_bytes_per_second() / _GIGA
    return {
        "seconds": seconds,
        "peak_gigabytes": peak,
        "copying_gigabytes_per_second": fastest,
        "bandwidth_fraction": gigabytes_moved * ITERATIONS / seconds / fastest,
        "left_behind_megabytes": (left[-1] - left[0]) / 1e6,
    }


def _at_finest(run: str, precision: str, iterations: int) -> NeuralODE:
    method = load_run(run).build()
    by = {"levels": {"factors": [min(method.levels.factors)], "iterations": [iterations]}}
    by |= {"descent.tolerance": 0.0, "diffeomorphic": "penalised"}
    if any(isinstance(term, Mind) for term in method.similarity):
        by["similarity.mind.precision"] = precision
    return changed(method, by)


def _images(size: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    case = synthetic_head(tuple(size))(Path(), Path())
    fixed, moving = (
        torch.from_numpy(image.data)[None, None].to(device) for image in (case.fixed, case.moving)
    )
    return fixed, moving


def _traffic(method: NeuralODE, images: tuple[Tensor, Tensor]) -> Traffic:
    with Traffic() as traffic:
        method.velocity_between(*images, _SPACING)
    return traffic


def _seconds(method: NeuralODE, images: tuple[Tensor, Tensor]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    method.velocity_between(*images, _SPACING)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _copying_bytes_per_second() -> float:
    """Return the bandwidth that copying within the GPU's memory reaches.

    Every copied byte counts as one byte read and one byte written.
    """
    source = torch.ones(_COPIED, device=DEVICE)
    target, rates = torch.empty_like(source), []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        rates.append(2 * source.nbytes / (time.perf_counter() - start))
    return statistics.median(rates)


def write_gpu_page(table: Table, path: Path) -> None:
    """Write ``gpu.md`` to ``path``."""
    headings = [
        "run",
        "MIND's precision",
        "voxels",
        "operations",
        "GB moved",
        "GB held",
        f"least s for {ITERATIONS} on an H200",
        f"s for {ITERATIONS}",
        "peak GB",
        "fraction of bandwidth",
        "MB left behind",
    ]
    lines = [
        [
            f"`{row['run']}`",
            row["precision"] if row["run"] in WITH_MIND else MISSING,
            row["shape"],
            row["operations"],
            _number(row, "gigabytes_moved", 1),
            _number(row, "gigabytes_held", 1),
            f"{float(row['gigabytes_moved']) * _GIGA * ITERATIONS / H200_BYTES_PER_SECOND:.1f}",
            _number(row, "seconds", 1),
            _number(row, "peak_gigabytes", 1),
            _number(row, "bandwidth_fraction", 2),
            _number(row, "left_behind_megabytes", 1),
        ]
        for row in table.rows
    ]
    how = (
        f"{ITERATIONS} iterations at the finest level; everything but MIND is in single precision. "
        "The operations of an iteration, the bytes that they move, and the bytes that are held at "
        "once are not measured but counted, on torch's formulas, which a GPU runs. An H200 moves "
        "at most 4.8 TB/s (NVIDIA), so the seconds in the next column are a lower bound, without "
        "the time that starting the operations takes. The columns after it were measured on a GPU; "
        f"{MISSING} stands where there was none."
    )
    where = (
        f"{measured_on(table.rows)} GPU: {'; '.join(sorted({row['gpu'] for row in table.rows}))}."
    )
    sections = [
        f"{how}\n",
        markdown_table(headings, lines),
        f"{where} Command: `python benchmarks/gpu.py`.\n",
    ]
    write_page(path, "On a GPU", sections)


def _number(row: Row, column: str, decimals: int) -> str:
    return f"{float(row[column]):.{decimals}f}" if row.get(column) else MISSING


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    options = _options(arguments)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    if gpu == "none":
        print("torch has no GPU here: bytes are counted, nothing is timed", file=sys.stderr)
    table = Table(options.results / "gpu.tsv", ("run", "precision", "shape"), ("code", "gpu"))
    cases = []
    for run in options.runs:
        cases.append((run, "single"))
        if run in WITH_MIND:
            cases.append((run, "half"))
    for run, precision in cases:
        row = {
            "run": run,
            "precision": precision,
            "shape": "x".join(map(str, options.size)),
            "code": f"{run_code(run, 1)}-{code_hash(Path(__file__))[:12]}",
            "gpu": gpu,
        }
        if table.has(row):
            continue
        found = counted(run, precision, options.size)
        found |= (
            timed(run, precision, options.size, found["gigabytes_moved"]) if gpu != "none" else {}
        )
        table.put(row | found | provenance())
        print(
            f"{run}, {precision}: {found['gigabytes_moved']:.1f} GB an iteration", file=sys.stderr
        )
    write_gpu_page(table, options.results / "gpu.md")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=joined_names, default=RUNS)
    parser.add_argument(
        "--small", dest="size", action="store_const", const=(40, 48, 56), default=SIZE
    )
    add_results(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
