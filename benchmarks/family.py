"""Compare the runs of the paper with others on development pairs; see README.md.

    python benchmarks/family.py                          # every run
    python benchmarks/family.py --runs paper-mind,affine # some

Nothing here is a test: the numbers of the paper's runs were chosen on some of these pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from _cases import SEED, case_digest, ensure_case, read_case
from _command import add_pairs, explains_errors, joined_names
from _comparisons import ordered_pairs
from _judged import outcome
from _machine import provenance
from _search_plan import HALF_MM, SearchCase
from _tables import (
    Row,
    Table,
    markdown_table,
    mean_and_sd,
    mean_percentage,
    measured_on,
    median,
    numbers,
    write_page,
)
from _units import STAMPS, changed_run_code

from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run

RUNS = (
    *("identity", "ants-syn", "convexadam", "node-mind", "nodeo"),
    *("paper-mind", "paper-lmi", "paper-ngf", "paper-mi", "paper-cl"),
)
KEYS = ("task", "fixed", "moving", "spacing_mm", "run")
_PERSONS = ("01", "02", "03", "04", "05", "06")
CASES = (
    *(SearchCase("albert", *pair, HALF_MM, 300) for pair in ordered_pairs(_PERSONS, 6)),
    *(SearchCase("oasistrt-to-icbm152", "icbm152", moving, 3, 300) for moving in ("01", "03")),
)
_TITLES = {
    "albert": "T1w to T2w of different newborns 01 to 06 (ALBERTs), 1.72 mm, 27 labels",
    "oasistrt-to-icbm152": "T1w of adults 01 and 03 (OASIS-TRT-20) to ICBM152's T2w, 3 mm, "
    "89 labels",
}


def measure(options: argparse.Namespace) -> Table:
    """Measure every pair and run that has no row yet, and return the table."""
    table = Table(options.results / "family.tsv", KEYS, STAMPS)
    waiting = []
    for case in CASES:
        folder = ensure_case(case.maker, *case.scans(options.data), options.work / case.folder)
        for name in options.runs:
            start = _start(case, name, case_digest(folder))
            if not table.has(start):
                waiting.append((case, folder, start))
    for number, (case, folder, start) in enumerate(waiting, start=1):
        run, labels = load_run(str(start["run"])), case.comparison.labels()
        found = outcome(run, read_case(folder), labels, Machine(1, SEED))
        row = table.put(start | found | provenance())
        said = row["failed"] or f"Dice {row['dice']}"
        where = f"{case.fixed}/{case.moving} {start['run']}"
        print(f"[{number}/{len(waiting)}] {where}: {said}", file=sys.stderr, flush=True)
    return table


def _start(case: SearchCase, name: str, pair: str) -> dict[str, object]:
    columns = {key: case.columns[key] for key in KEYS if key != "run"}
    return {**columns, "run": name, "code": changed_run_code(load_run(name), 1), "pair": pair}


def write_family_page(rows: Sequence[Row], path: Path) -> None:
    """Write a table for each kind of pairs, of the pairs that all runs have; the best run comes
    first.
    """
    sections = [
        "Development pairs: the numbers of the paper's runs were chosen on some of them "
        "([search.md](search.md)), `node-mind` on others. None of this is a test.\n"
    ]
    for task, title in _TITLES.items():
        mine = [row for row in rows if row["task"] == task and not row["failed"]]
        by_run: dict[str, list[Row]] = {}
        for row in mine:
            by_run.setdefault(row["run"], []).append(row)
        ranked = sorted(_on_common_pairs(by_run.values()), key=_mean_dice, reverse=True)
        if ranked:
            heads = ("run", "pairs", "Dice", "folds of the image (%)", "SD of log J", "CPU s")
            lines = markdown_table(heads, map(_line, ranked))
            sections.append(f"## {title}\n\n{lines}\n{measured_on(mine)}\n")
    write_page(path, "The paper's runs on development pairs", sections)


def _on_common_pairs(runs: Iterable[Sequence[Row]]) -> list[list[Row]]:
    """Return the rows of each run on the pairs that all runs have; nothing where there are none."""
    measured = list(runs)
    pairs = [set(map(_pair, rows)) for rows in measured]
    common = set.intersection(*pairs) if pairs else set()
    kept = []
    for rows in measured:
        kept.append([row for row in rows if _pair(row) in common])
    return kept if common else []


def _pair(row: Row) -> tuple[str, str]:
    return row["fixed"], row["moving"]


def _mean_dice(rows: Sequence[Row]) -> float:
    return sum(numbers(rows, "dice")) / len(rows)


def _line(rows: Sequence[Row]) -> list[str]:
    run = rows[0]["run"]
    return [
        f"{load_run(run).title} (`{run}`)",
        str(len(rows)),
        mean_and_sd(numbers(rows, "dice"), 4),
        mean_percentage(numbers(rows, "folds_percent")),
        mean_and_sd(numbers(rows, "sdlogj"), 3),
        median(numbers(rows, "cpu_seconds"), 0),
    ]


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=joined_names, default=RUNS)
    add_pairs(parser)
    options = parser.parse_args(arguments)
    use_threads(1)
    write_family_page(measure(options).rows, options.results / "family.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
