"""Compare one time-dependent flow through the visits of an ageing virtual person with pairs.

    python benchmarks/sequence.py            # measure, and write page and figure
    python benchmarks/sequence.py --page     # page and figure alone, from what was measured before

writes ``benchmarks/results/sequence.tsv``, ``sequence.md``, ``sequence.png`` and ``sequence.svg``;
some two minutes of CPU time. The persons are virtual: nobody was scanned. Persons and settings are
those of the study ``config/questions.yaml``, which measures the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from _command import add_results, explains_errors
from _machine import provenance
from _sequence_page import write_sequence_page
from _tables import Table

from diffeode.figures.longitudinal import draw_ventricles
from diffeode.files.checked_yaml import read_mapping
from diffeode.longitudinal.design import Design, read_design
from diffeode.longitudinal.measures import rows_of
from diffeode.longitudinal.person import person_of
from diffeode.longitudinal.ways import WAYS
from diffeode.process.threads import use_threads
from diffeode.provenance.source import code_hash
from diffeode.statistics.longitudinal import ALL_TIMES, read_visits

STUDY = Path(__file__).resolve().parents[1] / "config" / "questions.yaml"
_KEYS = ("person", "way", "time")


def design() -> Design:
    """Return the persons and the settings of the study."""
    return read_design(read_mapping(STUDY)["longitudinal"], str(STUDY))


def measure(table: Table) -> None:
    """Put the rows of each person and way that were not measured by today's code into ``table``.

    Progress is reported on standard error.
    """
    chosen = design()
    code = code_hash(Path(__file__), "diffeode.longitudinal.measures")[:12]
    for number in chosen.persons:
        missing = [
            way
            for way in WAYS
            if not table.has({"person": number, "way": way, "time": ALL_TIMES, "code": code})
        ]
        person = person_of(number, chosen) if missing else None
        for way in missing if person else ():
            for row in rows_of(person, way, chosen):
                stamp = {"code": code} | provenance()
                table.put({"person": number, "way": way} | row | stamp)
            print(f"person {number}, {way}", file=sys.stderr, flush=True)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_results(parser)
    parser.add_argument(
        "--page", action="store_true", help="write page and figure from what was measured before"
    )
    options = parser.parse_args(arguments)
    use_threads(1)
    file = options.results / "sequence.tsv"
    table = Table(file, _KEYS)
    if not options.page:
        measure(table)
    figures = [options.results / f"sequence.{suffix}" for suffix in ("png", "svg")]
    draw_ventricles(read_visits(file), figures)
    write_sequence_page(table.rows, options.results / "sequence.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
