"""Measure how well, and at what cost, scans are skull-stripped and segmented; see README.md.

Every scan is prepared in a fresh process. Rows are written as they are measured, and rows by
today's code are kept. Remove the table to measure everything anew.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from _children import ask
from _command import add_data, add_results, add_work, chosen_among, explains_errors
from _machine import provenance
from _preparation_page import write_preparation_page
from _tables import Table

from diffeode.provenance.source import code_hash
from diffeode.weights.catalogue import load_weights

KEYS = ("dataset", "scan", "threads")
PARTS = ("brain", "segmentation")
_WEIGHTS = {"brain": "meshnet-mindgrab", "segmentation": "meshnet-subcortical"}
_MODULES = {
    "brain": "diffeode.prepare.steps.mindgrab",
    "segmentation": "diffeode.prepare.steps.subcortical",
}


@dataclass(frozen=True)
class Case:
    """One scan to prepare, and the labels by which the result is judged.

    Attributes:
        part: ``brain`` or ``segmentation``.
        labels: file of the labels; None for a skull-stripped scan, which is its own mask.
        inverted: whether its contrast is inverted first.
    """

    part: str
    dataset: str
    scan: str
    population: str
    image: Path
    labels: Path | None
    inverted: bool = False

    def row(self, threads: int) -> dict[str, object]:
        """Return the first columns of its row."""
        code = code_hash(_MODULES[self.part], Path(__file__).with_name("_prepare.py"))
        digest = hashlib.sha256(
            f"{code} {load_weights(_WEIGHTS[self.part]).sha256}".encode()
        ).hexdigest()[:12]
        about = {"dataset": self.dataset, "scan": self.scan, "population": self.population}
        return about | {"threads": threads, "code": digest}


def cases(part: str, data: Path) -> Iterator[Case]:
    """Yield the scans of ``part``."""
    if part == "segmentation":
        for number in range(1, 7):
            yield _labelled(
                part, "oasistrt", f"sub-{number:02d}", "adults (OASIS-TRT-20), skull-stripped", data
            )
        folder = data / "ds000247" / "sub-0002" / "anat"
        yield Case(
            part,
            "ds000247",
            "T1.mgz",
            "an adult, whole head",
            folder / "T1.mgz",
            folder / "aseg.mgz",
        )
        return
    heads = [f"sub-IXI{number}" for number in ("013", "014", "015", "033", "034", "039")]
    for subject in heads:
        yield _labelled(part, "ixi2mm", subject, "adults (IXI), whole heads", data)
    yield _labelled(
        part,
        "ixi2mm",
        heads[0],
        "an adult (IXI), whole head of inverted contrast",
        data,
        inverted=True,
    )
    stripped = data / "openms" / "sub-07" / "anat" / "sub-07_T2w.nii.gz"
    yield Case(
        part,
        "openms",
        "sub-07_T2w",
        "an adult with multiple sclerosis, skull-stripped",
        stripped,
        None,
    )


def _labelled(
    part: str, dataset: str, subject: str, population: str, data: Path, inverted: bool = False
) -> Case:
    folder = data / dataset / subject / "anat"
    image, labels = folder / f"{subject}_T1w.nii.gz", folder / f"{subject}_dseg.nii.gz"
    scan = f"{subject}_T1w{'-inverted' if inverted else ''}"
    return Case(part, dataset, scan, population, image, labels, inverted)


def measure(part: str, options: argparse.Namespace) -> Table:
    """Measure every scan of ``part`` that has no row yet, and return the table."""
    table = Table(options.results / f"preparation_{part}.tsv", KEYS)
    todo = list(cases(part, options.data))
    for number, case in enumerate(todo, start=1):
        row = case.row(options.threads)
        if table.has(row):
            continue
        found = {"failed": ""} | ask("_prepare.py", _request(case, options), options.threads)
        table.put(row | found | provenance())
        outcome = (
            found["failed"] or f"{found['cpu_seconds']:.0f} CPU s, {found['peak_memory_mb']:.0f} MB"
        )
        print(f"[{number}/{len(todo)}] {part} {case.scan}: {outcome}", file=sys.stderr)
    return table


def _request(case: Case, options: argparse.Namespace) -> dict[str, object]:
    return {
        "part": case.part,
        "image": str(case.image),
        "labels": str(case.labels) if case.labels else None,
        "inverted": case.inverted,
        "threads": options.threads,
        "result": str(options.work / case.part / f"{case.scan}.nii.gz"),
    }


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    options = _options(arguments)
    for part in options.parts:
        measure(part, options)
    tables = {part: Table(options.results / f"preparation_{part}.tsv", KEYS) for part in PARTS}
    write_preparation_page(tables, options.results / "preparation.md")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)} (default: both)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a scan (default 1)")
    add_data(parser)
    add_work(parser, "benchmark-preparation", "masks and segmentations")
    add_results(parser)
    options = parser.parse_args(arguments)
    options.parts = chosen_among(parser, "part", options.parts, PARTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
