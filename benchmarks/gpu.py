"""What the engine asks of a GPU, and what it takes on one; see README.md.

Bytes are counted on any machine; seconds, peak memory and the fraction of the bandwidth are
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
from _machine import provenance
from _options import add_results
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
"""Those that have something to do in half precision."""
SIZE = (160, 192, 224)
ITERATIONS = 300
PAIRS = 5
"""Registered one after the other in the process, to see whether memory is left behind."""
H200_BYTES_PER_SECOND = 4.8e12
"""NVIDIA's data sheet."""
_SPACING = (1.0, 1.0, 1.0)
_COPIED = 2**28
_WARM_UP = 5
_GIGA = 1e9


def counted(run: str, precision: str, size: Sequence[int]) -> dict[str, float]:
    """An iteration on ``size`` voxels, from one on half of them along each axis, in whose
    proportion everything grows.

    Without the CPU's kernels: what is counted is what a GPU runs.
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
    """``ITERATIONS`` iterations on the GPU after a few that are not counted, and some short pairs
    one after another.
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
    """What copying within the GPU's memory reaches: a byte read and a byte written for each byte
    copied.
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
    """``gpu.md``."""
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
        f"{ITERATIONS} iterations at the finest level; what is not MIND in single precision. "
        "Operations, bytes moved by them in an iteration and bytes held at once are counted, not "
        "measured: of torch's formulas, which are what a GPU runs. An H200 moves 4.8 TB/s at "
        "most (NVIDIA), so the seconds next to them are a bound from below, without what "
        f"starting the operations takes. Columns after it: measured on a GPU; {MISSING} where "
        "none was there."
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    if gpu == "none":
        print("torch has no GPU here: bytes are counted, nothing is timed", file=sys.stderr)
    table = Table(options.results / "gpu.tsv", ("run", "precision", "shape"), ("code", "gpu"))
    precisions = {
        run: ("single", "half") if run in WITH_MIND else ("single",) for run in options.runs
    }
    for run, precision in (
        (run, precision) for run, several in precisions.items() for precision in several
    ):
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
    parser.add_argument("--runs", type=lambda text: tuple(text.split(",")), default=RUNS)
    parser.add_argument(
        "--small", dest="size", action="store_const", const=(40, 48, 56), default=SIZE
    )
    add_results(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
