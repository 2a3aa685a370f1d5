"""The runs of the paper beside others, on the development pairs of the search; see README.md.

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
from _comparisons import ordered_pairs
from _judged import judged
from _machine import provenance
from _options import add_data, add_results, add_work
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

from diffeode.errors import InputError, RegistrationError
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine
from diffeode.registration.harness import register
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
    """A row for each pair and run that has none yet."""
    table = Table(options.results / "family.tsv", KEYS, STAMPS)
    waiting = []
    for case in CASES:
        folder = ensure_case(case.maker, *case.scans(options.data), options.work / case.folder)
        for name in options.runs:
            start = _start(case, name, case_digest(folder))
            if not table.has(start):
                waiting.append((case, folder, start))
    for number, (case, folder, start) in enumerate(waiting, start=1):
        table.put(start | _outcome(case, folder, str(start["run"])) | provenance())
        row = table.rows[-1]
        outcome = row["failed"] or f"Dice {row['dice']}"
        where = f"{case.fixed}/{case.moving} {start['run']}"
        print(f"[{number}/{len(waiting)}] {where}: {outcome}", file=sys.stderr, flush=True)
    return table


def _start(case: SearchCase, name: str, pair: str) -> dict[str, object]:
    columns = {key: case.columns[key] for key in KEYS if key != "run"}
    return {**columns, "run": name, "code": changed_run_code(load_run(name), 1), "pair": pair}


def _outcome(case: SearchCase, folder: Path, name: str) -> dict[str, object]:
    pair = read_case(folder)
    try:
        result = register(load_run(name).build(), pair.task(), Machine(1, SEED))
    except RegistrationError as error:
        return {"failed": str(error).splitlines()[0]}
    scores = judged(pair, result, case.comparison.labels())
    return {"failed": "", "cpu_seconds": result.cpu_seconds} | scores


def write_family_page(rows: Sequence[Row], path: Path) -> None:
    """A table for each kind of pairs, of those that all runs have; the best run comes first."""
    sections = [
        "Development pairs: the numbers of the paper's runs were chosen on some of them "
        "([search.md](search.md)), `node-mind` on others. None of this is a test.\n"
    ]
    for task, title in _TITLES.items():
        mine = [row for row in rows if row["task"] == task and not row["failed"]]
        by_run = {name: [row for row in mine if row["run"] == name] for name in RUNS}
        ranked = sorted(_on_common_pairs(by_run.values()), key=_mean_dice, reverse=True)
        if ranked:
            heads = ("run", "pairs", "Dice", "folds of the image (%)", "SD of log J", "CPU s")
            lines = markdown_table(heads, map(_line, ranked))
            sections.append(f"## {title}\n\n{lines}\n{measured_on(mine)}\n")
    write_page(path, "The paper's runs on development pairs", sections)


def _on_common_pairs(runs: Iterable[Sequence[Row]]) -> list[list[Row]]:
    """The rows of each run that has any, on the pairs that all of these runs have."""
    measured = [rows for rows in runs if rows]
    pairs = [{(row["fixed"], row["moving"]) for row in rows} for rows in measured]
    common = set.intersection(*pairs) if pairs else set()
    kept = [[row for row in rows if (row["fixed"], row["moving"]) in common] for rows in measured]
    return [rows for rows in kept if rows]


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=lambda text: tuple(text.split(",")), default=RUNS)
    add_data(parser)
    add_work(parser, "benchmark-pairs", "prepared pairs")
    add_results(parser)
    options = parser.parse_args(arguments)
    use_threads(1)
    try:
        write_family_page(measure(options).rows, options.results / "family.md")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
