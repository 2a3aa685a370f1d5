"""The search for the numbers that the paper's text lost, on development pairs; see README.md.

    python benchmarks/search.py         # every variant
    python benchmarks/search.py mind    # one of them; descriptor is the descriptor's training
    python benchmarks/search.py --page  # the page of what is there; nothing is registered

Every registration is a row of ``search_<variant>.tsv``, written as soon as it is known, so a search
that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from _cases import SEED, Case, case_digest, ensure_case, read_case
from _command import add_pairs, explains_errors
from _judged import outcome
from _machine import provenance
from _search_page import write_search_page
from _search_plan import VARIANTS, SearchCase, Variant, entrants
from _search_training import Trainings
from _tables import Row, Table
from _units import STAMPS, changed_run_code

from diffeode.errors import InputError, TrainingError, first_line
from diffeode.names import nearest
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine
from diffeode.registration.runs import Run, load_run


class Search:
    """The search of one variant: its table, its prepared pairs, its trainings, and its clock."""

    def __init__(self, variant: Variant, options: argparse.Namespace) -> None:
        self.variant, self.options = variant, options
        self.table = Table(options.results / f"search_{variant.name}.tsv", variant.keys, STAMPS)
        self.trainings = (
            Trainings(variant.training, options.data, options.work) if variant.training else None
        )
        self.pairs: dict[SearchCase, tuple[Case, str]] = {}
        self.seconds: dict[SearchCase, list[float]] = {}

    def run(self) -> None:
        """Fill the table, rung by rung."""
        for index, rung in enumerate(self.variant.rungs):
            tried = entrants(self.variant, self.table.rows, index)
            waiting = [
                (number, case)
                for case in rung.cases
                for number in tried
                if not self.table.has(self._start(number, case))
            ]
            total = len(tried) * len(rung.cases)
            print(
                f"{self.variant.name}, {rung.name}: {len(waiting)} of {total} registrations to run",
                file=sys.stderr,
            )
            for done, (number, case) in enumerate(waiting, start=1):
                row = self._measure(number, case)
                self._say(f"{rung.name} {done}/{len(waiting)}", row, [c for _, c in waiting[done:]])

    def _measure(self, number: int, case: SearchCase) -> Row:
        started = time.perf_counter()
        start = self._start(number, case)
        row = self.table.put(start | self._outcome(number, case) | provenance())
        self.seconds.setdefault(case, []).append(time.perf_counter() - started)
        return row

    def _outcome(self, number: int, case: SearchCase) -> dict[str, object]:
        try:
            run = self._trained(number, case)
        except TrainingError as error:
            return {"failed": first_line(error)}
        machine = Machine(self.options.threads, SEED)
        return outcome(run, self._pair(case)[0], case.comparison.labels(), machine)

    def _trained(self, number: int, case: SearchCase) -> Run:
        """Return the run with the descriptor that is trained for it, where the search trains."""
        run = self._run(number, case)
        if self.trainings is None:
            return run
        weights = self.trainings.weights(self.variant.changes(number), case.training_steps)
        return run.changed({"similarity.descriptor.weights": str(weights)})

    def _run(self, number: int, case: SearchCase) -> Run:
        of_run = self.variant.changes(number) if self.trainings is None else {}
        return load_run(self.variant.run).changed({**of_run, **case.changes})

    def _code(self, number: int, case: SearchCase) -> str:
        code = changed_run_code(self._run(number, case), self.options.threads)
        if self.trainings is None:
            return code
        return self.trainings.code(code, self.variant.changes(number), case.training_steps)

    def _start(self, number: int, case: SearchCase) -> dict[str, object]:
        values = {name: f"{value:g}" for name, value in self.variant.setting(number).items()}
        return {
            "variant": self.variant.name,
            "setting": number,
            **values,
            **case.columns,
            "code": self._code(number, case),
            "pair": self._pair(case)[1],
        }

    def _pair(self, case: SearchCase) -> tuple[Case, str]:
        if case not in self.pairs:
            folder = ensure_case(
                case.maker, *case.scans(self.options.data), self.options.work / case.folder
            )
            self.pairs[case] = read_case(folder), case_digest(folder)
        return self.pairs[case]

    def _say(self, where: str, row: Row, rest: Sequence[SearchCase]) -> None:
        seen = [s for found in self.seconds.values() for s in found]
        usual = sum(seen) / len(seen)
        left = sum(_mean(self.seconds.get(case, [usual])) for case in rest)
        said = row["failed"] or f"Dice {row['dice']}, folds {row['folds_percent']} %"
        print(
            f"{self.variant.name} {where}: setting {row['setting']}, {row['fixed']}/{row['moving']}"
            f": {said}; about {left / 60:.0f} min left on this rung",
            file=sys.stderr,
            flush=True,
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def variants_of(names: Sequence[str]) -> list[Variant]:
    """Return the variants called ``names``, or all where none is named.

    Raises:
        InputError: there is no variant of a name; the message gives the nearest one.
    """
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"There is no variant {name!r}{nearest(name, VARIANTS)}.")
    return [VARIANTS[name] for name in names or VARIANTS]


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    options = _options(arguments)
    use_threads(options.threads)
    for variant in variants_of(options.variants):
        if not options.page:
            Search(variant, options).run()
    write_search_page(options.results)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "variants", nargs="*", metavar="VARIANT", help=f"of {', '.join(VARIANTS)}; all where none"
    )
    parser.add_argument("--page", action="store_true", help="only write the page of what is there")
    add_pairs(parser)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
