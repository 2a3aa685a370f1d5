"""Time the study of ``make demo`` from nothing to its figures, on two processors; see README.md.

The packages are installed and the kernels are compiled before the clock starts. Other commits are
measured beside in the same call, on the same machine in the same hour, each with its own demo.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _command import add_results, explains_errors
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, write_page
from overhead import TODAY, Clone, cloned

_CORES = 2


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Time the demo at each commit, write the table and its page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--before",
        metavar="COMMIT",
        nargs="*",
        default=[],
        help="other commits to time beside, such as tags",
    )
    add_results(parser)
    options = parser.parse_args(arguments)
    table = Table(options.results / "demo_time.tsv", ("commit",), stamps=())
    for commit in (*options.before, TODAY):
        with cloned(commit) as clone:
            row = {"commit": commit, **timed(clone), **provenance()}
            table.put(row)
            print(json.dumps(row), flush=True)
    write_demo_page(table.rows, options.results / "demo_time.md")
    return 0


def timed(clone: Clone) -> dict[str, object]:
    """Return what the demo's study costs in a clone."""
    environment = os.environ | {"PYTHONPATH": str(clone.root / "src")}
    subprocess.run([sys.executable, "-m", "diffeode.fused"], env=environment, check=True)
    begun = time.monotonic()
    costs = clone.snakemake("--configfile", "config/config.yaml", cores=_CORES)
    seconds = time.monotonic() - begun
    runs = {path.name for path in clone.root.glob("results/registrations/*/*/*") if path.is_dir()}
    registered = list(clone.root.glob("results/registrations/*/*/*/receipt.json"))
    return {
        "runs": len(runs),
        "registrations": len(registered),
        "seconds": round(seconds, 1),
        "cpu_seconds": costs.cpu_seconds,
    }


def write_demo_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with the table of ``rows``."""
    headings = ["commit", "runs", "registrations", "wall s", "CPU s"]
    columns = ("commit", "runs", "registrations", "seconds", "cpu_seconds")
    write_page(
        path,
        "How long the demo takes",
        [
            "The study of `make demo` after `make setup`, from nothing to its tables and figures, "
            f"on {_CORES} processors. CPU seconds are those of Snakemake and of all its jobs.\n",
            markdown_table(headings, ([row[name] for name in columns] for row in rows)),
            measured_on(rows) + " Command: `python benchmarks/demo.py --before COMMIT`.",
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
