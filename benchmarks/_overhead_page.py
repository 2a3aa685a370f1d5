"""The page of the overhead's benchmark: plans, starts of jobs, and what a pair costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _tables import Row, markdown_table, measured_on, write_page


def write_overhead_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with the tables of ``rows``."""
    write_page(
        path,
        "What a study costs beside its methods",
        [
            "CPU seconds (user and system) of one process and all that it starts, on one core. "
            "*Before* is the commit that was named.\n",
            "## Planning\n",
            "`snakemake --dry-run` of a study of virtual persons, and the start of Snakemake for "
            "one job: a job of Slurm does that once today and did it twice at the earlier commit. "
            "Reading the scans of a large dataset is not in these numbers.\n",
            _plans([row for row in rows if row["what"] == "plan"]),
            "## A pair\n",
            "Registering and evaluating one pair with the run `identity` at 6 mm, on this machine "
            "and without the plan: starting Snakemake's jobs, importing, reading, writing, "
            "evaluating. The method itself takes no time.\n",
            _pairs([row for row in rows if row["what"] == "pair"]),
            measured_on(rows),
        ],
    )


def _plans(rows: Sequence[Row]) -> str:
    headings = ["commit", "pairs", "runs", "pairs per job", "jobs", "plan, CPU s", "plan, MB"]
    columns = ("commit", "pairs", "runs", "pairs_per_job", "jobs", "cpu_seconds", "peak_memory_mb")
    lines = [[*(row[name] for name in columns), row["start_cpu_seconds"]] for row in rows]
    return markdown_table([*headings, "start of a job, CPU s"], lines)


def _pairs(rows: Sequence[Row]) -> str:
    columns = ("commit", "pairs_per_job", "jobs", "cpu_seconds", "peak_memory_mb")
    headings = ["commit", "pairs per job", "jobs", "CPU s a pair", "largest process, MB"]
    return markdown_table(headings, ([row[name] for name in columns] for row in rows))
