"""Measure what the commands of a desk cost beside their work; see README.md.

Three ratios are measured, each within one run: the whole command ``diffeode register`` to its
method, the skull stripping of a raw head to the network on the whole head, and the start of
``diffeode register --help``, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from _children import ask
from _command import add_data, add_results, chosen_among, explains_errors
from _comparisons import REPOSITORY
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, write_page

KEYS = ("part", "scan", "threads")
PARTS = ("command", "stripping", "start")
_NEWBORNS = ("albert/sub-01/anat/sub-01_T2w.nii.gz", "albert/sub-02/anat/sub-02_T1w.nii.gz")
_HEADS = tuple(
    f"openms-raw/{name}.nii.gz"
    for name in ("patient01/study1_T1W", "patient01/study1_T2W", "patient03/study2_FLAIR")
)


_SECTIONS = {
    "command": (
        "`diffeode register` and its method",
        "Two newborns at 2.3 million voxels, with the page and all other files.",
        ("CPU s, command", "CPU s, method", "ratio", "wall s"),
    ),
    "stripping": (
        "Skull stripping of a raw head",
        "The command computes a box around the head, and the rest of the volume on larger voxels. "
        "Dice is the overlap of its mask with the mask of the network on the whole volume.",
        ("CPU s, box", "CPU s, whole", "ratio", "wall s", "Dice"),
    ),
    "start": ("Start", "`diffeode register --help`.", ("CPU s", "", "", "wall s")),
}
"""Title, text and headings of each part's section of the page; an empty heading has no column."""


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and its page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: %(default)s)")
    add_data(parser)
    add_results(parser)
    options = parser.parse_args(arguments)
    table = Table(options.results / "desk.tsv", KEYS, stamps=("date",))
    for part in chosen_among(parser, "part", options.parts, PARTS):
        for row in _MEASURES[part](options.data, options.threads):
            table.put({"part": part, "threads": options.threads} | row | provenance())
            print(json.dumps(row), flush=True)
    write_desk_page(table.rows, options.results / "desk.md")
    return 0


def write_desk_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with the tables of ``rows``."""
    sections = [
        "CPU seconds are those of a process and of all that it starts. *Ratio* is the first number "
        "of CPU seconds divided by the second, both of one run. Wall seconds depend on what else "
        "the machine does.\n"
    ]
    for part, (title, about, headings) in _SECTIONS.items():
        if any(row["part"] == part for row in rows):
            sections += [f"## {title}\n", f"{about}\n", _table(rows, part, headings)]
    sections.append(f"{measured_on(rows)} Command: `python benchmarks/desk.py`.\n")
    write_page(path, "What the command costs", sections)


def _table(rows: Sequence[Row], part: str, headings: Sequence[str]) -> str:
    columns = ("cpu_seconds", "reference_cpu_seconds", "ratio", "seconds", "dice")
    shown = [(h, c) for h, c in zip(headings, columns, strict=False) if h]
    lines = [
        [
            f"`{row['scan']}`",
            row["threads"],
            *(f"{float(row[c]):.{4 if c == 'dice' else 2}f}" for _, c in shown),
        ]
        for row in rows
        if row["part"] == part
    ]
    return markdown_table(["scan", "threads", *(heading for heading, _ in shown)], lines)


def _command(data: Path, threads: int) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="diffeode-desk-") as folder:
        scans = [str(data / scan) for scan in _NEWBORNS]
        costs = _cost_of(
            ["register", *scans, "-o", folder, "--threads", str(threads), "--report"], threads
        )
        record = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
    method = record["metrics"]["cpu_seconds"]
    names = " to ".join(Path(scan).name.split(".")[0] for scan in _NEWBORNS[::-1])
    ratio = {"reference_cpu_seconds": method, "ratio": costs["cpu_seconds"] / method}
    yield {"scan": names, **costs, **ratio}


def _stripping(data: Path, threads: int) -> Iterator[dict[str, object]]:
    for head in _HEADS:
        answer = ask("_stripping.py", {"image": str(data / head), "threads": threads}, threads)
        if "failed" in answer:
            raise RuntimeError(f"{head}: {answer['failed']}")
        yield {"scan": head.removeprefix("openms-raw/").removesuffix(".nii.gz"), **answer}


def _start(data: Path, threads: int) -> Iterator[dict[str, object]]:
    yield {"scan": "register --help", **_cost_of(["register", "--help"], threads)}


def _cost_of(arguments: Sequence[str], threads: int) -> dict[str, float]:
    """Return CPU and wall seconds of ``diffeode`` with ``arguments``."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "OMP_NUM_THREADS": str(threads),
    }
    begun = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, "-m", "diffeode", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(running.pid, 0)
    if status:
        raise RuntimeError(f"diffeode {' '.join(arguments)} failed")
    return {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "seconds": time.perf_counter() - begun,
    }


_MEASURES = {"command": _command, "stripping": _stripping, "start": _start}


if __name__ == "__main__":
    sys.exit(main())
