"""Measure the accuracy of registration methods, all on the same pairs; see README.md.

Every registration runs in a fresh process. Rows are written as they are measured, so that a
benchmark that was killed goes on where it stopped: a row is measured again only where its code, a
tool's version or its pair has changed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _accuracy_page import write_accuracy_page
from _cases import case_digest
from _children import ask
from _command import add_pairs, explains_errors, joined_names
from _comparisons import COMPARISONS, Comparison, comparison_named
from _machine import provenance
from _tables import Table, numbers
from _units import KEYS, STAMPS, Unit, subjects_of

from diffeode.errors import InputError, RegistrationError


def units_of(comparison: Comparison, options: argparse.Namespace) -> list[Unit]:
    """Return the registrations of one task.

    They go pair by pair, so that a busy hour of the machine slows all runs alike.
    """
    chosen = options.subjects or comparison.subjects
    table = (
        comparison.name
        if chosen == comparison.subjects
        else f"{comparison.name}_{'-'.join(chosen)}"
    )
    pairs = comparison.pairs_among(
        chosen, options.pairs or (comparison.pairs if chosen == comparison.subjects else None)
    )
    runs = options.runs or comparison.runs
    return [Unit(comparison, table, *pair, run, options.threads) for pair in pairs for run in runs]


@dataclass(frozen=True)
class _Pair:
    """The prepared pair that all runs get, or the reason why it could not be made."""

    folder: Path | None
    digest: str = ""
    failed: str = ""


def measure(units: Sequence[Unit], options: argparse.Namespace) -> None:
    """Run all registrations that have no row yet, and report progress on standard error."""
    tables = {unit.table: _table(options.results, unit.table) for unit in units}
    pairs = _pairs(units, options)
    waiting = [
        unit for unit in units if not tables[unit.table].has(unit.row(pairs[unit.pair].digest))
    ]
    print(f"{len(waiting)} of {len(units)} registrations to run", file=sys.stderr)
    clock = _Clock(tables)
    for number, unit in enumerate(waiting, start=1):
        started = time.perf_counter()
        pair = pairs[unit.pair]
        row = unit.row(pair.digest) | _measured(unit, pair) | provenance()
        tables[unit.table].put(row)
        clock.took(unit.run, time.perf_counter() - started)
        _say(number, waiting, row, clock)


def _pairs(units: Sequence[Unit], options: argparse.Namespace) -> dict[tuple[str, str, str], _Pair]:
    different = {unit.pair: unit for unit in units}
    found = {}
    for number, (name, unit) in enumerate(different.items(), start=1):
        print(f"pair {number} of {len(different)}: {' '.join(name)}", file=sys.stderr)
        found[name] = _prepared(unit, options)
    return found


def _prepared(unit: Unit, options: argparse.Namespace) -> _Pair:
    try:
        folder = unit.comparison.case(unit.fixed, unit.moving, options.data, options.work)
    except (InputError, RegistrationError) as error:
        return _Pair(None, failed=str(error))
    return _Pair(folder, case_digest(folder))


def _measured(unit: Unit, pair: _Pair) -> dict[str, object]:
    if pair.failed:
        return {"failed": pair.failed}
    request = {
        "case": str(pair.folder),
        "run": unit.run,
        "parameters": {},
        "threads": unit.threads,
        "task": unit.comparison.name,
    }
    return {"failed": ""} | ask("_register.py", request, unit.threads)


class _Clock:
    """Estimates how long a registration of each run takes, evaluation included.

    It takes the mean of this session or, where a run has not been seen yet, of earlier rows.
    """

    def __init__(self, tables: dict[str, Table]) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.earlier: dict[str, list[float]] = {}
        for table in tables.values():
            for run in {row["run"] for row in table.rows}:
                of_run = [row for row in table.rows if row["run"] == run]
                self.earlier[run] = numbers(of_run, "seconds")

    def took(self, run: str, seconds: float) -> None:
        self.seconds.setdefault(run, []).append(seconds)

    def left(self, runs: Sequence[str]) -> float:
        """Return the seconds that ``runs`` will take.

        A run that was never seen counts as much as the others do in the mean.
        """
        known = {
            run: statistics.mean(s) for run, s in {**self.earlier, **self.seconds}.items() if s
        }
        usual = statistics.mean(known.values())
        return sum(known.get(run, usual) for run in runs)


def _say(number: int, waiting: Sequence[Unit], row: dict[str, object], clock: _Clock) -> None:
    score = next(iter(waiting[number - 1].comparison.scores))
    if row["failed"]:
        outcome = f"failed: {row['failed']}"
    else:
        outcome = f"{score} {row[score]:.4f}, {row['cpu_seconds']:.1f} CPU s"
    rest = clock.left([unit.run for unit in waiting[number:]]) / 60
    what = f"{row['task']} {row['fixed']}/{row['moving']} {row['run']}"
    print(
        f"[{number}/{len(waiting)}] {what}: {outcome}; about {rest:.0f} min left", file=sys.stderr
    )


def _table(results: Path, name: str) -> Table:
    return Table(results / f"accuracy_{name}.tsv", KEYS, STAMPS)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    options = _options(arguments)
    chosen = [comparison_named(name) for name in options.tasks] or _with_data(options.data)
    options.subjects = subjects_of(options.subjects) if options.subjects else None
    units = [unit for comparison in chosen for unit in units_of(comparison, options)]
    measure(units, options)
    if units:
        write_accuracy_page(options.results)
    return 0


def _with_data(data: Path) -> list[Comparison]:
    there = [
        comparison for comparison in COMPARISONS.values() if (data / comparison.folder).is_dir()
    ]
    for name in sorted(set(COMPARISONS) - {comparison.name for comparison in there}):
        print(f"{name} is left out: its scans are not in {data}", file=sys.stderr)
    return there


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "tasks",
        nargs="*",
        metavar="TASK",
        help=f"tasks among {', '.join(COMPARISONS)} (default: all whose scans are there)",
    )
    parser.add_argument("--runs", type=joined_names, help="named runs, joined by commas")
    parser.add_argument(
        "--subjects",
        help="subjects other than the task's, as 01-06 or 01,02; they get a table of their own",
    )
    parser.add_argument("--pairs", type=int, help="number of ordered pairs")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of a registration (default 1)"
    )
    add_pairs(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
