"""Measure what the commands of a desk cost beside their work; see README.md.

    python benchmarks/desk.py                              # all three parts
    python benchmarks/desk.py command --before f5c8807     # one part, and another commit beside it

Three ratios are measured, each within one run: the whole command ``diffeode register`` to its
method, the skull stripping of a raw head to the network on the whole head, and the start of
``diffeode register --help``, in seconds. The first and the last can be measured at other commits in
the same call, on the same machine in the same hour.
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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from _children import ask
from _command import add_data, add_results, chosen_among, explains_errors
from _comparisons import REPOSITORY
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, write_page
from overhead import TODAY, cloned

KEYS = ("part", "scan", "threads", "commit")
PARTS = ("command", "stripping", "start")
_OF_TODAY_ALONE = "stripping"
"""The part that is not measured at other commits: its reference is code of today."""
_NEWBORNS = ("albert/sub-01/anat/sub-01_T2w.nii.gz", "albert/sub-02/anat/sub-02_T1w.nii.gz")
_HEADS = tuple(
    f"openms-raw/{name}.nii.gz"
    for name in ("patient01/study1_T1W", "patient01/study1_T2W", "patient03/study2_FLAIR")
)


_SECTIONS = {
    "command": (
        "`diffeode register` and its method",
        "Two newborns at 2.3 million voxels, with all files, and with the page where the commit "
        "makes one.",
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


@dataclass(frozen=True)
class Program:
    """The package at one commit.

    Attributes:
        commit: its name; ``today`` for the files that are here.
        root: the repository's files.
    """

    commit: str
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Python finds this package."""
        return os.environ | {"PYTHONPATH": str(self.root / "src")}

    def compile_kernels(self) -> None:
        """Compile what a first use would compile, so that no command waits for it."""
        command = [sys.executable, "-m", "diffeode.fused"]
        subprocess.run(command, env=self.environment, check=True)

    def cost(self, arguments: Sequence[str], threads: int) -> dict[str, float]:
        """Return CPU and wall seconds of ``diffeode`` with ``arguments``."""
        begun = time.perf_counter()
        running = subprocess.Popen(
            [sys.executable, "-m", "diffeode", *arguments],
            env=self.environment | {"OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(running.pid, 0)
        if status:
            raise RuntimeError(f"diffeode {' '.join(arguments)} failed at commit {self.commit}")
        return {
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "seconds": time.perf_counter() - begun,
        }

    def makes_pages(self) -> bool:
        """Return whether ``diffeode register`` can be asked for a page."""
        return (
            "--report"
            in subprocess.run(
                [sys.executable, "-m", "diffeode", "register", "--help"],
                env=self.environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and its page, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: %(default)s)")
    parser.add_argument(
        "--before", metavar="COMMIT", nargs="*", default=[], help="other commits to measure beside"
    )
    add_data(parser)
    add_results(parser)
    options = parser.parse_args(arguments)
    parts = chosen_among(parser, "part", options.parts, PARTS)
    table = Table(options.results / "desk.tsv", KEYS, stamps=("date",))
    with ExitStack() as stack:
        clones = [stack.enter_context(cloned(commit)) for commit in options.before]
        before = [Program(clone.commit, clone.root) for clone in clones]
        for program in before:
            program.compile_kernels()
        for part in parts:
            compared = [] if part == _OF_TODAY_ALONE else before
            for program in (*compared, Program(TODAY, REPOSITORY)):
                for row in _MEASURES[part](program, options.data, options.threads):
                    about = {"part": part, "threads": options.threads, "commit": program.commit}
                    print(json.dumps(table.put(about | row | provenance())), flush=True)
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
    sections.append(f"{measured_on(rows)} Command: `python benchmarks/desk.py --before COMMIT`.\n")
    write_page(path, "What the command costs", sections)


def _table(rows: Sequence[Row], part: str, headings: Sequence[str]) -> str:
    columns = ("cpu_seconds", "reference_cpu_seconds", "ratio", "seconds", "dice")
    shown = [(h, c) for h, c in zip(headings, columns, strict=False) if h]
    lines = [
        [
            f"`{row['scan']}`",
            row["commit"],
            row["threads"],
            *(f"{float(row[c]):.{4 if c == 'dice' else 2}f}" for _, c in shown),
        ]
        for row in rows
        if row["part"] == part
    ]
    return markdown_table(["scan", "commit", "threads", *(heading for heading, _ in shown)], lines)


def _command(program: Program, data: Path, threads: int) -> Iterator[dict[str, object]]:
    page = ["--report"] if program.makes_pages() else []
    with tempfile.TemporaryDirectory(prefix="diffeode-desk-") as folder:
        scans = [str(data / scan) for scan in _NEWBORNS]
        costs = program.cost(
            ["register", *scans, "-o", folder, "--threads", str(threads), *page], threads
        )
        record = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
    method = record["metrics"]["cpu_seconds"]
    names = " to ".join(Path(scan).name.split(".")[0] for scan in _NEWBORNS[::-1])
    ratio = {"reference_cpu_seconds": method, "ratio": costs["cpu_seconds"] / method}
    yield {"scan": names, **costs, **ratio}


def _stripping(program: Program, data: Path, threads: int) -> Iterator[dict[str, object]]:
    for head in _HEADS:
        answer = ask("_stripping.py", {"image": str(data / head), "threads": threads}, threads)
        if "failed" in answer:
            raise RuntimeError(f"{head}: {answer['failed']}")
        yield {"scan": head.removeprefix("openms-raw/").removesuffix(".nii.gz"), **answer}


def _start(program: Program, data: Path, threads: int) -> Iterator[dict[str, object]]:
    yield {"scan": "register --help", **program.cost(["register", "--help"], threads)}


_MEASURES = {"command": _command, "stripping": _stripping, "start": _start}


if __name__ == "__main__":
    sys.exit(main())
